"""A claim beside our number, and what makes it count as reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vd_policy.experiments.interval import Mean, mean_of

REPRODUCED, NOT_REPRODUCED, TOO_FEW = "reproduced", "not reproduced", "not enough seeds"
REVERSED = f"{NOT_REPRODUCED}: the reverse holds"
"""The whole interval lies on the other side of the bound."""
REACHED, NOT_REACHED = "reached", "not reached"
"""Of an aim of ours, beyond what the paper claims."""
TOO_SHORT = "trainings too short to tell"
NOBODY = "nobody got there"
OTHER_SETTING = "another setting, no verdict"


@dataclass(frozen=True)
class Verdict:
    """One claim beside our number."""

    claim: str
    paper: str
    """The paper's number, or what it says in its place."""
    measure: str
    """What our number is."""
    ours: Mean
    outcome: str


@dataclass(frozen=True)
class Judge:
    """A claim holds where the whole 95 % interval over the seeds does."""

    min_seeds: int
    """Fewer make no verdict."""

    def above(self, claim: str, paper: str, measure: str, values: Sequence[float], bound: float = 0.0) -> Verdict:
        """A claim that a number over the seeds exceeds `bound`."""
        ours = mean_of(values)
        return self._verdict(claim, paper, measure, ours, ours.low > bound, ours.high < bound)

    def below(self, claim: str, paper: str, measure: str, values: Sequence[float], bound: float = 0.0) -> Verdict:
        """A claim that a number over the seeds is below `bound`."""
        ours = mean_of(values)
        return self._verdict(claim, paper, measure, ours, ours.high < bound, ours.low > bound)

    def never(self, claim: str, paper: str, measure: str, counts: Sequence[float]) -> Verdict:
        """A claim that something happened in no seed at all."""
        return self._verdict(claim, paper, measure, mean_of(counts), not any(counts))

    def reaches(self, aim: str, paper: str, measure: str, values: Sequence[float], bound: float) -> Verdict:
        """An aim that a number over the seeds exceeds `bound`."""
        ours = mean_of(values)
        return self._aim(aim, paper, measure, ours, ours.low > bound)

    def costs_at_most(
        self, aim: str, paper: str, measure: str, values: Sequence[float], bound: float, seeds: int
    ) -> Verdict:
        """An aim that what something costs, over the seeds, is at most `bound`; no values: in none of so many seeds did
        anybody come so far that it could be told."""
        ours = mean_of(values)
        if not values and seeds >= self.min_seeds:
            return Verdict(aim, paper, measure, ours, NOBODY)
        return self._aim(aim, paper, measure, ours, ours.high <= bound)

    def agrees(self, claim: str, paper: str, measure: str, values: Sequence[float], number: float) -> Verdict:
        """A claim that the paper's number lies within our interval."""
        ours = mean_of(values)
        return self._verdict(claim, paper, measure, ours, ours.low <= number <= ours.high)

    def elsewhere(self, claim: str, paper: str, measure: str, values: Sequence[float]) -> Verdict:
        """Our number beside one that was measured in another setting."""
        return Verdict(claim, paper, measure, mean_of(values), OTHER_SETTING)

    def _aim(self, aim: str, paper: str, measure: str, ours: Mean, held: bool) -> Verdict:
        outcome = REACHED if held else NOT_REACHED
        return Verdict(aim, paper, measure, ours, outcome if ours.values >= self.min_seeds else TOO_FEW)

    def _verdict(self, claim: str, paper: str, measure: str, ours: Mean, held: bool, opposite: bool = False) -> Verdict:
        outcome = REPRODUCED if held else REVERSED if opposite else NOT_REPRODUCED
        return Verdict(claim, paper, measure, ours, outcome if ours.values >= self.min_seeds else TOO_FEW)
