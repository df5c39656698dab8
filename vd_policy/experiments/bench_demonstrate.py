"""What a state-label pair costs: by the expert, and by a cloned policy that acts while the expert labels."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from vd_policy.base.settings import build
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrator import DemonstrationSettings, Demonstrator
from vd_policy.learning.pretrain import PretrainSettings, pretrain
from vd_policy.learning.recipe import load_recipe

RECIPE = "l2_grasp"
BEFORE = 1_000_000
"""An episode far from those that are timed: recording it opens the worlds and prepares none of theirs."""


def bench_demonstrate(samples: int = 500, size: int = 96, epochs: int = 3, seed: int = 0) -> dict[str, float]:
    """Record on one core, whole bags on the disk included, and count CPU time.

    Args:
        samples: state-label pairs per figure, at least.
        size: image height and width [px].
        epochs: of the cloning of the grasping demonstrations, whose policy then acts.
        seed: of the demonstrations.

    Returns:
        ``pairs_per_cpu_s_reach``, ``..._reach_free`` and ``..._grasp`` of the expert, and ``..._grasp_actor`` with a
        policy acting; ``steps_per_episode_...`` beside each, because an episode has costs of its own.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vd_policy-") as folder:
        place = Path(folder)
        settings = DemonstrationSettings(image_height=size, image_width=size)
        for task in ("reach", "reach_free"):
            figures |= _timed(replace(settings, task=task), task, place, samples, seed)
        settings = replace(settings, task="grasp", noise_std_rad=0.03)
        figures |= _timed(settings, "grasp", place, samples, seed)
        recipe = load_recipe(RECIPE, {"epochs": epochs})
        cloning = build(PretrainSettings, recipe.settings, f"recipe {RECIPE}")
        run, _ = pretrain(Dataset(place / "grasp"), cloning, place / "run", seed=seed)
        acting = replace(settings, noise_std_rad=0.0, actor=str(run))
        figures |= _timed(acting, "grasp_actor", place, samples, seed)
    return figures


def _timed(settings: DemonstrationSettings, name: str, place: Path, samples: int, seed: int) -> dict[str, float]:
    demonstrator = Demonstrator(settings.whole(), place / name, seed)
    demonstrator.record(BEFORE)
    pairs, begun_s = 0, time.process_time()
    for index in count():
        pairs += demonstrator.record(index).samples
        if pairs >= samples:
            break
    cpu_s = time.process_time() - begun_s
    demonstrator.env.close()
    return {f"pairs_per_cpu_s_{name}": pairs / cpu_s, f"steps_per_episode_{name}": pairs / (index + 1)}
