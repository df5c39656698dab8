"""The environment as its users see it."""

from __future__ import annotations

import gc
import hashlib
import math
import re
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.resources import resource
from vd_policy.control.limits import Limits
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.tasks import load_task

CUP = (0.5, 0.1, 0.0)
INTO_THE_TABLE = np.array([0, 1, 0, 0, 0, 0], dtype=np.float32)
SMALL = {"image_height": 32, "image_width": 32}

DIGEST = """
import sys
sys.path.insert(0, {tests!r})
from test_sim_env import digest
print(digest({motion!r}, {task!r}))
"""


def small(**options) -> ArmEnv:
    return ArmEnv(**{**SMALL, **options})


TASKS_AND_MOTIONS = [(task, motion) for task in ("reach", "grasp") for motion in ("kinematic", "position")]


def digest(motion: str = "kinematic", task: str = "reach") -> str:
    """SHA-256 of every observation, reward and ending of three random episodes."""
    env, total, rng = small(task=task, motion=motion, horizon=4), hashlib.sha256(), np.random.default_rng(0)
    for seed in (3, 1, 2):
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            obs, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, 6).astype(np.float32))
            over = terminated or truncated
            for value in (*obs.values(), np.float64(reward), info["applied"], info["scene"]):
                total.update(np.ascontiguousarray(value).tobytes())
            total.update(info["reason"].encode())
    return total.hexdigest()


def run_expert(env: ArmEnv, seed: int) -> tuple[list[np.ndarray], dict]:
    """The noiseless expert's joint angles after each step, and the last info."""
    env.reset(seed=seed)
    expert, path, over = env.expert(), [], False
    while not over:
        action = expert.decide(env.q) / env.settings.max_step_rad
        _, _, terminated, truncated, info = env.step(action)
        path.append(env.q)
        over = terminated or truncated
    return path, info


@pytest.fixture(scope="module")
def env() -> ArmEnv:
    return small()


@pytest.mark.parametrize("name", ["Reach-v0", "Grasp-v0"])
def test_gymnasiums_checker_passes_without_a_warning(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gymnasium.make(f"vd_policy.sim:vd_policy/{name}", **SMALL, render_mode="rgb_array").unwrapped)
    assert [str(w.message) for w in caught] == []


def test_observations_are_raw_images_millimetres_and_joint_angles_at_home() -> None:
    env = ArmEnv(image_height=48, image_width=64)
    obs, info = env.reset(seed=0)
    assert obs["rgb"].shape == (48, 64, 3) and obs["rgb"].dtype == np.uint8
    assert obs["depth"].shape == (48, 64) and obs["depth"].dtype == np.uint16
    assert 300 < np.median(obs["depth"][obs["depth"] > 0]) < 3000
    assert np.array_equal(obs["q"], np.float32(env.robot.home_rad))
    assert info["reason"] == "" and not info["success"] and not info["failure"]


def test_an_arm_that_does_not_stand_on_the_axis_of_its_base_gets_cups_that_it_reaches(tmp_path: Path) -> None:
    joint = r'(<joint name="j2n6s300_joint_1".*?<origin xyz=")0 0 0.15675'
    urdf = resource("urdf", "j2n6s300.urdf").read_text()
    aside, replaced = re.subn(joint, r"\g<1>0 0.25 0.15675", urdf, count=1, flags=re.DOTALL)
    assert replaced == 1
    (tmp_path / "aside.urdf").write_text(aside)
    robot = resource("config", "robots", "j2n6s300.yaml").read_text().replace("urdf: j2n6s300", "urdf: aside")
    (tmp_path / "aside.yaml").write_text(robot.replace("name: j2n6s300", "name: aside"))
    env = ArmEnv("reach", str(tmp_path / "aside.yaml"), image_height=8)
    for seed in range(20):
        env.reset(seed=seed)
        assert len(env.goals()) > 0
    env.close()


