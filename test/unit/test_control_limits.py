"""What a joint target may ask of the arm."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import load_robot
from vd_policy.control.limits import Limits
from vd_policy.control.workspace import Workspace

NAMES = ("a", "b")
UNBOUNDED = (-np.inf, np.inf)


def forward(q: np.ndarray) -> np.ndarray:
    """An arm whose tool stands at x = a, y = b."""
    poses = np.tile(np.eye(4), (len(q), 1, 1))
    poses[:, :2, 3] = q
    return poses


def swing(q: np.ndarray) -> np.ndarray:
    """An arm of 1 m whose first joint swings it in the x-y plane."""
    poses = np.tile(np.eye(4), (len(q), 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = np.cos(q[:, 0]), np.sin(q[:, 0])
    return poses


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
    clamped = limits(workspace=Workspace(box, forward)).clamp(np.array([0.4, 0.2]), np.zeros(2), 1.0)
    assert clamped.q == pytest.approx([0.2, 0.1], abs=1e-6)
    assert clamped.q[0] <= 0.2 + 1e-6
    assert clamped.reasons == ("workspace:x",)


def test_an_end_effector_outside_the_workspace_may_come_back_but_not_go_further() -> None:
    gate = limits(workspace=Workspace(((-0.2, 0.2), UNBOUNDED, UNBOUNDED), forward))
    outside = np.array([0.5, 0.0])
    assert gate.clamp(np.array([0.4, 0.0]), outside, 1.0).reasons == ()
    assert gate.clamp(np.array([0.6, 0.0]), outside, 1.0).q.tolist() == [0.5, 0.0]


def test_being_outside_along_one_axis_buys_no_room_along_another() -> None:
    box = Workspace(((-0.2, 0.2), (-0.2, 0.2), UNBOUNDED), forward)
    outside = np.array([0.5, 0.0])
    clamped = limits(workspace=box).clamp(np.array([0.25, 0.4]), outside, 1.0)
    assert clamped.q.tolist() == outside.tolist()
    assert clamped.reasons == ("workspace:y",)


def boxed_swing(x_max: float) -> Limits:
    """Swings by up to 0.6 rad, its tool left of `x_max`."""
    return limits(
        max_step_rad=0.6, speed_rad_s=(1.0, 1.0), workspace=Workspace(((-2.0, x_max), UNBOUNDED, UNBOUNDED), swing)
    )


def test_a_step_between_two_places_inside_is_cut_where_its_way_leaves_the_workspace() -> None:
    """Both ends are at x = 0.955, the middle of the arc at 1."""
    clamped = boxed_swing(0.96).clamp(np.array([0.3, 0.0]), np.array([-0.3, 0.0]), 1.0)
    assert np.cos(clamped.q[0]) == pytest.approx(0.96, abs=1e-5) and clamped.q[0] < 0
    assert np.cos(clamped.q[0]) <= 0.96 + 1e-6
    assert clamped.reasons == ("way:x",)


def test_an_arc_that_bulges_out_by_less_than_measuring_it_could_tell_passes_bit_for_bit() -> None:
    target = np.array([0.3, 0.0])
    clamped = boxed_swing(0.996).clamp(target, np.array([-0.3, 0.0]), 1.0)
    assert clamped.reasons == () and clamped.q.tobytes() == target.tobytes()


def test_a_tool_outside_the_workspace_may_swing_along_its_edge_but_not_farther_out_on_the_way() -> None:
    outside = np.array([-0.3, 0.0])
    assert boxed_swing(0.95).clamp(np.array([0.3, 0.0]), outside, 1.0).q.tolist() == outside.tolist()
    assert boxed_swing(0.95).clamp(np.array([-0.4, 0.0]), outside, 1.0).reasons == ()


def test_the_way_of_a_real_arm_stays_above_the_table() -> None:
    """Steps between two places above the floor of its workspace: what passes never dips below it on the way."""
    spec = load_robot()
    arm, rng = Kinematics(spec), np.random.default_rng(0)
    floor_m = spec.workspace_m[2][0]
    gate = Limits(spec.joints, spec.lower_rad, spec.upper_rad, spec.speed_limit_rad_s, np.pi / 5,
                  Workspace(spec.workspace_m, arm.forward_batch))  # fmt: skip
    shares, cut = np.linspace(0.0, 1.0, 200)[:, None], 0
    low = arm.goals_over(np.array([0.45, -0.10, floor_m + 0.01]), collides=lambda q: None)
    for start in np.repeat(low, 20, axis=0):
        clamped = gate.clamp(start + rng.uniform(-1, 1, 6) * np.pi / 5, start, 1.1)
        heights_m = arm.forward_batch(start + shares * (clamped.q - start))[:, 2, 3]
        assert heights_m.min() > floor_m - 0.008 and heights_m[-1] > floor_m - 1e-5
        cut += any(reason.startswith("way:") for reason in clamped.reasons)
    assert cut


def test_a_continuous_joint_is_never_sent_once_around() -> None:
    """A driver that reports 3.1 and then, after the wrap, -3.1."""
    clamped = limits().clamp(np.array([0.0, 3.1 + 0.2]), np.array([0.0, 3.2 - 2 * np.pi]), 1.0)
    assert clamped.q == pytest.approx([0.0, 3.3 - 2 * np.pi])
    assert clamped.reasons == ()
