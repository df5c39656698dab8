"""The paper's reaching task: bring the gripper over a cup that cannot be touched (eq. 11)."""

from __future__ import annotations

import numpy as np

from vd_policy.sim.tasks import Judgement, Situation, Task, TaskSettings

Settings = TaskSettings


class Reach:
    """Success within a distance of the point over the cup; failure where the arm touches the table or itself.

    Reaching a joint limit is no failure: the joint just stops there.
    """

    cup_is_solid = False
    hand = "travel"
    lift_m = 0.0

    def __init__(self, settings: TaskSettings) -> None:
        self._settings = settings
        self._offset = np.array([0.0, 0.0, settings.target_height_m])

    def target_m(self, cup_m: np.ndarray) -> np.ndarray:
        """The point over the cup, (3,) [m]."""
        return cup_m + self._offset

    def goal_m(self, cup_m: np.ndarray) -> np.ndarray:
        """The same point, (3,) [m]: there is no final approach."""
        return self.target_m(cup_m)

    def near(self, effector: np.ndarray, cup_m: np.ndarray) -> bool:
        return False

    def judge(self, situation: Situation) -> Judgement:
        """Eq. 11: R = -|a|_2 - d + c1 success - c2 failure, with a in radians and d in metres."""
        settings = self._settings
        distance = float(np.linalg.norm(situation.effector_m - situation.target_m))
        failure = situation.contact is not None
        success = not failure and distance <= settings.tolerance_m
        reward = settings.success_reward * success - settings.failure_cost * failure
        if settings.reward == "dense":
            reward -= float(np.linalg.norm(situation.asked_rad)) + distance
        return Judgement(distance, success, failure, 0.0 if settings.reward == "none" else reward)


def build(settings: TaskSettings) -> Task:
    return Reach(settings)
