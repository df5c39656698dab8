"""Where cups are put: drawn from a region or asked for, and never where the arm cannot follow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from vd_policy.arm.goals import GoalSet
from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.reach import reachable_radii
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.sim.approach import FinalApproach
from vd_policy.sim.probe import Probe
from vd_policy.sim.tasks import Task, TaskSettings

RESAMPLES = 1000
"""Cups drawn before a region counts as out of reach."""


class Placement:
    """Places for the cup, and the goal set of each.

    Args:
        settings: the task, for its cup region.
        rules: where the end effector shall go for a cup.
        kinematics: the arm.
        probe: tells what is in the way.
    """

    def __init__(self, settings: TaskSettings, rules: Task, kinematics: Kinematics, probe: Probe) -> None:
        self._region_m, self._points_down = settings.cup_region_m, settings.goals != "free"
        self._rules, self._kinematics, self._probe = rules, kinematics, probe
        self._approach = FinalApproach(rules, kinematics, probe)
        self._latest: tuple[bytes, GoalSet] | None = None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A cup's foot, uniform over the part of the region that has goals, (3,) [m].

        Raises:
            BadInput: the region is out of reach.
        """
        low, high = np.array(self._region_m).T
        for _ in range(RESAMPLES):
            cup = np.array([*rng.uniform(low, high), 0.0])
            if self._in_reach(cup):
                return cup
        raise self._refused()

    def look_ahead(self, rngs: Sequence[np.random.Generator]) -> None:
        """Prepare the goal sets of the cups that `draw` will take from these generators: same goals, less time."""
        if self._is_symmetric:  # elsewhere drawing a cup finds its goals
            self._kinematics.solve_ahead(np.array([self._rules.goal_m(self.draw(rng)) for rng in rngs]))

    def check(self, cup: Sequence[float] | np.ndarray) -> np.ndarray:
        """The cup's foot that was asked for, (3,) [m].

        Raises:
            BadInput: it is not in the region, or out of the arm's reach.
        """
        (x0, x1), (y0, y1) = self._region_m
        low, high = np.array([x0, y0, 0.0]) - 1e-6, np.array([x1, y1, 0.0]) + 1e-6
        try:
            cup_m = np.asarray(cup, dtype=np.float64)
        except (TypeError, ValueError):
            cup_m = np.empty(0)
        if cup_m.shape != (3,) or not ((cup_m >= low) & (cup_m <= high)).all():
            allowed = f"(x, y, 0) with x from {x0} to {x1} and y from {y0} to {y1}"
            raise BadInput("cup position [m]", cup, allowed, "move it into the region")
        if not self._find(cup_m):
            raise BadInput("cup position [m]", cup_m.tolist(), f"within reach of {self._robot}", "move it to the arm")
        return cup_m

    def goals(self, cup_m: np.ndarray) -> GoalSet:
        """The expert's goal set for a cup, not empty; kept until another cup is asked about.

        Raises:
            VdPolicyError: the arm cannot reach it.
        """
        goals = self._find(cup_m)
        if not goals:
            raise VdPolicyError(f"no configuration of {self._robot} reaches a cup at {cup_m.round(3).tolist()} m")
        return goals

    @property
    def _is_symmetric(self) -> bool:
        """Whether cups as far from the base's axis are reached alike."""
        return self._kinematics.turns_about_the_base

    @property
    def _robot(self) -> str:
        return self._kinematics.spec.name

    def approach(self, q: np.ndarray, cup_m: np.ndarray) -> np.ndarray | None:
        """The final approach from joint angles (J,) [rad] to a cup, (J,) [rad]; None where none begins there."""
        return self._approach.goal(q, cup_m)

    def nearer(self, q: np.ndarray, goals: np.ndarray, cup_m: np.ndarray) -> np.ndarray | None:
        """The nearest goal to joint angles (J,) [rad] among all of the families of some goals (K, J), (J,) [rad].

        None where each is beyond a limit, touches something, or has no free way to the cup.
        """
        point_m = self._rules.goal_m(cup_m)
        for goal in self._kinematics.nearest_over(point_m, goals, q, down=self._points_down):
            if self._probe.contact_beside(goal, cup_m) is None and self._approach.ends_well(goal, cup_m):
                return goal
        return None

    def _find(self, cup_m: np.ndarray) -> GoalSet:
        key = cup_m.tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = (key, self._goals(cup_m.copy()))
        return self._latest[1]

    def _goals(self, cup_m: np.ndarray) -> GoalSet:
        candidates = self._kinematics.goals_over(
            self._rules.goal_m(cup_m), collides=lambda q: self._probe.contact_beside(q, cup_m)
        )
        return GoalSet(candidates, partial(self._approach.ends_well, cup_m=cup_m))

    def _in_reach(self, cup_m: np.ndarray) -> bool:
        """Whether the cup has goals; told by its distance where the arm is symmetric, which saves 9 ms a reset."""
        if not self._is_symmetric:
            return bool(self._find(cup_m))
        inner, outer = self._reach_m
        return bool(inner <= np.hypot(cup_m[0], cup_m[1]) <= outer)

    @cached_property
    def _reach_m(self) -> tuple[float, float]:
        """Distances from the base's axis at which every cup has goals [m]."""
        xs, ys = self._region_m
        nearest = np.hypot(np.clip(0.0, *xs), np.clip(0.0, *ys))
        farthest = np.hypot(np.abs(xs).max(), np.abs(ys).max())
        radii = reachable_radii(self._reachable, (nearest, farthest))
        if radii is None:
            raise self._refused()
        return radii

    def _reachable(self, radius_m: float) -> bool:
        return bool(self._goals(np.array([radius_m, 0.0, 0.0])))

    def _refused(self) -> BadInput:
        return BadInput("cup_region_m", self._region_m, f"within reach of {self._robot}", "move it to the arm")
