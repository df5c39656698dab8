"""A policy that acts while the expert says what it would have done.

The states are those that the policy brings about, its own mistakes included (DAgger: Ross, Gordon and Bagnell, "A
Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vd_policy.policy.checkpoint import load_run
from vd_policy.sim.env import ArmEnv


class ActingPolicy:
    """The means of a run's policy, for one environment.

    Args:
        run: directory of the run.
        env: where it acts.

    Raises:
        BadInput: no whole run, or one that was trained for another arm, step or image size.
    """

    def __init__(self, run: str, env: ArmEnv) -> None:
        self._policy = load_run(run).policy.eval()
        self._max_step_rad = env.settings.max_step_rad
        self._policy.spec.check_arm(env.robot.name, env.robot.joints, self._max_step_rad, run)
        self._policy.spec.check_image(env.camera.height, env.camera.width, run)

    def decide(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The joint step for one observation, (J,) [rad]."""
        with torch.inference_mode():
            mean, _ = self._policy({key: value[None] for key, value in obs.items()})
        return mean[0].double().numpy() * self._max_step_rad
