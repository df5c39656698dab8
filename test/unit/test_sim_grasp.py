"""The grasping task as its users see it: the expert, what counts as a grasp, and collisions on the way to one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vd_policy.arm.expert import Expert
from vd_policy.arm.kinematics import Kinematics, unwrapped
from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.grasp import Grasp, GraspSettings
from vd_policy.sim.tasks import Situation, load_task, rules

CUP = np.array([0.5, 0.1, 0.0])
TINY = {"image_height": 8, "image_width": 8}
KINEMATICS = Kinematics(load_robot())
BESIDE = (-0.17, 0.0, 0.08)
ABOVE = (0.0, 0.0, 0.16)


def grasping(**options) -> ArmEnv:
    return ArmEnv("grasp", **{**TINY, **options})


@pytest.fixture(scope="module")
def env() -> ArmEnv:
    return grasping()


def run_expert(env: ArmEnv, seed: int) -> tuple[float, dict]:
    """The noiseless expert's return, and the last info."""
    env.reset(seed=seed)
    expert, total, over = env.expert(), 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step_to(env.q + expert.decide(env.q))
        total += reward
        over = terminated or truncated
    return total, info


def hand_at(env: ArmEnv, offset_m: tuple[float, float, float], q: np.ndarray | None = None) -> np.ndarray:
    """Joint angles with the hand down and the end effector at an offset from the cup's foot."""
    found = KINEMATICS.moved_to(env.goals()[0] if q is None else q, CUP + offset_m)
    assert found is not None
    return found


def drive(env: ArmEnv, start: np.ndarray | None, *targets: np.ndarray) -> tuple[float, bool, dict]:
    """The last step of a motion through joint angles, put at `start` first: reward, whether it ended, info."""
    if start is not None:
        env._q = start
        env.scene.set_joints(start)
    for target in targets:
        for _ in range(math.ceil(np.abs(target - env.q).max() / env.settings.max_step_rad)):
            _, reward, terminated, _, info = env.step_to(target)
            if terminated:
                return reward, True, info
    return reward, terminated, info


def test_the_noiseless_expert_grasps_every_cup_and_earns_almost_what_can_be_earned(env: ArmEnv) -> None:
    runs = [run_expert(env, seed) for seed in range(40)]
    assert all(info["success"] for _, info in runs)
    assert np.mean([total for total, _ in runs]) > 19.5


def test_the_goal_set_lies_straight_above_the_grasp_and_every_approach_from_it_is_free(env: ArmEnv) -> None:
    env.reset(seed=0, options={"cup": CUP})
    poses = KINEMATICS.forward_batch(env.goals())
    assert len(poses) >= 3
    assert np.abs(poses[:, :3, 3] - (CUP + ABOVE)).max() < 1e-3 and (poses[:, 2, 2] < -0.999).all()
    for goal in env.goals():
        _, _, info = drive(env, goal, goal + env.expert().decide(goal))
        assert info["success"]
        env.reset(seed=0, options={"cup": CUP})


def test_the_final_approach_keeps_the_orientation_and_ends_at_the_target(env: ArmEnv) -> None:
    env.reset(seed=0, options={"cup": CUP})
    tilted = env.goals()[0] + np.array([0.0, 0.0, 0.0, 0.05, 0.0, 0.4])
    start, end = KINEMATICS.forward(tilted), KINEMATICS.forward(tilted + env.expert().decide(tilted))
    assert np.abs(start[:3, :3] - end[:3, :3]).max() < 2e-3
    assert np.linalg.norm(end[:3, 3] - env.target_m) < 1e-3


def ends_at_a_goal(env: ArmEnv, q: np.ndarray) -> bool:
    pose = KINEMATICS.forward(q)
    return bool(np.abs(pose[:3, 3] - (env._cup + ABOVE)).max() < 1e-3 and pose[2, 2] < -0.999)


def test_an_approach_through_the_cup_is_not_begun(env: ArmEnv) -> None:
    env.reset(seed=0, options={"cup": CUP})
    aside = hand_at(env, (0.045, -0.06, 0.114))
    assert env._rules.near(KINEMATICS.forward(aside), CUP) and env._probe.contact_beside(aside, CUP) is None
    assert ends_at_a_goal(env, aside + env.expert().nearest(aside)), "it goes up first"