def test_an_arm_whose_base_is_fixed_to_a_root_without_an_offset_stands_on_the_table(tmp_path: Path) -> None:
    links = ("world", "plate", "j2n6s300_link_base")
    world = '<link name="world"/><link name="plate"/>' + "".join(
        f'<joint name="{parent}" type="fixed"><parent link="{parent}"/><child link="{child}"/></joint>'
        for parent, child in zip(links, links[1:])
    )
    urdf = resource("urdf", "j2n6s300.urdf").read_text()
    (tmp_path / "rooted.urdf").write_text(urdf.replace("</robot>", f"{world}</robot>"))
    robot = resource("config", "robots", "j2n6s300.yaml").read_text().replace("urdf: j2n6s300", "urdf: rooted")
    (tmp_path / "rooted.yaml").write_text(robot.replace("name: j2n6s300", "name: rooted"))
    envs = [ArmEnv("reach", name, image_height=8) for name in ("j2n6s300", str(tmp_path / "rooted.yaml"))]
    goals = []
    for env in envs:
        env.reset(seed=1)
        goals.append(env.goals())
        low = env.q + [0.0, 1.6, 0.0, 0.0, 0.0, 0.0]
        assert env.scene.contact_at(env.q) is None and str(env.scene.contact_at(low)).endswith(":table")
        env.close()
    assert len(goals[0]) > 0 and np.array_equal(*goals)


def test_images_are_as_wide_as_the_tasks_camera_unless_asked_otherwise() -> None:
    wide = {"camera": {"aspect": 1.5}, "image_size": 32}
    for asked, shape in (({}, (32, 48)), ({"image_height": 16}, (16, 24)), ({"image_width": 20}, (32, 20))):
        env = ArmEnv("reach", overrides=wide, **asked)
        assert env.reset(seed=0)[0]["depth"].shape == shape
        env.close()


@pytest.mark.parametrize(("task", "motion"), TASKS_AND_MOTIONS)
def test_two_processes_produce_the_same_bits(task: str, motion: str, request: pytest.FixtureRequest) -> None:
    script = DIGEST.format(tests=str(request.path.parent), motion=motion, task=task)
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(motion, task)


@pytest.mark.parametrize(("task", "motion"), TASKS_AND_MOTIONS)
def test_an_episode_does_not_depend_on_what_came_before_it(task: str, motion: str) -> None:
    fresh, used = (small(task=task, motion=motion, overrides={"end_on_contact": False}) for _ in range(2))
    used.reset(seed=8)
    for _ in range(6):
        used.step_to(used.q + used.expert().decide(used.q))
        if not used._running:
            break
    used.reset(seed=9)
    for _ in range(3):
        used.step(np.full(6, 0.2))
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 6))
    fresh.reset(seed=4)
    used.reset(seed=4)
    used.goals()
    for action in actions:
        (obs, reward, *_), (obs_used, reward_used, *_) = fresh.step(action), used.step(action)
        assert reward == reward_used and all(np.array_equal(obs[k], obs_used[k]) for k in obs)


@pytest.mark.parametrize("task", ["reach", "grasp"])
def test_looking_ahead_changes_neither_cups_nor_goals(task: str) -> None:
    fresh, ahead = small(task=task), small(task=task)
    ahead.look_ahead(range(4, 7))
    for seed in (5, 4, 9, 6, 6):
        cups = [env.reset(seed=seed)[1]["scene"] for env in (fresh, ahead)]
        assert np.array_equal(*cups) and np.array_equal(fresh.goals(), ahead.goals())


def test_the_seed_in_the_reset_info_brings_the_episode_back(env: ArmEnv) -> None:
    env.reset(seed=11)
    _, first = env.reset()
    _, second = env.reset()
    assert first["seed"] != second["seed"] and not np.array_equal(first["scene"], second["scene"])
    assert np.array_equal(env.reset(seed=first["seed"])[1]["scene"], first["scene"])


def test_cups_spread_over_the_whole_region(env: ArmEnv) -> None:
    cups = np.array([env.reset(seed=seed)[1]["scene"] for seed in range(200)])
    (x0, x1), (y0, y1) = env.settings.cup_region_m
    assert (cups.min(axis=0) >= (x0, y0, 0.0)).all() and (cups.max(axis=0) <= (x1, y1, 0.0)).all()
    assert (np.ptp(cups, axis=0)[:2] > 0.93 * np.array([x1 - x0, y1 - y0])).all()


