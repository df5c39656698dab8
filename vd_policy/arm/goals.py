"""The goal set G of eq. 9."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class GoalSet:
    """Configurations of which some are goals; each is checked when it is first asked about, and then remembered.

    A check is a search for a free way to the cup, which takes 1 ms; an expert asks about one or two of a dozen.

    Args:
        candidates: joint angles [rad], (K, J).
        admits: whether a candidate (J,) is a goal; None admits all.
    """

    def __init__(self, candidates: np.ndarray, admits: Callable[[np.ndarray], bool] | None = None) -> None:
        self.candidates = np.asarray(candidates, dtype=np.float64)
        self._admits = admits
        self._known: dict[int, bool] = {}

    def __contains__(self, index: int) -> bool:
        """Whether the candidate of this number is a goal."""
        if index not in self._known:
            self._known[index] = self._admits is None or self._admits(self.candidates[index])
        return self._known[index]

    def __bool__(self) -> bool:
        """Whether there is a goal."""
        return any(index in self for index in range(len(self.candidates)))

    def least(self, costs: np.ndarray) -> int:
        """The number of the goal with the least cost, the first one of several; the set must not be empty.

        Args:
            costs: of each candidate, (K,).
        """
        return next(int(index) for index in np.argsort(costs, kind="stable") if int(index) in self)

    def all(self) -> np.ndarray:
        """Every goal, in the order of the candidates, (G, J) [rad]."""
        return self.candidates[[index in self for index in range(len(self.candidates))]]