def test_far_from_the_cup_the_expert_heads_for_the_goal_set(env: ArmEnv) -> None:
    env.reset(seed=0, options={"cup": CUP})
    assert ends_at_a_goal(env, env.q + env.expert().nearest(env.q))


def test_goals_are_chosen_as_if_the_approach_from_every_one_had_been_tried_before(env: ArmEnv) -> None:
    rng, env = np.random.default_rng(0), grasping(overrides={"goals": "found"})
    for seed in range(6):
        env.reset(seed=seed)
        chosen, cup = env.expert(), env._cup
        candidates = env._placement.goals(cup).candidates
        goals = np.array([q for q in candidates if env._placement.approach(q, cup) is not None])
        assert np.array_equal(env.goals(), goals)
        for q in env.q + rng.normal(0.0, 0.6, (20, 6)):
            if env._placement.approach(q, cup) is None:
                assert np.array_equal(chosen.nearest(q), Expert(goals, env.robot.continuous).nearest(q))
    env.close()


def test_the_way_to_the_nearest_of_all_goals_is_never_longer_and_changes_little_where_cup_and_arm_do(
    env: ArmEnv,
) -> None:
    of_all, of_found = [], []
    for seed in range(8):
        env.reset(seed=seed)
        q, cup = env.q, env._cup.copy()
        moved = [env.expert().nearest(q + 1e-3 * unit) for unit in np.eye(6)]
        env.reset(seed=seed, options={"cup": cup + (0.001, 0.001, 0.0)})
        moved.append(env.expert().nearest(q))
        env.reset(seed=seed, options={"cup": cup})
        way = env.expert().nearest(q)
        found = unwrapped(env.goals() - q, np.array(env.robot.continuous))
        of_all.append(np.abs(way).sum())
        of_found.append(np.abs(found).sum(axis=1).min())
        assert np.abs(np.array(moved) - way).max() < 0.02
    assert (np.array(of_all) < np.array(of_found) + 1e-6).all()
    assert np.mean(of_all) < np.mean(of_found) - 0.2


def test_a_hand_that_grasps_comes_from_above_and_is_not_free_to_turn() -> None:
    with pytest.raises(BadInput, match="goals.*'free'.*found"):
        grasping(overrides={"goals": "free"})


COLLISIONS = {
    "driving into the table": ([(-0.17, 0.0, 0.20), (-0.17, 0.0, -0.05)], "finger", "table"),
    "coming from beside": ([BESIDE, (0.0, 0.0, 0.08)], "finger", "cup"),
    "coming from above, off the axis": ([(0.05, 0.0, 0.20), (0.05, 0.0, 0.08)], "finger", "cup"),
    "going too deep": ([ABOVE, (0.0, 0.0, 0.08), (0.0, 0.0, 0.03)], "link_6", "cup"),
}


IN_EARNEST = ("driving into the table", "coming from above, off the axis")
"""Stages that go as well where a cup gives way: one from beside falls, and too deep means that the cup was gripped."""


@pytest.mark.parametrize(("stage", "motion"), [*((s, "kinematic") for s in COLLISIONS),
                                               *((s, "position") for s in IN_EARNEST)])  # fmt: skip
def test_a_collision_at_any_stage_of_the_approach_costs_25_and_ends_the_episode(stage: str, motion: str) -> None:
    way, link, other = COLLISIONS[stage]
    env = grasping(motion=motion, overrides={"end_on_success": False})
    env.reset(seed=0, options={"cup": CUP})
    targets = [hand_at(env, offset) for offset in way]
    reward, terminated, info = drive(env, targets[0], *targets[1:])
    assert terminated and info["failure"] and not info["success"] and reward == -26.0
    assert link in info["reason"] and info["reason"].endswith(":" + other)


