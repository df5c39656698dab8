"""The inverse-kinematics expert of eqs. 6, 9 and 10."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vd_policy.arm.goals import GoalSet
from vd_policy.arm.kinematics import unwrapped
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting

Approach = Callable[[np.ndarray], "np.ndarray | None"]
"""The last goal from a configuration (J,) near the end of the task, (J,) [rad]; or None, and the goal set counts."""
Nearer = Callable[[np.ndarray, np.ndarray], "np.ndarray | None"]
"""A goal (J,) [rad] near a configuration (J,), sought from some goals (K, J); or None, and the goal set counts."""
SOUGHT_FROM = 4
"""Goals that a nearer one is sought from: several may lie in one family, and the best family need not be the first."""


@dataclass(frozen=True)
class ExpertSettings:
    """How the expert steps towards its goal, and how much noise its demonstrations carry."""

    rule: str = setting(
        "clipped",
        "eq. 10 with the last step scaled to end at the goal, or as printed: every step of full size",
        choices=("clipped", "literal"),
    )
    noise_std_rad: float = setting(0.0, "standard deviation of eq. 6's noise [rad]", minimum=0.0)
    clip_noise: bool = setting(False, "clip the noisy action to the largest step")
    max_step_rad: float = setting(math.pi / 5, "largest change of a joint in one step [rad]", minimum=1e-9)


class Expert:
    """Steps from any configuration towards the nearest goal.

    Args:
        goals: the goal set G, not empty, or all of its members, (K, J) [rad].
        continuous: whether a joint turns without end, (J,).
        settings: rule and noise.
        approach: the task's final approach, where it has one (section V.B).
        nearer: where G is only a sample of all goals: finds the nearest of them from members of G.

    Raises:
        BadInput: an empty goal set, or goals of another number of joints.
    """

    def __init__(
        self,
        goals: GoalSet | np.ndarray,
        continuous: tuple[bool, ...],
        settings: ExpertSettings | None = None,
        approach: Approach | None = None,
        nearer: Nearer | None = None,
    ) -> None:
        self.goals = goals if isinstance(goals, GoalSet) else GoalSet(goals)
        self.settings = settings or ExpertSettings()
        self._continuous = np.array(continuous)
        self._approach, self._nearer = approach, nearer
        shape = self.goals.candidates.shape
        if len(shape) != 2 or shape[1] != len(continuous) or not self.goals:
            raise BadInput("expert goals", shape, f"(1 or more, {len(continuous)})", "choose another target")

    def nearest(self, q: np.ndarray) -> np.ndarray:
        """Eq. 9: the way to the goal with the least L1 distance, or to the final approach's; unwrapped, (J,) [rad]."""
        last = None if self._approach is None else self._approach(q)
        if last is not None:
            return unwrapped(last - q, self._continuous)
        ways = unwrapped(self.goals.candidates - q, self._continuous)
        costs = np.abs(ways).sum(axis=1)
        goal = None
        if self._nearer is not None:
            goal = self._nearer(q, q + ways[np.argsort(costs, kind="stable")[:SOUGHT_FROM]])
        if goal is None:
            return ways[self.goals.least(costs)]
        cost = np.abs(goal - q).sum()
        if costs.min() < cost and costs[least := self.goals.least(costs)] < cost:
            return ways[least]
        return goal - q

    def decide(self, q: np.ndarray) -> np.ndarray:
        """Eq. 10: the noiseless joint step [rad], (J,), no joint above `max_step_rad`.

        As printed, eq. 10 always takes a full step and is 0/0 at the goal; `clipped` scales it by
        min(1, largest/max_step), so that the last step ends there. At the goal both rules stand still.
        """
        way = self.nearest(q)
        largest, step = float(np.abs(way).max()), self.settings.max_step_rad
        if largest == 0.0 or (self.settings.rule == "clipped" and largest <= step):
            return way
        return way * (step / largest)

    def act(self, q: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Eq. 6: the noisy step to execute and the noiseless one to learn from, both (J,) [rad]."""
        decision = self.decide(q)
        return self.with_noise(decision, rng), decision

    def with_noise(self, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Eq. 6's noise on a joint step, whoever decided it, (J,) [rad]."""
        noisy = step + rng.normal(0.0, self.settings.noise_std_rad, step.shape)
        if self.settings.clip_noise:
            noisy = np.clip(noisy, -self.settings.max_step_rad, self.settings.max_step_rad)
        return noisy
