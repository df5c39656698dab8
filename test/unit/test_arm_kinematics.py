"""Forward and inverse kinematics."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.arm.inverse import DownwardSolver, InverseSettings
from vd_policy.arm.kinematics import DISTINCT_RAD, Kinematics, unwrapped
from vd_policy.arm.reach import RESOLUTION_M, reachable_radii
from vd_policy.arm.spec import load_robot

PUBLISHED_HOME_M = (0.2123, -0.2572, 0.5096)
PUBLISHED_HOME_RAD = (1.6377, 1.1132, 0.1341)
"""Kinova's Cartesian home: rotations about the moving x, y, z axes."""
TARGET_M = np.array([0.45, -0.10, 0.18])


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(load_robot())


def tilt_deg(pose: np.ndarray) -> np.ndarray:
    """Angle of the approach axis from straight down, of poses (..., 4, 4)."""
    return np.degrees(np.arccos(np.clip(-pose[..., 2, 2], -1.0, 1.0)))


def nothing_collides(q: np.ndarray) -> None:
    return None


def some_configurations(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.9, 5.4, (count, 6))


def test_home_lands_on_the_published_cartesian_home(kinematics: Kinematics) -> None:
    (sx, sy, sz), (cx, cy, cz) = np.sin(PUBLISHED_HOME_RAD), np.cos(PUBLISHED_HOME_RAD)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    pose = kinematics.forward(kinematics.spec.home_rad)
    turn = pose[:3, :3].T @ about_x @ about_y @ about_z
    assert np.linalg.norm(pose[:3, 3] - PUBLISHED_HOME_M) < 0.003
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 0.5


def test_forward_kinematics_agree_with_ikpy_to_a_nanometre(kinematics: Kinematics) -> None:
    q = some_configurations(20)
    batch = kinematics.forward_batch(q)
    for angles, pose in zip(q, batch):
        assert np.abs(kinematics.ikpy_chain.forward_kinematics(kinematics.padded(angles)) - pose).max() < 1e-9
        assert np.array_equal(kinematics.forward(angles), pose)


def test_the_jacobian_is_the_derivative_of_the_pose(kinematics: Kinematics) -> None:
    q, step = some_configurations(1)[0], 1e-6
    jacobian = kinematics.chain.jacobian(q[None])[1][0]
    for joint in range(6):
        ahead, behind = (kinematics.forward(q + sign * step * np.eye(6)[joint]) for sign in (1, -1))
        spin = (ahead - behind)[:3, :3] / (2 * step) @ kinematics.forward(q)[:3, :3].T
        assert np.allclose(jacobian[:3, joint], (ahead - behind)[:3, 3] / (2 * step), atol=1e-6)
        assert np.allclose(jacobian[3:, joint], [spin[2, 1], spin[0, 2], spin[1, 0]], atol=1e-6)


def test_goals_stand_over_the_point_with_the_hand_down_inside_the_limits(kinematics: Kinematics) -> None:
    goals = kinematics.goals_over(TARGET_M, collides=nothing_collides)
    poses = kinematics.forward_batch(goals)
    assert np.abs(poses[:, :3, 3] - TARGET_M).max() < 1e-3
    assert tilt_deg(poses).max() < 0.1
    assert (goals >= kinematics.spec.lower_rad).all() and (goals <= kinematics.spec.upper_rad).all()


def test_goals_are_several_distinct_and_the_same_every_time(kinematics: Kinematics) -> None:
    goals = kinematics.goals_over(TARGET_M, collides=nothing_collides)
    apart = [kinematics.apart_rad(a, b) for i, a in enumerate(goals) for b in goals[:i]]
    assert len(goals) >= 5 and min(apart) > DISTINCT_RAD
    assert np.array_equal(goals, Kinematics(kinematics.spec).goals_over(TARGET_M, collides=nothing_collides))


def test_goals_that_collide_are_left_out_and_the_nearest_to_home_are_kept(kinematics: Kinematics) -> None:
    everything = kinematics.goals_over(TARGET_M, collides=nothing_collides)
    few = kinematics.goals_over(TARGET_M, collides=nothing_collides, count_max=3)
    assert np.array_equal(few, everything[:3])
    right = kinematics.goals_over(TARGET_M, collides=lambda q: "table" if q[1] > np.pi else None)
    assert 0 < len(right) < len(everything) and (right[:, 1] <= np.pi).all()
    assert len(kinematics.goals_over(TARGET_M, collides=lambda q: "table")) == 0


def test_goals_of_points_solved_ahead_together_are_those_of_each_alone_to_the_bit(kinematics: Kinematics) -> None:
    points = np.array([TARGET_M, [0.35, 0.2, 0.18], [1.2, 0.0, 0.2], [0.5, -0.3, 0.1], [0.6, 0.1, 0.16]])
    ahead = Kinematics(kinematics.spec)
    ahead.solve_ahead(points)
    for point in [*points[::-1], *points]:
        alone = kinematics.goals_over(point, collides=nothing_collides)
        assert np.array_equal(ahead.goals_over(point, collides=nothing_collides), alone)


def test_a_point_out_of_reach_has_no_goals(kinematics: Kinematics) -> None:
    assert kinematics.goals_over(np.array([1.2, 0.0, 0.2]), collides=nothing_collides).shape == (0, 6)