def test_a_hand_that_comes_down_turned_touches_the_cup_with_a_finger(env: ArmEnv) -> None:
    env.reset(seed=0, options={"cup": CUP})
    turned = env.goals()[0] + np.array([0.0, 0.0, 0.0, 0.0, 0.8, 0.0])
    start, end = hand_at(env, (0.0, 0.0, 0.22), turned), hand_at(env, (0.0, 0.0, 0.08), turned)
    assert env._probe.contact_beside(start, CUP) is None
    reward, terminated, info = drive(env, start, end)
    assert terminated and reward == -26.0 and "finger" in info["reason"] and info["reason"].endswith(":cup")


def test_a_collision_of_the_arm_with_itself_counts_too(env: ArmEnv) -> None:
    env.reset(seed=0)
    _, terminated, info = drive(env, None, env.q + np.array([0.0, 0.6, -0.6, 0.0, 0.0, 0.0]),
                                np.array([4.8, np.pi, 0.34, 0.0, 2.6, 0.0]))  # fmt: skip
    assert terminated and info["failure"]
    assert all(part.startswith("j2n6s300") for part in info["reason"].split(":")[1:])


def test_a_finger_may_touch_the_cup_once_it_stands_between_the_fingers() -> None:
    env = grasping(overrides={"end_on_success": False})
    env.reset(seed=0, options={"cup": CUP})
    inside = hand_at(env, (0.0, 0.0, 0.08))
    reward, _, info = drive(env, env.goals()[0], inside, hand_at(env, (0.1, 0.0, 0.08), inside))
    assert info["success"] and not info["failure"] and reward == 24.0
    assert np.abs(info["applied"]).max() < 0.05, "the cup is in the way"


def test_a_collision_can_leave_the_episode_running() -> None:
    env = grasping(overrides={"end_on_contact": False})
    env.reset(seed=0, options={"cup": CUP})
    reward, terminated, info = drive(env, hand_at(env, BESIDE), hand_at(env, (0.0, 0.0, 0.08)))
    assert info["failure"] and not terminated and reward == -26.0


def pose(position: tuple[float, float, float], tilt_rad: float = 0.0) -> np.ndarray:
    """A hand that points down, turned about x."""
    c, s = math.cos(tilt_rad), math.sin(tilt_rad)
    turned = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([1.0, -1.0, -1.0])
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = turned, position
    return whole


def cup_pose(tilt_rad: float = 0.0) -> np.ndarray:
    whole = pose((0.0, 0.0, 0.0), tilt_rad)
    whole[:3, 1:3] *= -1.0
    return whole


@pytest.mark.parametrize(
    ("hand", "cup", "around"),
    [
        (pose((0.0, 0.0, 0.08)), cup_pose(), True),
        (pose((0.02, 0.01, 0.08)), cup_pose(), True),
        (pose((0.03, 0.0, 0.08)), cup_pose(), False),
        (pose((0.0, 0.0, 0.101)), cup_pose(), False),
        (pose((0.0, 0.0, 0.054)), cup_pose(), False),
        (pose((0.0, 0.0, 0.08), 0.3), cup_pose(), True),
        (pose((0.0, 0.0, 0.08), 0.4), cup_pose(), False),
        (pose((0.0, 0.0, 0.08), math.pi), cup_pose(), False),
        (pose((0.0, 0.0, 0.08)), cup_pose(1.5), False),
    ],
    ids=["on the axis", "a little off", "too far off", "too high", "too deep", "a little tilted", "too tilted",
         "upside down", "fallen cup"],
)  # fmt: skip
def test_a_cup_is_between_the_fingers_by_place_depth_and_direction(hand, cup, around: bool) -> None:
    assert Grasp(GraspSettings(task="grasp")).around(hand, cup) is around