def test_stepping_by_action_and_to_the_same_target_is_the_same(env: ArmEnv) -> None:
    action = np.array([0.3, -0.2, 0.1, 1.0, -1.0, 0.5], dtype=np.float32)
    env.reset(seed=5)
    by_action = env.step(action)
    env.reset(seed=5)
    to_target = env.step_to(env.q + action.astype(np.float64) * env.settings.max_step_rad)
    assert by_action[1] == to_target[1]
    assert all(np.array_equal(by_action[0][k], to_target[0][k]) for k in by_action[0])


def test_the_reward_is_equation_11(env: ArmEnv) -> None:
    action = np.full(6, 0.1)
    env.reset(seed=0, options={"cup": CUP})
    _, reward, _, _, info = env.step(action)
    assert reward == pytest.approx(-np.linalg.norm(action * math.pi / 5) - info["distance_m"])
    reward, over = 0.0, False
    while not over:
        _, reward, over, _, info = env.step(INTO_THE_TABLE)
    assert info["failure"] and reward == pytest.approx(-math.pi / 5 - info["distance_m"] - 50.0)


def test_success_earns_c1_and_sparse_and_none_leave_the_rest_out() -> None:
    rewards = {}
    for kind in ("dense", "sparse", "none"):
        env = small(overrides={"reward": kind})
        env.reset(seed=0, options={"cup": CUP})
        env._q = env.goals()[0]
        _, rewards[kind], terminated, _, info = env.step(np.zeros(6))
        assert terminated and info["success"] and info["reason"] == "success"
    assert rewards == {"dense": pytest.approx(20.0, abs=1e-3), "sparse": 20.0, "none": 0.0}


def test_the_noiseless_expert_reaches_every_cup_within_six_steps(env: ArmEnv) -> None:
    runs = [run_expert(env, seed) for seed in range(40)]
    assert all(info["success"] for _, info in runs)
    assert max(len(path) for path, _ in runs) <= 6


def test_with_its_hand_free_the_expert_is_quicker_and_its_labels_change_little(env: ArmEnv) -> None:
    free = small(task="reach_free")
    runs, usual = ([run_expert(e, seed) for seed in range(40)] for e in (free, env))
    assert all(info["success"] for _, info in runs)
    assert sum(len(path) for path, _ in runs) < 0.8 * sum(len(path) for path, _ in usual)
    for seed in range(8):
        free.reset(seed=seed)
        q, cup = free.q, free._cup.copy()
        way = free.expert().nearest(q)
        moved = [free.expert().nearest(q + 1e-3 * unit) for unit in np.eye(6)]
        free.reset(seed=seed, options={"cup": cup + (0.001, 0.001, 0.0)})
        moved.append(free.expert().nearest(q))
        assert np.abs(np.array(moved) - way).max() < 0.02
    free.close()


def test_kinematic_motion_and_position_control_agree_on_the_experts_actions() -> None:
    kinematic, position = small(), small(motion="position")
    for seed in range(6):
        path, info = run_expert(kinematic, seed)
        driven, info_driven = run_expert(position, seed)
        assert len(path) == len(driven) and info["success"] == info_driven["success"]
        assert np.abs(np.array(path) - np.array(driven)).max() < 0.01


def test_contact_stops_the_arm_before_the_table_and_ends_the_episode(env: ArmEnv) -> None:
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(INTO_THE_TABLE)
    assert info["reason"].startswith("contact:j2n6s300_link") and info["reason"].endswith(":table")
    assert 0 <= info["applied"][1] < 1 and (info["applied"][[0, 2, 3, 4, 5]] == 0).all()
    assert env._probe.contact_at(env.q) is None


def test_contact_can_leave_the_episode_running() -> None:
    env = small(horizon=8, overrides={"end_on_contact": False})
    env.reset(seed=0)
    results = [env.step(INTO_THE_TABLE) for _ in range(8)]
    assert not any(terminated for _, _, terminated, _, _ in results) and results[-1][3]
    assert sum(info["failure"] for *_, info in results) >= 3
    assert results[-1][4]["reason"].startswith("contact:")


