"""Runs for tests: policies whose behaviour is known without training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from vd_policy.arm.spec import load_robot
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.gaussian import GaussianPolicy, new_policy
from vd_policy.policy.observation import ObservationSpec


def small_policy(seed: int = 1, arm: str = "j2n6s300", **changes: Any) -> GaussianPolicy:
    """A freshly initialised policy for 16x16 pictures of an arm; `changes` go into its observation spec."""
    robot = load_robot(arm)
    values = {"joints": robot.joints, "image_height": 16, "image_width": 16, "q_offset_rad": robot.home_rad,
              "q_scale_rad": (1.0,) * len(robot.joints), "depth_max_m": 3.0, "max_step_rad": math.pi / 5,
              "rate_hz": 1.0}  # fmt: skip
    return new_policy(ObservationSpec(**{**values, **changes}), seed=seed)


def turning_policy(arm: str = "j2n6s300") -> GaussianPolicy:
    """Turns the first joint, which has no end, at half speed whatever it sees, and keeps the others still."""
    policy = small_policy(arm=arm)
    with torch.no_grad():
        policy.mean.head.weight.zero_()
        policy.mean.head.bias.zero_()
        policy.mean.head.bias[0] = 0.5
    return policy


def overflowing_policy() -> GaussianPolicy:
    """Finite weights whose output is not."""
    policy = small_policy()
    with torch.no_grad():
        policy.mean.head.weight.fill_(3e38)
        policy.mean.head.bias.fill_(3e38)
    return policy


def saved(path: Path, policy: GaussianPolicy) -> str:
    """The policy as a run directory."""
    return str(save_run(path, policy, config={}))
