"""Small episode bags made by hand, of which every number is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vd_policy.demos.bag import EpisodeInfo, EpisodeWriter
from vd_policy.demos.steps import StepWriter
from vd_policy.messages.outcome import Outcome

JOINTS = ("shoulder", "elbow")
INFO = EpisodeInfo(task="reach", robot="toy", joints=JOINTS, max_step_rad=0.5, period_s=0.1, horizon=10)
HEIGHT, WIDTH = 6, 8


@dataclass(frozen=True)
class Truth:
    """What was written: (T+1, ...) observations, (T, A) answers."""

    rgb: np.ndarray
    depth: np.ndarray
    q: np.ndarray
    label: np.ndarray
    command: np.ndarray
    executed: np.ndarray


def truth(seed: int, steps: int, height: int = HEIGHT, width: int = WIDTH) -> Truth:
    rng = np.random.default_rng(seed)
    q = rng.uniform(-3, 3, (steps + 1, len(JOINTS)))

    def targets() -> np.ndarray:
        return q[:-1] + rng.uniform(-0.5, 0.5, (steps, len(JOINTS)))

    return Truth(
        rgb=rng.integers(0, 256, (steps + 1, height, width, 3), dtype=np.uint8),
        depth=rng.integers(0, 65536, (steps + 1, height, width), dtype=np.uint16),
        q=q,
        label=targets(),
        command=targets(),
        executed=targets(),
    )


def outcome(step: int, steps: int, **changes: Any) -> Outcome:
    last = step == steps
    made = Outcome(
        "reach", 0, step, 0.1 * step, 0.3, last, False, "success" if last else "", last, False, 5, (0.4, 0.1, 0.0)
    )
    return replace(made, **changes)


def write_episode(
    directory: Path,
    index: int = 0,
    steps: int = 3,
    *,
    seed: int | None = None,
    info: EpisodeInfo = INFO,
    **options: Any,
) -> tuple[Path, Truth]:
    """A whole episode bag that ends in success; returns its path and what is in it."""
    made = truth(index if seed is None else seed, steps, **options)
    with EpisodeWriter(directory, index, info) as writer:
        write_steps(writer, made, info)
    return writer.path, made


def write_steps(writer: EpisodeWriter, made: Truth, info: EpisodeInfo = INFO, *, until: int | None = None) -> None:
    """The steps of an episode, all of them or those before `until`."""
    steps = len(made.label)
    camera = SimpleNamespace(matrix=np.eye(3), height=made.rgb.shape[1], width=made.rgb.shape[2], frame_id="camera")
    to = StepWriter(writer, info, camera)
    for step in range(steps + 1 if until is None else until):
        obs = {"rgb": made.rgb[step], "depth": made.depth[step]}
        to.observation(obs, made.q[step], outcome(step, steps))
        if step < steps:
            to.answer(step, made.label[step], made.command[step], made.executed[step])
