"""The goal set, whose members are checked when they are first asked about."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.arm.expert import Expert
from vd_policy.arm.goals import GoalSet
from vd_policy.base.errors import BadInput

CANDIDATES = np.random.default_rng(0).uniform(-3.0, 3.0, (12, 3))
CONTINUOUS = (True, False, True)


def some(good: set[int]) -> tuple[GoalSet, list[int]]:
    """A set in which some candidates are goals, and the numbers of those that were checked, in order."""
    checked: list[int] = []

    def admits(q: np.ndarray) -> bool:
        checked.append(int(np.flatnonzero((CANDIDATES == q).all(axis=1))[0]))
        return checked[-1] in good

    return GoalSet(CANDIDATES, admits), checked


def test_an_expert_chooses_as_from_the_goals_alone() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        good = set(rng.choice(12, rng.integers(1, 12), replace=False).tolist())
        lazy, whole = Expert(some(good)[0], CONTINUOUS), Expert(CANDIDATES[sorted(good)], CONTINUOUS)
        for q in rng.uniform(-6.0, 6.0, (10, 3)):
            assert np.array_equal(lazy.nearest(q), whole.nearest(q))


def test_of_two_goals_alike_the_first_is_chosen_and_no_candidate_is_checked_twice() -> None:
    goals, checked = some({3, 7, 9})
    costs = np.full(12, 2.0)
    costs[[5, 7, 9]] = 1.0
    assert [goals.least(costs) for _ in range(3)] == [7, 7, 7]
    assert checked == [5, 7]


def test_all_goals_keep_the_order_of_the_candidates() -> None:
    assert np.array_equal(some({7, 3, 9})[0].all(), CANDIDATES[[3, 7, 9]])
    assert np.array_equal(GoalSet(CANDIDATES).all(), CANDIDATES)
    assert some(set())[0].all().shape == (0, 3)


def test_a_set_without_a_goal_is_refused_by_the_expert() -> None:
    assert some({11})[0] and not some(set())[0]
    with pytest.raises(BadInput, match="expert goals"):
        Expert(some(set())[0], CONTINUOUS)
