"""Faults on the way to the hand: what reaches its controller, in the gate and in the real safety node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_arm import ArmWithHand
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import RosGraph
from stand_in import SPEC, StandIn, command
from trajectory_msgs.msg import JointTrajectory

from vd_policy.arm.hand import hand_of
from vd_policy.control.gate import State
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COMMAND, GRIPPER_COMMAND, GRIPPER_TRAJECTORY, OUTCOME
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.ros import RclpyFactory

HAND = hand_of(SPEC)
S = 1_000_000_000


@pytest.fixture
def arm() -> ArmWithHand:
    arm = ArmWithHand()
    arm.settle()
    return arm


@pytest.mark.parametrize("angle", [np.nan, np.inf])
def test_a_hand_command_that_is_not_finite_moves_nothing_and_stops_the_arm(arm: ArmWithHand, angle: float) -> None:
    """FAULTS 15."""
    decision = arm.grip((angle, 0.0))
    assert decision.target is None and "NaN or Inf" in decision.stop
    assert arm.hand.refusals["not finite"] == 1


def test_a_stopped_arm_keeps_its_hand_as_it_is_until_the_reset(arm: ArmWithHand) -> None:
    """FAULTS 20: neither closed nor opened, which would drop what it holds."""
    arm.grip()
    arm.gate.stop("somebody pressed the button", arm.now_s)
    decision = arm.grip((0.0, 0.5))
    assert decision.target is None and "somebody pressed the button" in decision.refused
    arm.gate.reset(arm.now_s)
    assert arm.grip((0.0, 0.5)).target is not None


def test_a_hand_does_not_move_on_an_arm_of_which_nobody_knows_where_it_is(arm: ArmWithHand) -> None:
    """FAULTS 12."""
    arm.silence(0.3)
    assert "no fresh joint states" in arm.grip().refused
    assert ArmWithHand().grip().refused, "nor before the first joint states"
    arm.settle(4)
    assert arm.grip().target is not None


@pytest.mark.parametrize("age_s, says", [(0.6, "0.600 s old"), (-1.0, "in the future"), (None, "stamp is 0")])
def test_a_stale_or_impossible_hand_command_is_refused(arm: ArmWithHand, age_s: float | None, says: str) -> None:
    """FAULTS 13."""
    stamp = 0 if age_s is None else arm.stamp_ns - round(age_s * S)
    decision = arm.grip(stamp_ns=stamp)
    assert decision.target is None and says in decision.refused
    assert arm.hand.refusals["unusable"] == 1


@pytest.mark.parametrize("duration_s", [0.0, 1e6, np.nan])
def test_a_hand_command_cannot_hold_the_arm_up_for_ever(arm: ArmWithHand, duration_s: float) -> None:
    """FAULTS 16."""
    assert "time_from_start" in arm.grip(duration_s=duration_s).refused


def test_of_two_nodes_that_command_the_hand_the_second_is_refused_and_both_are_named(arm: ArmWithHand) -> None:
    """FAULTS 23."""
    arm.grip(sender="/gripper")
    refused = arm.grip((0.0, 0.5), sender="/other").refused
    assert "/gripper" in refused and "/other" in refused
    arm.wait(0.6)
    assert arm.grip(sender="/other").target is not None, "once the first is silent"


class Hand:
    """The safety node of an arm with a hand, and the test as who commands both."""

    def __init__(self, folder: Path) -> None:
        self.graph = RosGraph()
        probe = self.graph.probe
        self.status, self.robot = probe.diagnostics(), StandIn(probe)
        self.heard = probe.listen(JointTrajectory, GRIPPER_TRAJECTORY)
        self.graph.start("safety", latch_file=str(folder / "latch.json"), gripper=True)
        self._hand = probe.publisher(JointTrajectory, GRIPPER_COMMAND)
        self._arm = probe.publisher(JointTrajectory, COMMAND)
        self.graph.wait_for(lambda: "holding" in self.status("safety").get("message", ""), "an arm that is trusted")

    def drive(self) -> None:
        """Command the arm on."""
        self._arm.publish(command(self.robot.q + 0.1, "/policy"))

    def grip(self, angles: Any, names: tuple[str, ...] = HAND.names, duration_s: float = 0.5) -> None:
        """Command the hand."""
        self._hand.publish(
            encode_trajectory(RclpyFactory(), names, np.asarray(angles), duration_s, time.time_ns(), "/gripper")
        )

    def count(self, name: str) -> int:
        """A count of the safety node."""
        return int(self.status("safety").get(name, 0))


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hand]:
    hand = Hand(tmp_path_factory.mktemp("safety"))
    yield hand
    hand.robot.close()
    hand.graph.close()


def test_the_controller_of_the_hand_gets_the_fingers_by_name_now_and_within_their_range(hand: Hand) -> None:
    """FAULTS 16."""
    hand.grip(HAND.closed_rad + 0.4)
    hand.graph.wait_for(lambda: hand.heard, "the command at the hand's controller")
    sent = hand.heard[-1]
    assert list(sent.points[0].positions) == HAND.closed_rad.tolist() and tuple(sent.joint_names) == HAND.names
    assert stamp_ns(sent) == 0
    hand.graph.wait_for(lambda: hand.count(f"hand clamped {HAND.names[0]}") == 1, "the clamp on /diagnostics")


def test_the_arm_is_held_while_the_hand_moves(hand: Hand) -> None:
    """FAULTS 16: a hand that closes around something must not be dragged along."""

    def running() -> bool:
        hand.drive()
        return hand.status("safety").get("state") == State.RUNNING

    hand.graph.wait_for(running, "the arm to be driven")
    hand.grip(HAND.open_rad, duration_s=2.0)
    hand.graph.wait_for(lambda: "the hand moves" in hand.status("safety").get("message", ""), "the arm to be held")
    before = hand.count("refused hand moves")
    hand.drive()
    hand.graph.wait_for(lambda: hand.count("refused hand moves") > before, "a command for the arm refused")
    hand.graph.wait_for(running, "the arm to be driven again")


def test_a_command_for_other_fingers_is_refused_and_counted(hand: Hand) -> None:
    """FAULTS 17."""
    count = len(hand.heard)
    hand.grip([0.5], names=("robotiq_85_left_knuckle_joint",))
    hand.graph.wait_for(lambda: hand.count("hand refused unreadable") == 1, "the refusal")
    assert HAND.names[0] in hand.status("safety")["last_refusal"]
    assert len(hand.heard) == count


def test_nan_for_the_hand_latches_the_stop_and_nothing_reaches_the_hand_until_the_reset(hand: Hand) -> None:
    """FAULTS 15."""
    count = len(hand.heard)
    hand.grip(np.full(len(HAND.names), np.nan))
    hand.graph.wait_for(lambda: "NaN or Inf to the hand" in hand.status("safety").get("message", ""), "the stop")
    hand.grip(HAND.closed_rad)
    hand.graph.wait_for(lambda: hand.count("hand refused stopped") == 1, "the refusal")
    assert len(hand.heard) == count
    assert hand.graph.probe.call("safety/reset").success

    def gripped() -> bool:
        hand.grip(HAND.closed_rad)  # again where the joint states of a busy machine are too old
        return len(hand.heard) > count

    hand.graph.wait_for(gripped, "the command after the reset")


def test_a_safety_node_without_a_hand_to_guard_refuses_to_start_as_if_it_had_one(ros: RosGraph) -> None:
    """FAULTS 37."""
    safety = ros.start("safety", robot="gen3_7dof", gripper=True)
    assert safety.wait() == 2
    assert "finger_joints of gen3_7dof" in safety.output and "Traceback" not in safety.output


def test_a_gripper_node_that_is_started_again_in_the_middle_leaves_the_hand_closed(ros: RosGraph) -> None:
    """FAULTS 21: killed, too; it may hold something. And an outcome with an impossible stamp does not end it."""
    status, probe = ros.probe.diagnostics(), ros.probe
    heard, first = probe.listen(JointTrajectory, GRIPPER_COMMAND), ros.start("gripper")
    task = probe.publisher(DiagnosticArray, OUTCOME)

    def say(episode: int, step: int, reason: str = "", *, impossible: bool = False) -> None:
        outcome = Outcome("grasp", episode, step, 0.0, 0.1, False, False, reason, False, False, 0, (0.5, 0.0, 0.0))
        message = encode_outcome(RclpyFactory(), outcome, time.time_ns())
        if impossible:
            message.header.stamp.sec = -1
        task.publish(message)

    def count(name: str) -> int:
        return int(status("gripper").get(name, 0))

    say(0, 0)
    say(0, 1, "in hand")
    ros.wait_for(lambda: len(heard) == 2, "the hand to close")
    assert [tuple(m.points[0].positions) == tuple(HAND.angles(True)) for m in heard] == [False, True]
    first.kill()
    ros.wait_for(lambda: task.get_subscription_count() == 0, "its end")
    second = ros.start("gripper")
    ros.wait_for(lambda: task.get_subscription_count() == 1, "the gripper node again")
    say(0, 2)
    say(0, 3, impossible=True)
    ros.wait_for(lambda: count("unreadable") == 1, "both outcomes to be heard")
    assert second.running and len(heard) == 2, "nothing was said to the hand"
    say(1, 0)
    ros.wait_for(lambda: len(heard) == 3, "the hand to open for the next episode")
    assert tuple(heard[-1].points[0].positions) == tuple(HAND.angles(False))