def test_success_can_leave_the_episode_running() -> None:
    env = small(overrides={"end_on_success": False})
    env.reset(seed=0, options={"cup": CUP})
    env._q = env.goals()[0]
    for _ in range(2):
        _, reward, terminated, _, info = env.step(np.zeros(6))
        assert info["success"] and not terminated and reward > 19


def test_the_horizon_truncates_and_nothing_follows_it(env: ArmEnv) -> None:
    short = small(horizon=2)
    short.reset(seed=0)
    assert short.step(np.zeros(6))[3] is False
    _, _, terminated, truncated, info = short.step(np.zeros(6))
    assert truncated and not terminated and info["reason"] == "horizon"
    with pytest.raises(VdPolicyError, match="reset"):
        short.step(np.zeros(6))
    assert load_task("reach").horizon == 25


def test_a_joint_limit_stops_the_joint_and_is_no_failure() -> None:
    env = small()
    env.reset(seed=0)
    reasons = []
    for _ in range(3):
        _, _, terminated, _, info = env.step(np.array([0, 0, -0.5, -1, 0, 0], dtype=np.float32))
        reasons.append(info["reason"])
        assert not terminated
    assert not info["failure"] and "limit:j2n6s300_joint_3" in reasons
    assert env.q[2] == env.robot.lower_rad[2]


def test_what_is_asked_beyond_a_limit_earns_what_it_earns_once_the_safety_node_has_cut_it_off() -> None:
    env = small()
    robot, step = env.robot, env.settings.max_step_rad
    limits = Limits(robot.joints, robot.lower_rad, robot.upper_rad, robot.speed_limit_rad_s, step)
    turn = np.array([0, 0, -0.5, -1, 0, 0]) * step
    earned: dict[bool, list[float]] = {False: [], True: []}
    for cut_off, rewards in earned.items():
        env.reset(seed=0)
        for _ in range(3):
            target = env.q + turn
            allowed = limits.clamp(target, env.q, duration_s=10.0).q
            rewards.append(env.step_to(allowed if cut_off else target)[1])
    assert not np.array_equal(allowed, target) and earned[False] == earned[True]


def test_actions_beyond_the_box_are_clipped_and_continuous_joints_count_their_turns(env: ArmEnv) -> None:
    env.reset(seed=0)
    for _ in range(11):
        _, _, _, _, info = env.step(np.array([0, 0, 0, 0, 0, 7.0]))
    assert info["applied"][5] == pytest.approx(1.0)
    assert env.q[5] - env.robot.home_rad[5] == pytest.approx(11 * math.pi / 5)


@pytest.mark.parametrize("action", [np.full(6, np.nan), np.zeros(5), [np.inf] * 6])
def test_an_action_that_is_no_action_is_refused(env: ArmEnv, action) -> None:
    env.reset(seed=0)
    with pytest.raises(BadInput, match="action"):
        env.step(action)


def test_the_picture_for_people_is_larger_and_changes_nothing() -> None:
    env = small(render_mode="rgb_array")
    before, _ = env.reset(seed=1)
    picture = env.render()
    assert picture.shape == (360, 480, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert all(np.array_equal(before[k], v) for k, v in env._observe().items())


def test_an_environment_that_is_dropped_frees_its_worlds_at_once() -> None:
    env = small()
    env.reset(seed=0)
    env.goals()
    worlds = [weakref.ref(env.scene), weakref.ref(env._probe._scene)]
    gc.disable()
    try:
        del env
        assert [world() for world in worlds] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task": "raech"}, "reach.yaml"),
        ({"robot": "jaco"}, "j2n6s300.yaml"),
        ({"motion": "fast"}, "kinematic or position"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"horizon": 0}, "at least 1"),
        ({"overrides": {"tolerence_m": 0.1}}, "tolerance_m"),
        ({"overrides": {"task": "env"}}, "reach"),
        ({"overrides": {"cup_region_m": [[0.6, 0.3], [-0.1, 0.1]]}}, "lower bound first"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(options: dict, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        small(**options)


def test_a_wrong_seed_or_reset_option_is_refused(env: ArmEnv) -> None:
    with pytest.raises(BadInput, match="seed"):
        env.reset(seed=-1)
    with pytest.raises(BadInput, match="reset option"):
        env.reset(options={"cups": CUP})