def situation(**changes) -> Situation:
    hand = pose((0.0, 0.0, 0.08))
    return replace(Situation(hand, hand[:3, 3], np.zeros(6), None, False, cup_pose(), lambda: True, False), **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (True, False, 24.0, "")),
        ({"effector": pose((0.0, 0.0, 0.3))}, (False, False, -1.0, "")),
        ({"effector": pose((0.0, 0.0, 0.08), 0.5)}, (False, False, -1.0, "")),
        ({"contact": "hand:cup"}, (False, True, -26.0, "")),
        ({"contact": "finger:cup", "finger_on_cup": True}, (True, False, 24.0, "")),
        ({"contact": "finger:cup", "finger_on_cup": True, "effector": pose((0.0, 0.0, 0.2))}, (False, True, -26.0, "")),
        ({"grip": lambda: False}, (False, False, -1.0, "in hand")),
        ({"grip": lambda: False, "contact": "finger:cup", "finger_on_cup": True}, (False, False, -1.0, "in hand")),
        ({"grip": lambda: False, "grip_moves": True}, (False, True, -26.0, "dropped")),
    ],
)
def test_a_grasp_needs_place_contacts_and_grip_and_not_nearness_alone(changes: dict, expected: tuple) -> None:
    judged = Grasp(GraspSettings(task="grasp")).judge(situation(**changes))
    assert (judged.success, judged.failure, judged.reward, judged.reason) == expected


def test_the_gripper_is_not_closed_in_vain() -> None:
    def never() -> bool:
        raise AssertionError("closed far from the cup")

    Grasp(GraspSettings(task="grasp")).judge(situation(effector=pose((0.0, 0.0, 0.3)), grip=never))


def test_without_a_reward_nothing_is_earned() -> None:
    task = Grasp(GraspSettings(task="grasp", reward="none"))
    assert task.judge(situation()).reward == 0.0 and task.judge(situation(contact="hand:cup")).reward == 0.0


def test_in_position_control_the_grasped_cup_rises_with_the_hand() -> None:
    env = grasping(motion="position")
    for seed in range(2):
        total, info = run_expert(env, seed)
        assert info["success"] and total > 18.0
        assert env.scene.cup()[2, 3] == pytest.approx(env.settings.lift_m, abs=0.01)
        assert env.scene.cup()[2, 2] > 0.95, "upright"
        assert np.array_equal(env.q, env.scene.joints())


def test_in_position_control_a_cup_that_is_pushed_falls_over() -> None:
    env = grasping(motion="position")
    env.reset(seed=0, options={"cup": CUP})
    reward, terminated, info = drive(env, hand_at(env, BESIDE), hand_at(env, (-0.02, 0.0, 0.09)))
    assert terminated and info["failure"] and reward == -26.0 and info["reason"].endswith(":cup")
    moved = env.scene.cup()
    assert moved[2, 2] < 0.9 or np.linalg.norm(moved[:2, 3] - CUP[:2]) > 0.02
    assert np.array_equal(info["scene"], CUP), "where it stood at the start"
    env.reset(seed=0, options={"cup": CUP})
    assert np.abs(env.scene.cup() - np.block([[np.eye(3), CUP[:, None]], [np.zeros((1, 3)), 1.0]])).max() < 1e-6


def test_a_hand_that_does_not_close_drops_the_cup_and_holds_none() -> None:
    robot = replace(load_robot(), finger_closed_rad=load_robot().finger_open_rad)
    for motion, reason in (("position", "dropped"), ("kinematic", "horizon")):
        env = ArmEnv("grasp", robot, motion=motion, horizon=8, **TINY)
        _, info = run_expert(env, 0)
        assert not info["success"] and info["failure"] == (reason == "dropped") and info["reason"] == reason


def test_a_robot_that_cannot_open_its_hand_is_refused_by_name() -> None:
    robot = replace(load_robot(), finger_open_rad=())
    with pytest.raises(BadInput, match="finger_open_rad of j2n6s300"):
        ArmEnv("grasp", robot, **TINY)


def test_the_settings_are_those_of_the_paper_and_belong_to_their_task() -> None:
    settings = load_task("grasp")
    assert isinstance(settings, GraspSettings)
    assert (settings.horizon, settings.step_cost, settings.success_reward, settings.failure_cost) == (25, 1, 25, 25)
    with pytest.raises(BadInput, match="task"):
        rules(replace(load_task("reach"), task="grasp"))
    with pytest.raises(BadInput, match="approach_m"):
        ArmEnv("grasp", overrides={"aproach_m": 0.1}, **TINY)
    with pytest.raises(BadInput, match="sparse"):
        ArmEnv("grasp", overrides={"reward": "dense"}, **TINY)
