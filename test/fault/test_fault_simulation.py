"""Faults of the simulation: FAULTS 16 (limits), 37 (URDF and configuration), 38 and 39."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import yaml

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.resources import resource
from vd_policy.messages.outcome import Outcome
from vd_policy.nodes.expert import ExpertAnswers, ExpertNodeSettings
from vd_policy.nodes.realtime import RealTime
from vd_policy.sim.bullet import load_bullet
from vd_policy.sim.env import ArmEnv

BOTH_TASKS = pytest.mark.parametrize("task", ["reach", "grasp"])
SMALL = {"image_height": 16, "image_width": 16}


def write_robot(tmp_path, changes: dict) -> str:
    """The packaged robot with some values changed, as a file."""
    values = yaml.safe_load(resource("config", "robots", "j2n6s300.yaml").read_text())
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return str(path)


@pytest.mark.parametrize(
    ("field", "index", "value", "named"),
    [
        ("lower_rad", 1, 0.5, ("j2n6s300_joint_2", "0.5", "0.820304748")),
        ("upper_rad", 2, 6.2, ("j2n6s300_joint_3", "6.2", "5.95157275")),
        ("speed_limit_rad_s", 3, 3.0, ("j2n6s300_joint_4", "3.0", "0.837758041")),
        ("continuous", 1, True, ("j2n6s300_joint_2", "True", "False")),
        ("home_rad", 1, 0.1, ("home_rad", "j2n6s300_joint_2", "0.1")),
        ("joints", 0, "shoulder", ("joints", "shoulder", "j2n6s300_joint_1")),
    ],
)
def test_urdf_and_configuration_that_disagree_are_refused_with_the_joint_and_both_values(
    tmp_path, field: str, index: int, value, named: tuple[str, ...]
) -> None:
    """FAULTS 37."""
    values = list(yaml.safe_load(resource("config", "robots", "j2n6s300.yaml").read_text())[field])
    values[index] = value
    with pytest.raises(BadInput) as refused:
        load_robot(write_robot(tmp_path, {field: values}))
    assert all(word in str(refused.value) for word in named)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"end_effector": "hand"}, "end_effector is 'hand'"),
        ({"urdf": "gen3.urdf"}, "j2n6s300.urdf"),
        ({"home_rad": [0.0]}, "6 values"),
        ({"finger_rad": [3.0] * 6}, "finger_rad of j2n6s300_joint_finger_1"),
        ({"speed_limits": [1.0]}, "speed_limit_rad_s"),
        ({"workspace_m": [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]}, "workspace_m"),
    ],
)
def test_a_robot_file_that_makes_no_sense_is_refused_by_name(tmp_path, changes: dict, named: str) -> None:
    """FAULTS 37."""
    with pytest.raises(BadInput, match=named):
        load_robot(write_robot(tmp_path, changes))


@BOTH_TASKS
@pytest.mark.parametrize(
    "cup", [(0.9, 0.0, 0.0), (0.4, 0.5, 0.0), (0.4, 0.0, 0.3), (0.4, 0.0), (float("nan"), 0.0, 0.0), "left"]
)
def test_a_cup_outside_the_region_is_refused_with_the_region(cup: tuple[float, ...] | str, task: str) -> None:
    """FAULTS 38."""
    with pytest.raises(BadInput, match="x from 0.3 to 0.65 and y from -0.35 to 0.35"):
        ArmEnv(task, **SMALL).reset(options={"cup": cup})


@BOTH_TASKS
def test_a_cup_in_the_region_but_out_of_the_arms_reach_is_refused(task: str) -> None:
    """FAULTS 38: the far corners of the region are 74 cm away, 4 cm too far to point straight down."""
    with pytest.raises(BadInput, match="within reach of j2n6s300"):
        ArmEnv(task, **SMALL).reset(options={"cup": (0.65, 0.35, 0.0)})


@BOTH_TASKS
def test_cups_drawn_out_of_reach_are_drawn_again(task: str) -> None:
    """FAULTS 38: in a region of which the arm reaches a part, every cup that is drawn has goals."""
    env = ArmEnv(task, **SMALL, overrides={"cup_region_m": [[0.60, 1.00], [-0.40, 0.40]]})
    for seed in range(15):
        _, info = env.reset(seed=seed)
        assert len(env.goals()) >= 1
        assert np.hypot(*info["scene"][:2]) < 0.75


@BOTH_TASKS
def test_a_region_wholly_out_of_reach_is_refused_instead_of_searched_forever(task: str) -> None:
    """FAULTS 38."""
    env = ArmEnv(task, **SMALL, overrides={"cup_region_m": [[2.0, 2.1], [0.0, 0.1]]})
    with pytest.raises(BadInput, match="cup_region_m"):
        env.reset(seed=0)


@BOTH_TASKS
def test_a_target_beyond_the_largest_step_or_a_joint_limit_moves_the_arm_no_farther(task: str) -> None:
    """FAULTS 16."""
    env = ArmEnv(task, **SMALL)
    env.reset(seed=0)
    *_, info = env.step_to(env.q + np.array([3.0, 0.0, 0.0, -9.0, 0.0, 0.0]))
    assert np.allclose(info["applied"], [1.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    env.reset(seed=0)
    reasons = []
    for _ in range(3):
        *_, info = env.step(np.array([0.0, 0.0, -0.5, -1.0, 0.0, 0.0]))
        reasons.append(info["reason"])
    assert env.q[2] == env.robot.lower_rad[2] and "limit:j2n6s300_joint_3" in reasons


@BOTH_TASKS
def test_by_the_clock_a_decision_moves_the_arm_no_farther_than_the_largest_step(task: str) -> None:
    """FAULTS 16."""
    env = ArmEnv(task, **SMALL)
    world = RealTime(env, seed=0)
    world.judge(0)
    world.follow(env.q + np.array([3.0, 0.0, 0.0, -9.0, 0.0, 0.0]))
    for _ in range(100):
        world.advance(0.1)
    assert np.allclose(world.q - env.robot.home_rad, env.settings.max_step_rad * np.array([1, 0, 0, -1, 0, 0]))


def test_a_grasp_that_no_approach_reaches_is_refused_and_not_begun() -> None:
    """FAULTS 38: here the hand would have to go through the cup."""
    env = ArmEnv("grasp", **SMALL, overrides={"target_height_m": 0.0})
    with pytest.raises(BadInput, match="cup_region_m"):
        env.reset(seed=0)
    with pytest.raises(BadInput, match="within reach"):
        env.reset(options={"cup": (0.5, 0.1, 0.0)})


@BOTH_TASKS
def test_the_expert_gives_no_answer_for_a_cup_out_of_reach(task: str) -> None:
    """FAULTS 38."""
    expert = ExpertAnswers(ExpertNodeSettings(task=task))
    outcome = Outcome(task, 0, 0, 0.0, 1.0, False, False, "", False, False, 3, (0.65, 0.35, 0.0))
    with pytest.raises(BadInput, match="within reach"):
        expert.answer(1, np.array(load_robot().home_rad), outcome)
    expert.close()


def test_a_missing_pybullet_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 39."""
    monkeypatch.setitem(sys.modules, "pybullet", None)
    with pytest.raises(Missing, match="pip install pybullet==3.2.7"):
        load_bullet()


def test_a_pybullet_without_numpy_is_named_with_the_command_that_rebuilds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 39."""
    without = ModuleType("pybullet")
    without.isNumpyEnabled = lambda: 0
    monkeypatch.setitem(sys.modules, "pybullet", without)
    with pytest.raises(Missing, match="--no-build-isolation"):
        load_bullet()
