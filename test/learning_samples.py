"""Small networks, demonstrations and runs that the learning tests share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vd_policy.base.episode import Episode
from vd_policy.base.settings import build
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.learning.collector import ProcessCollector
from vd_policy.learning.pretrain import PretrainSettings
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import Run, load_run, save_run
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

SIDE = 16
"""Rows and columns of all images here."""
MAKE_ENV = partial(ArmEnv, "reach", image_height=SIDE, image_width=SIDE)
TINY = NetworkSettings(conv_channels=(4, 4), image_widths=(8,), joint_widths=(8,))
TINY_POLICY = PolicySettings(mean=TINY, initial_std=0.3)


def tiny_policy(seed: int = 0) -> GaussianPolicy:
    """An untrained dense policy for the Jaco."""
    env = MAKE_ENV()
    joints, step = tuple(env.robot.joints), env.settings.max_step_rad
    env.close()
    spec = ObservationSpec(joints, SIDE, SIDE, (0.0,) * 6, (3.0,) * 6, 2.0, step, 1.0)
    return new_policy(spec, TINY_POLICY, seed=seed)


def tiny_run(path: Path, seed: int = 0) -> Run:
    """`tiny_policy` as a run directory."""
    return load_run(save_run(path, tiny_policy(seed), config={}))


def collector(workers: int = 1, seed: int = 3) -> ProcessCollector:
    return ProcessCollector(MAKE_ENV, seed=seed, workers=workers)


def demonstrations(path: Path, samples: int = 60, seed: int = 0) -> Dataset:
    """A few real demonstrations."""
    settings = DemonstrationSettings(image_height=SIDE, image_width=SIDE, noise_std_rad=0.25)
    demonstrate(settings, samples, path, seed=seed)
    return Dataset(path)


def quick(method: str = "vd", **changes: object) -> PretrainSettings:
    """Settings with which cloning takes a second."""
    values = {"method": method, "epochs": 6, "batch": 16, "checkpoint_epochs": 2, "policy": TINY_POLICY, **changes}
    return build(PretrainSettings, values, "test")


def invented_episode(
    policy: GaussianPolicy, sequence: int, *, steps: int = 10, version: int = 1, source: str = "robot"
) -> Episode:
    """An episode of random observations with the actions and densities that `policy` would give it."""
    rng = np.random.default_rng(sequence)
    count = steps + 1
    obs = {
        "rgb": rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8),
        "depth": rng.integers(300, 2000, (count, SIDE, SIDE)).astype(np.uint16),
        "q": rng.normal(size=(count, 6)).astype(np.float32),
    }
    actor = GaussianActor(policy)
    act, _ = actor.act({k: v[:-1] for k, v in obs.items()}, actor.begin(steps, rng), explore=True)
    action = act.action.numpy()
    rewards = (-np.abs(action).sum(1)).astype(np.float32)
    return Episode(obs, action, action, None, rewards, act.log_prob.numpy(), False, True, False, False, source,
                   sequence, version, "reach", sequence, np.zeros(3))  # fmt: skip
