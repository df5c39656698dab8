"""The expert's last move in a task that has one: straight to the cup, without turning the hand (section V.B)."""

from __future__ import annotations

import numpy as np

from vd_policy.arm.kinematics import Kinematics
from vd_policy.sim.probe import Probe
from vd_policy.sim.tasks import Task


class FinalApproach:
    """Joint angles at the cup, from near it.

    Args:
        rules: the task, which says where the approach begins and ends.
        kinematics: the arm.
        probe: tells what is in the way.
    """

    def __init__(self, rules: Task, kinematics: Kinematics, probe: Probe) -> None:
        self._rules, self._kinematics, self._probe = rules, kinematics, probe

    def goal(self, q: np.ndarray, cup_m: np.ndarray) -> np.ndarray | None:
        """Where the approach from joint angles (J,) [rad] to a cup's foot (3,) [m] ends, (J,).

        None where it does not begin, where the arm has no such configuration, and where something is in the way.
        """
        if not self._rules.near(self._kinematics.forward(q), cup_m):
            return None
        last = self._kinematics.moved_to(q, self._rules.target_m(cup_m))
        if last is None or self._probe.obstacle(q, last, cup_m) is not None:
            return None
        return last

    def ends_well(self, goal: np.ndarray, cup_m: np.ndarray) -> bool:
        """Whether a goal (J,) [rad] for a cup's foot (3,) [m] is the end, or the final approach from it is free."""
        if np.array_equal(self._rules.goal_m(cup_m), self._rules.target_m(cup_m)):
            return True
        return self.goal(goal, cup_m) is not None