def test_every_cup_of_a_hundred_has_at_least_five_goals(kinematics: Kinematics) -> None:
    rng = np.random.default_rng(4)
    points = np.column_stack([rng.uniform(0.30, 0.62, 100), rng.uniform(-0.33, 0.33, 100), np.full(100, 0.18)])
    assert min(len(kinematics.goals_over(p, collides=nothing_collides)) for p in points) >= 5


def test_ikpy_finds_a_goal_when_it_starts_near_one(kinematics: Kinematics) -> None:
    goal = kinematics.goals_over(TARGET_M, collides=nothing_collides)[0]
    start = np.clip(goal + 0.05, kinematics.spec.lower_rad, kinematics.spec.upper_rad)
    pose = kinematics.forward(kinematics.solve_one(TARGET_M, start))
    assert np.linalg.norm(pose[:3, 3] - TARGET_M) < 0.005
    assert tilt_deg(pose) < 3


def test_the_edge_of_reach_is_found_from_inside(kinematics: Kinematics) -> None:
    def reachable(radius: float) -> bool:
        point = np.array([radius, 0.0, 0.18])
        return len(kinematics.goals_over(point, collides=nothing_collides, count_max=1)) > 0

    inner, outer = reachable_radii(reachable, (0.3, 0.9))
    assert inner == 0.3 and 0.65 < outer < 0.9
    around = [np.array([r * np.cos(a), r * np.sin(a), 0.18]) for a in (0.0, 1.0, -2.0) for r in (outer, outer + 0.05)]
    counts = [len(kinematics.goals_over(p, collides=nothing_collides, count_max=1)) for p in around]
    assert counts == [1, 0, 1, 0, 1, 0] and RESOLUTION_M < 0.01
    assert reachable_radii(reachable, (1.5, 2.0)) is None


@pytest.mark.parametrize("robot", ["j2n6s300", "gen3_7dof"])
def test_the_nearest_member_of_a_family_is_a_goal_that_no_other_solution_beats(robot: str) -> None:
    arm = Kinematics(load_robot(robot))
    spec, continuous = arm.spec, np.array(arm.spec.continuous)
    (many,) = DownwardSolver(spec, arm.chain, InverseSettings(restarts=1500)).solve(TARGET_M[None])
    rng = np.random.default_rng(0)
    for q in np.array(spec.home_rad) + rng.normal(0.0, 0.5, (6, len(spec))):
        ways = unwrapped(many - q, continuous)
        distances = np.linalg.norm(ways, axis=1)
        starts = q + ways[np.argsort(distances)[:4]]
        found = arm.nearest_over(TARGET_M, starts, q)
        poses = arm.forward_batch(found)
        assert np.abs(poses[:, :3, 3] - TARGET_M).max() < 1e-3 and tilt_deg(poses).max() < 0.1
        inside = (found >= spec.lower_rad) & (found <= spec.upper_rad) | continuous
        assert inside.all()
        assert np.linalg.norm(found - q, axis=1).min() <= distances.min() + 0.01  # solutions are known to 1 mrad
        turned = q + 2.0 * np.pi * continuous
        assert np.allclose(arm.nearest_over(TARGET_M, starts + turned - q, turned), found + turned - q, atol=1e-6)


@pytest.mark.parametrize("robot", ["j2n6s300", "gen3_6dof", "gen3_7dof"])
def test_a_hand_that_may_turn_any_way_has_the_nearest_goal_of_all(robot: str) -> None:
    arm = Kinematics(load_robot(robot))
    continuous, home = np.array(arm.spec.continuous), np.array(arm.spec.home_rad)
    goals = arm.goals_over(TARGET_M, collides=nothing_collides)
    rng = np.random.default_rng(0)
    for q in home + rng.normal(0.0, 0.3, (6, len(home))):
        starts = q + unwrapped(goals - q, continuous)
        free, down = (arm.nearest_over(TARGET_M, starts, q, down=points) for points in (False, True))
        assert np.abs(arm.forward_batch(free)[:, :3, 3] - TARGET_M).max() < 1e-3
        distances = np.linalg.norm(free - q, axis=1)
        nearest = free[np.argmin(distances)]
        assert distances.min() < np.linalg.norm(down - q, axis=1).min() - 0.1
        # what makes a point nearest: no motion that keeps the hand in place shortens the way
        jacobian = arm.chain.jacobian(nearest[None])[1][0, :3]
        assert np.abs(nearest - q - np.linalg.pinv(jacobian) @ jacobian @ (nearest - q)).max() < 1e-3
        beside = nearest + rng.normal(0.0, 0.3, (20, len(home)))
        for other in arm.nearest_over(TARGET_M, beside, beside[0], down=False):
            assert np.linalg.norm(other - q) >= distances.min() - 1e-3


def test_a_family_whose_nearest_member_is_beyond_a_limit_has_none(kinematics: Kinematics) -> None:
    goals = kinematics.goals_over(TARGET_M, collides=nothing_collides)
    beyond = goals[0] + np.array([0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    assert len(kinematics.nearest_over(TARGET_M, goals[:1], goals[0])) == 1
    for found in kinematics.nearest_over(TARGET_M, goals, beyond):
        assert (found >= kinematics.spec.lower_rad).all() and (found <= kinematics.spec.upper_rad).all()
