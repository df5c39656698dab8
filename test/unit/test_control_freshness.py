"""Receipt-time freshness, plausible stamps, frozen pictures, plausible joints."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.control.freshness import Freshness, FrozenImage, StampGuard
from vd_policy.control.joint_filter import JointFilter

S = 1_000_000_000


def test_nothing_is_fresh_before_it_came() -> None:
    assert not Freshness(1.0).ok(0.0)


def test_an_input_goes_stale_after_its_timeout() -> None:
    fresh = Freshness(0.5)
    fresh.seen(1.0)
    assert fresh.ok(1.5) and not fresh.ok(1.51)


def test_a_stale_input_is_trusted_only_after_enough_samples_in_a_row() -> None:
    fresh = Freshness(0.5, fresh_needed=3)
    for now in (1.0, 1.1, 1.2):
        fresh.seen(now)
    assert fresh.ok(1.2)
    for now in (5.0, 5.1):
        fresh.seen(now)
        assert not fresh.ok(now)
    fresh.seen(5.2)
    assert fresh.ok(5.2)


def test_a_gap_between_samples_starts_the_count_again() -> None:
    fresh = Freshness(0.5, fresh_needed=2)
    for now in (1.0, 2.0, 3.0):
        fresh.seen(now)
        assert not fresh.ok(now)


@pytest.mark.parametrize(
    ("stamp_ns", "says"),
    [(0, "stamp is 0"), (11 * S, "in the future"), (-5, "stamp is 0")],
)
def test_a_stamp_that_cannot_be_is_refused_by_name(stamp_ns: int, says: str) -> None:
    assert says in StampGuard(0.1).check(stamp_ns, 10 * S)


def test_a_stamp_slightly_ahead_is_accepted() -> None:
    assert StampGuard(0.1).check(10 * S + S // 20, 10 * S) == ""


@pytest.mark.parametrize("stamp_ns", [5 * S, 10**9 * S])
def test_stamps_of_another_clock_name_use_sim_time(stamp_ns: int) -> None:
    clock_ns = 10**8 * S
    assert "use_sim_time" in StampGuard().check(stamp_ns, clock_ns)


def test_a_jump_back_is_reported_once_and_then_the_new_time_holds() -> None:
    guard = StampGuard()
    assert guard.check(10 * S) == ""
    assert "jumped back by 7.000 s" in guard.check(3 * S) and guard.jumped
    assert guard.check(4 * S) == "" and not guard.jumped


def test_a_still_arm_proves_nothing_about_the_camera() -> None:
    frozen, picture = FrozenImage(3, 0.1), np.zeros((2, 2, 3), np.uint8)
    assert not any(frozen.add(picture.copy(), np.zeros(2)) for _ in range(100))


def test_a_new_picture_thaws_the_camera() -> None:
    frozen, picture = FrozenImage(3, 0.1), np.zeros((2, 2, 3), np.uint8)
    assert [frozen.add(picture, np.array([0.1 * i])) for i in range(4)] == [False, False, True, True]
    assert not frozen.add(picture + 1, np.array([0.5]))


def joint_filter() -> JointFilter:
    return JointFilter(("a", "b"), np.array([1.0, 1.0]), np.array([False, True]), settle=3)


def test_motion_within_the_speed_limit_is_accepted() -> None:
    plausible = joint_filter()
    assert [plausible.check(np.array([0.1 * i, 0.0]), 0.1 * i) for i in range(5)] == [""] * 5


def test_a_continuous_joint_may_wrap() -> None:
    plausible = joint_filter()
    assert plausible.check(np.array([0.0, 3.14]), 1.0) == ""
    assert plausible.check(np.array([0.0, -3.14]), 1.1) == ""
    assert "a jumped" in plausible.check(np.array([6.28, -3.14]), 1.2)


def test_an_arm_that_really_stands_elsewhere_is_believed_in_the_end() -> None:
    plausible = joint_filter()
    plausible.check(np.zeros(2), 1.0)
    answers = [plausible.check(np.array([2.0, 0.0]), 1.0 + 0.06 * i) for i in range(1, 4)]
    assert [bool(a) for a in answers] == [True, True, False]
    assert plausible.relocations == 1


def test_a_few_milliseconds_are_not_enough_to_believe_a_jump_however_many_samples_they_hold() -> None:
    plausible = joint_filter()
    plausible.check(np.zeros(2), 1.0)
    answers = [plausible.check(np.array([2.0, 0.0]), 1.0 + 0.001 * i) for i in range(1, 120)]
    believed = [bool(a) for a in answers].index(False)
    assert believed == 100, "the sample 100 ms after the first of them"


def test_scattered_outliers_are_never_believed() -> None:
    plausible = joint_filter()
    plausible.check(np.zeros(2), 1.0)
    for i in range(1, 20):
        assert plausible.check(np.array([2.0 * i, 0.0]), 1.0 + 0.001 * i)
