"""The safety node as a process: what reaches the controller, and how it starts and ends."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_graph import RosGraph
from sensor_msgs.msg import JointState
from stand_in import HOME, SPEC, StandIn, command
from trajectory_msgs.msg import JointTrajectory

from vd_policy.base.resources import resource
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.topics import COMMAND, JOINT_STATES, TRAJECTORY
from vd_policy.messages.trajectory import split_sender
from vd_policy.nodes.parameters import parameters_file
from vd_policy.nodes.policy import PolicyNodeSettings
from vd_policy.nodes.ros import RclpyFactory, sequence_of
from vd_policy.nodes.safety import SafetySettings

S = 1_000_000_000


def test_in_lockstep_stamp_and_target_pass_through_bit_for_bit(ros: RosGraph) -> None:
    ros.start("safety", lockstep=True)
    heard = ros.probe.listen(JointTrajectory, TRAJECTORY)
    joints = ros.probe.publisher(JointState, JOINT_STATES)
    commands = ros.probe.publisher(JointTrajectory, COMMAND)
    ros.wait_for(lambda: ros.probe.node.count_publishers(TRAJECTORY), "the safety node's publisher")
    target = HOME + np.float32(0.3) * np.pi / 5
    for stamp in (5 * S, 6 * S):
        commands.publish(command(target, "/policy", stamp))  # before the joints it answers
        joints.publish(encode_joints(RclpyFactory(), SPEC.joints, HOME, stamp))
        ros.wait_for(lambda stamp=stamp: heard and stamp_ns(heard[-1]) == stamp, f"the command of {stamp}")
        assert list(heard[-1].points[0].positions) == target.tolist()


def test_in_real_time_commands_go_out_stamped_now_and_clamps_are_named(ros: RosGraph, tmp_path: Path) -> None:
    status, robot = ros.probe.diagnostics(), StandIn(ros.probe)
    ros.start("safety", latch_file=str(tmp_path / "latch.json"))
    commands, stamps = ros.probe.publisher(JointTrajectory, COMMAND), {0}

    def clamped() -> bool:
        message = command(robot.q + np.array([0.0, 0.0, 0.0, 0.0, 0.0, 3.0]), "/greedy")
        stamps.add(stamp_ns(message))
        commands.publish(message)
        return "clamped step:j2n6s300_joint_6" in status("safety")

    ros.wait_for(clamped, "the clamp on /diagnostics")
    ros.wait_for(lambda: clamped() and "in a row" in status("safety").get("message", ""), "the latch after many")
    robot.close()
    assert {stamp_ns(message) for message in robot.sent} == {0}
    senders, answered = zip(*(split_sender(message.header.frame_id) for message in robot.sent), strict=True)
    assert set(senders) == {"/safety"} and len(set(answered)) > 2 and set(answered) <= stamps  # 0: a halt
    assert "clamped commands in a row" in (tmp_path / "latch.json").read_text()


def test_a_stop_that_cannot_be_remembered_still_stops_and_says_so(ros: RosGraph, tmp_path: Path) -> None:
    latch = tmp_path / "state" / "latch.json"
    status = ros.probe.diagnostics()
    safety = ros.start("safety", latch_file=str(latch))
    ros.wait_for(lambda: latch.parent.is_dir() and status("safety"), "the node")
    latch.parent.rmdir()
    latch.parent.write_text("in its way")
    answer = ros.probe.call("safety/stop")
    assert answer.success and "NOT REMEMBERED" in answer.message and "NO CONTROLLER listens" in answer.message
    ros.wait_for(lambda: int(status("safety").get("latch_write_errors", 0)) > 1, "it to try again")
    assert status("safety")["message"] == "stopped: safety/stop was called"
    ros.wait_for(lambda: "a restart would forget it" in safety.output, "its log")
    latch.parent.unlink()
    ros.wait_for(latch.exists, "the stop to be remembered after all")


def test_two_publishers_of_joint_states_are_neither_believed(ros: RosGraph, tmp_path: Path) -> None:
    """One is a simulator or a joint_state_publisher beside the arm; it must not be driven to where that says it is."""
    status, robot = ros.probe.diagnostics(), StandIn(ros.probe)
    ros.start("safety", latch_file=str(tmp_path / "latch.json"))
    ros.wait_for(lambda: "waiting for a command" in status("safety").get("message", ""), "the node to trust the arm")
    assert ros.probe.call("safety/stop").message == "stopped: safety/stop was called"
    other = ros.probe.publisher(JointState, JOINT_STATES)

    def seen() -> bool:
        other.publish(encode_joints(RclpyFactory(), SPEC.joints, HOME + 0.5, time.time_ns()))
        return status("safety").get("refused joint states", "0") > "0"

    ros.wait_for(seen, "the second publisher to be refused")
    answer = ros.probe.call("safety/reset")
    assert not answer.success and "publishers of joint_states, allowed: one" in answer.message
    ros.wait_for(lambda: len(status("safety").get("joint_state_publishers", "").split()) == 2, "their names")
    ros.probe.node.destroy_publisher(other)
    ros.wait_for(lambda: ros.probe.call("safety/reset").success, "one alone to be believed again")
    robot.close()
    assert all(np.abs(np.array(m.points[0].positions) - HOME).max() < 0.01 for m in robot.sent)


def test_a_reset_without_joint_states_is_refused(ros: RosGraph, tmp_path: Path) -> None:
    ros.start("safety", latch_file=str(tmp_path / "latch.json"))
    ros.probe.call("safety/stop")
    answer = ros.probe.call("safety/reset")
    assert not answer.success and "fresh joint states" in answer.message
    assert (tmp_path / "latch.json").exists()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"comand_timeout_s": 1.0}, "did you mean 'command_timeout_s'?"),
        ({"command_timeout_s": -1.0}, "at least 0.01"),
        ({"robot": "r2d2"}, "j2n6s300"),
        ({"latch_file": "/"}, "this is a directory"),
    ],
)
def test_a_wrong_parameter_is_refused_with_one_line(ros: RosGraph, parameters: dict[str, Any], says: str) -> None:
    safety = ros.start("safety", **parameters)
    assert safety.wait() == 2
    assert says in safety.output and "Traceback" not in safety.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_at_the_end_the_arm_is_left_at_rest(ros: RosGraph, tmp_path: Path, number: int) -> None:
    """Also where the terminal is closed."""
    robot = StandIn(ros.probe)
    safety = ros.start("safety", latch_file=str(tmp_path / "latch.json"))
    commands = ros.probe.publisher(JointTrajectory, COMMAND)

    def driven() -> bool:
        commands.publish(command(robot.q + 0.2, "/probe"))
        return bool(np.abs(robot.q - HOME).max() > 0.05)

    ros.wait_for(driven, "the arm to be driven")
    assert safety.stop(number) == 0
    ros.wait_for(lambda: np.abs(np.array(robot.sent[-1].points[0].positions) - robot.q).max() < 0.1, "the last hold")
    robot.close()
    assert not (tmp_path / "latch.json").exists()


@pytest.mark.parametrize(("name", "settings"), [("safety", SafetySettings), ("policy", PolicyNodeSettings)])
def test_the_parameter_file_shows_every_parameter_at_its_default(name: str, settings: type) -> None:
    assert resource("config", "nodes", f"{name}.yaml").read_text() == parameters_file(settings)


def test_a_middleware_that_does_not_number_its_messages_is_not_taken_for_a_second_node() -> None:
    assert sequence_of({"publication_sequence_number": 7}) == 7
    assert sequence_of({"publication_sequence_number": 2**64 - 1}) is None, "as Cyclone DDS says of every message"
