"""A policy that acts while the expert says what it would have done.

The states are those that the policy brings about, its own mistakes included (DAgger: Ross, Gordon and Bagnell, "A
Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vd_policy.policy.actor import GaussianActor
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
        policy = load_run(run).policy
        self._max_step_rad = env.settings.max_step_rad
        policy.spec.check_arm(env.robot.name, env.robot.joints, self._max_step_rad, run)
        policy.spec.check_image(env.camera.height, env.camera.width, run)
        self._actor = GaussianActor(policy.eval())
        self._state = self._actor.begin(1, np.random.default_rng(0))  # the means draw nothing from it

    def decide(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The joint step for one observation, (J,) [rad]."""
        batch = {key: value[None] for key, value in obs.items()}
        act, self._state = self._actor.act(batch, self._state, explore=False)
        return act.mean[0].double().numpy() * self._max_step_rad
