"""Fault 37: configuration with an unknown key, a wrong type, a negative rate, crossing limits, or against the URDF."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from vd_policy.arm.spec import load_robot
from vd_policy.base.resources import resource
from vd_policy.cli.main import main

Change = Callable[[dict[str, Any]], Any]
GRASP = {"task": "grasp", "reward": "sparse"}


def write(path: Path, original: Path, change: Change) -> Path:
    """A copy of a shipped YAML file with one change."""
    values = yaml.safe_load(original.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))
    return path


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command line refuses its input."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "; allowed: " in captured.err and "; fix: " in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda t: t.update(horizn=3), ["horizn", "did you mean 'horizon'?"]),
        (lambda t: t.update(horizon="long"), ["horizon", "'long'", "type int"]),
        (lambda t: t.update(period_s=-1.0), ["period_s", "-1.0", "at least"]),
        (lambda t: t.update(tolerance_m=float("nan")), ["tolerance_m", "nan"]),
        (lambda t: t.update(cup_region_m=[[0.3, math.inf], [-0.3, 0.3]]), ["cup_region_m[0][1]", "a finite number"]),
        (lambda t: t.update(target_height_m=math.inf), ["target_height_m", "inf", "a finite number"]),
        (lambda t: t["camera"].update(position_m=[-math.inf, 0, 1]), ["position_m[0]", "-inf", "a finite number"]),
        (lambda t: t.update(success_reward=1e6), ["success_reward", "at most 100000.0"]),
        (lambda t: t.update(failure_cost=1e6), ["failure_cost", "at most 100000.0"]),
        (lambda t: t.update(GRASP, success_reward=1e6), ["success_reward", "at most 100000.0"]),
        (lambda t: t.update(GRASP, failure_cost=1e6), ["failure_cost", "at most 100000.0"]),
        (lambda t: t.update(GRASP, step_cost=1e6), ["step_cost", "at most 100000.0"]),
        (lambda t: t.update(reward="dens"), ["reward", "did you mean 'dense'?"]),
        (lambda t: t.update(cup_region_m=[[0.6, 0.3], [-0.3, 0.3]]), ["cup_region_m", "lower bound first"]),
        (lambda t: t["camera"].update(near_m=9.0), ["near_m", "9.0", "far_m"]),
        (lambda t: t["camera"].update(zoom=2), ["camera", "zoom"]),
        (lambda t: t.pop("task"), ["task"]),
    ],
)
def test_a_wrong_task_file_is_refused_by_key_value_allowed_and_fix(tmp_path, capsys, change, parts):
    file = write(tmp_path / "task.yaml", resource("config", "tasks", "reach.yaml"), change)
    line = refusal(["evaluate", "expert", "--task", str(file)], capsys)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda r: r.update(jionts=[]), ["jionts", "did you mean 'joints'?"]),
        (lambda r: r["speed_limit_rad_s"].__setitem__(0, -0.6), ["speed_limit_rad_s", "-0.6", "at least 0"]),
        (lambda r: r["home_rad"].pop(), ["home_rad", "6 values"]),
        (lambda r: r["lower_rad"].__setitem__(1, 0.5), ["lower_rad of j2n6s300_joint_2", "0.5", "0.82", "URDF"]),
        (lambda r: r["upper_rad"].__setitem__(2, 6.0), ["upper_rad of j2n6s300_joint_3", "6.0", "most 5.95", "URDF"]),
        (lambda r: r["lower_rad"].__setitem__(0, -3.0), ["lower_rad of j2n6s300_joint_1", "-3.0", "URDF"]),
        (lambda r: r["home_rad"].__setitem__(1, 6.0), ["home_rad of j2n6s300_joint_2", "6.0", "5.46"]),
        (lambda r: r["home_rad"].__setitem__(0, math.inf), ["home_rad[0]", "inf", "a finite number"]),
        (lambda r: r["speed_limit_rad_s"].__setitem__(0, math.inf), ["speed_limit_rad_s[0]", "inf", "a finite number"]),
        (lambda r: r["joints"].reverse(), ["joints", "the URDF's chain"]),
        (lambda r: r["continuous"].__setitem__(0, False), ["continuous of j2n6s300_joint_1", "URDF"]),
        (lambda r: r["workspace_m"].__setitem__(2, [1.0, 0.0]), ["workspace_m", "lower below upper"]),
        (lambda r: r.update(end_effector="hand"), ["hand"]),
        (lambda r: r.update(name=""), ["name is ''", "a name"]),
        (
            lambda r: r["finger_joints"].__setitem__(0, "j2n6s300_joint_2"),
            ["finger_joints", "_joint_2", "not the"],
        ),
        (lambda r: r["finger_joints"].__setitem__(0, "finger"), ["finger_joints", "'finger'", "joints of the URDF"]),
    ],
)
def test_a_robot_file_that_is_wrong_or_against_its_urdf_is_refused(tmp_path, capsys, change, parts):
    file = write(tmp_path / "robot.yaml", resource("config", "robots", "j2n6s300.yaml"), change)
    line = refusal(["evaluate", "expert", "--robot", str(file)], capsys)
    assert all(part in line for part in parts), line


def test_a_robot_file_may_narrow_the_limits_of_its_urdf_to_what_stands_around_the_arm(tmp_path):
    def narrow(robot: dict[str, Any]) -> None:
        robot["lower_rad"][1], robot["upper_rad"][1], robot["speed_limit_rad_s"][1] = 1.5, 4.0, 0.1
        robot["name"] = "narrow"

    spec = load_robot(str(write(tmp_path / "robot.yaml", resource("config", "robots", "j2n6s300.yaml"), narrow)))
    assert (spec.lower_rad[1], spec.upper_rad[1], spec.speed_limit_rad_s[1]) == (1.5, 4.0, 0.1)


def test_the_workspace_may_be_without_end(tmp_path):
    def widen(robot: dict[str, Any]) -> None:
        robot["name"], robot["workspace_m"][0] = "boundless", [-math.inf, math.inf]

    spec = load_robot(str(write(tmp_path / "robot.yaml", resource("config", "robots", "j2n6s300.yaml"), widen)))
    assert spec.workspace_m[0] == (-math.inf, math.inf)


def test_another_robot_under_a_name_that_is_taken_is_refused_and_a_copy_is_not(tmp_path, capsys):
    """FAULTS 37: bags and runs remember a robot by its name; the stock one would be taken for it, limits included."""
    stock = resource("config", "robots", "gen3_6dof.yaml")
    assert load_robot(str(write(tmp_path / "copy.yaml", stock, lambda robot: None))).name == "gen3_6dof"

    def narrow(robot: dict[str, Any]) -> None:
        robot["lower_rad"][1] = -0.9

    line = refusal(["evaluate", "expert", "--robot", str(write(tmp_path / "robot.yaml", stock, narrow))], capsys)
    assert "name is 'gen3_6dof'" in line and "has another lower_rad" in line and "rename" in line


def test_limits_that_cross_in_urdf_and_robot_file_alike_are_refused(tmp_path, capsys):
    urdf = ElementTree.parse(resource("urdf", "j2n6s300.urdf"))
    limit = urdf.find("joint[@name='j2n6s300_joint_2']/limit")
    assert limit is not None
    limit.attrib["lower"], limit.attrib["upper"] = limit.attrib["upper"], limit.attrib["lower"]
    urdf.write(tmp_path / "crossed.urdf")

    def swap(robot: dict[str, Any]) -> None:
        robot["urdf"] = "crossed.urdf"
        robot["lower_rad"][1], robot["upper_rad"][1] = robot["upper_rad"][1], robot["lower_rad"][1]

    file = write(tmp_path / "robot.yaml", resource("config", "robots", "j2n6s300.yaml"), swap)
    line = refusal(["evaluate", "expert", "--robot", str(file)], capsys)
    assert "j2n6s300_joint_2" in line and "lower below upper" in line


def with_urdf(tmp_path: Path, change: Callable[[ElementTree.Element], Any]) -> list[str]:
    """A command with a robot whose URDF has one change."""
    urdf = ElementTree.parse(resource("urdf", "j2n6s300.urdf"))
    change(urdf.getroot())
    urdf.write(tmp_path / "changed.urdf")
    original = resource("config", "robots", "j2n6s300.yaml")
    file = write(tmp_path / "robot.yaml", original, lambda robot: robot.update(urdf="changed.urdf"))
    return ["evaluate", "expert", "--robot", str(file)]


def test_an_arm_with_a_joint_that_slides_is_refused(tmp_path, capsys):
    def slide(robot: ElementTree.Element) -> None:
        joint = robot.find("joint[@name='j2n6s300_joint_2']")
        assert joint is not None
        joint.set("type", "prismatic")

    line = refusal(with_urdf(tmp_path, slide), capsys)
    assert "type of j2n6s300_joint_2 is 'prismatic'; allowed: revolute, continuous or fixed" in line


@pytest.mark.parametrize(
    ("kind", "xyz", "rpy"),
    [("fixed", "0 0 0.1", "0 0 0"), ("fixed", "0 0 0", "0 0 1.57"), ("continuous", "0 0 0", "0 0 0")],
)
def test_a_base_that_is_not_where_its_urdf_begins_is_refused(tmp_path, capsys, kind, xyz, rpy):
    def mount(robot: ElementTree.Element) -> None:
        ElementTree.SubElement(robot, "link", name="stand")
        joint = ElementTree.SubElement(robot, "joint", name="mount", type=kind)
        ElementTree.SubElement(joint, "parent", link="stand")
        ElementTree.SubElement(joint, "child", link="j2n6s300_link_base")
        ElementTree.SubElement(joint, "origin", xyz=xyz, rpy=rpy)

    line = refusal(with_urdf(tmp_path, mount), capsys)
    assert "base_link is 'j2n6s300_link_base'; allowed: the URDF's root link, stand, or one fixed to it" in line
    assert "mount lies between" in line


def test_an_unknown_robot_or_task_lists_those_that_exist(capsys):
    assert "j2n6s300.yaml" in refusal(["evaluate", "expert", "--robot", "j2n7"], capsys)
    assert "reach.yaml" in refusal(["evaluate", "expert", "--task", "raech"], capsys)


@pytest.mark.parametrize(
    ("parameters", "parts"),
    [
        ({"comand_timeout_s": 0.5}, ["comand_timeout_s", "did you mean 'command_timeout_s'?"]),
        ({"watchdog_hz": -50.0}, ["watchdog_hz", "-50.0", "at least 1"]),
        ({"command_timeout_s": float("inf")}, ["command_timeout_s", "inf", "a finite number"]),
        ({"joints_fresh": "three"}, ["joints_fresh", "'three'", "type int"]),
    ],
)
def test_a_node_with_a_wrong_parameter_refuses_to_start_and_says_why(ros, parameters, parts):
    process = ros.start("safety", **parameters)
    assert process.wait() == 2
    refusals = [line for line in process.lines if "; allowed: " in line and "; fix: " in line]
    assert len(refusals) == 1 and all(part in refusals[0] for part in parts), process.output
    assert "Traceback" not in process.output
