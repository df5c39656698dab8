"""What a joint target may ask of the arm."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.control.limits import Limits

NAMES = ("a", "b")
UNBOUNDED = (-np.inf, np.inf)


def forward(q: np.ndarray) -> np.ndarray:
    """An arm whose tool stands at x = a, y = b."""
    pose = np.eye(4)
    pose[:2, 3] = q
    return pose


def limits(**changes: object) -> Limits:
    given = {"lower_rad": (-1.0, -np.inf), "upper_rad": (1.0, np.inf), "speed_rad_s": (0.5, 0.5), "max_step_rad": 0.4}
    return Limits(NAMES, **{**given, **changes})


def test_a_full_step_at_full_speed_passes_bit_for_bit() -> None:
    q = np.array([0.123456789, 4.8046852])
    target = q + np.float32(1.0) * 0.4
    clamped = limits(speed_rad_s=(0.4, 0.4)).clamp(target, q, 1.0)
    assert clamped.reasons == ()
    assert clamped.q.tobytes() == target.tobytes()


def test_a_longer_step_is_cut_to_the_largest_one_and_names_its_joint() -> None:
    clamped = limits().clamp(np.array([0.1, -2.0]), np.zeros(2), 2.0)
    assert clamped.q.tolist() == [0.1, -0.4]
    assert clamped.reasons == ("step:b",)


def test_a_trim_within_the_encoders_noise_is_no_violation() -> None:
    clamped = limits().clamp(np.array([0.0, 0.404]), np.zeros(2), 2.0)
    assert clamped.q.tolist() == [0.0, 0.4]
    assert clamped.reasons == ()


def test_a_step_too_fast_for_its_duration_is_slowed() -> None:
    clamped = limits().clamp(np.array([0.3, 0.0]), np.zeros(2), 0.2)
    assert clamped.q == pytest.approx([0.1, 0.0])
    assert clamped.reasons == ("speed:a",)


def test_a_target_past_a_joint_limit_stops_at_it() -> None:
    clamped = limits().clamp(np.array([1.2, 0.0]), np.array([0.9, 0.0]), 1.0)
    assert clamped.q.tolist() == [1.0, 0.0]
    assert clamped.reasons == ("limit:a",)


def test_a_joint_outside_its_limits_may_come_back_but_not_go_further() -> None:
    outside = np.array([1.3, 0.0])
    assert limits().clamp(np.array([1.2, 0.0]), outside, 1.0).reasons == ()
    assert limits().clamp(np.array([1.4, 0.0]), outside, 1.0).q.tolist() == [1.3, 0.0]


def test_a_step_out_of_the_workspace_is_shortened_for_all_joints_alike() -> None:
    box = ((-0.2, 0.2), UNBOUNDED, UNBOUNDED)
    clamped = limits(workspace_m=box, forward=forward).clamp(np.array([0.4, 0.2]), np.zeros(2), 1.0)
    assert clamped.q == pytest.approx([0.2, 0.1], abs=1e-6)
    assert clamped.q[0] <= 0.2 + 1e-6
    assert clamped.reasons == ("workspace:x",)


def test_an_end_effector_outside_the_workspace_may_come_back_but_not_go_further() -> None:
    gate = limits(workspace_m=((-0.2, 0.2), UNBOUNDED, UNBOUNDED), forward=forward)
    outside = np.array([0.5, 0.0])
    assert gate.clamp(np.array([0.4, 0.0]), outside, 1.0).reasons == ()
    assert gate.clamp(np.array([0.6, 0.0]), outside, 1.0).q.tolist() == [0.5, 0.0]


def test_a_continuous_joint_is_never_sent_once_around() -> None:
    """A driver that reports 3.1 and then, after the wrap, -3.1."""
    clamped = limits().clamp(np.array([0.0, 3.1 + 0.2]), np.array([0.0, 3.2 - 2 * np.pi]), 1.0)
    assert clamped.q == pytest.approx([0.0, 3.3 - 2 * np.pi])
    assert clamped.reasons == ()
