"""Faults of cameras, joints and clocks, against the real policy and safety processes where they are of messages."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from control_arm import HOME, Arm, S
from diagnostic_msgs.msg import DiagnosticArray
from trajectory_msgs.msg import JointTrajectory

from vd_policy.base.errors import BadInput
from vd_policy.control.assembler import ObservationAssembler
from vd_policy.control.freshness import FrozenImage
from vd_policy.control.gate import State
from vd_policy.control.watch import InputWatch, WatchSettings
from vd_policy.messages.joints import JointReader
from vd_policy.messages.topics import COMMAND

if TYPE_CHECKING:
    from deployed import Deployed

MS = 1_000_000


def test_a_camera_that_stops_halts_the_arm_until_enough_fresh_frames_came(deployed: Deployed) -> None:
    """FAULTS 1: camera stops."""
    deployed.moving()
    deployed.robot.camera = False
    status = deployed.wait("policy", "camera/color/image_raw")
    assert status["level"] == "2" and "nothing for 0.5 s" in status["message"]
    deployed.wait("safety", "holding")
    deployed.at_rest()
    frames = deployed.robot.frames
    deployed.moving()
    assert deployed.robot.frames >= frames + WatchSettings().fresh_needed


def test_a_frozen_camera_stops_the_arm(deployed: Deployed) -> None:
    """FAULTS 2: the same bytes under new stamps while the arm moves."""
    deployed.moving()
    deployed.robot.frozen = True
    status = deployed.wait("policy", "frozen")
    assert status["level"] == "2" and "identical pictures" in status["message"]
    deployed.wait("safety", "holding")
    deployed.at_rest()
    deployed.moving()


def test_a_frozen_depth_image_is_found_even_though_the_colour_image_lives() -> None:
    """FAULTS 2: one of two pictures frozen."""
    rng, still = np.random.default_rng(0), np.ones((4, 4), np.uint16)
    watch = InputWatch(WatchSettings(fresh_needed=1, frozen_frames=3, frozen_motion_rad=0.1), ("rgb", "depth", "q"))
    answers = []
    for i in range(5):
        for kind in watch.inputs:
            watch.seen(kind, 0.1 * i)
        picture = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
        answers.append(watch.judge({"rgb": picture, "depth": still, "q": np.full(6, 0.1 * i)}, 0.1 * i))
    assert answers == [True, True, False, False, False]
    assert str(watch.problem(0.4)) == "depth: frozen, 5 identical pictures"


def test_frozen_needs_both_identical_bytes_and_a_moving_arm() -> None:
    """FAULTS 2: detected over n frames."""
    picture, q = np.zeros((2, 2, 3), np.uint8), np.zeros(2)
    still = FrozenImage(3, 0.1)
    assert not any(still.add(picture.copy(), q) for _ in range(50))
    moving = FrozenImage(3, 0.1)
    assert [moving.add(picture.copy(), q + 0.06 * i) for i in range(4)] == [False, False, True, True]


def test_a_camera_that_never_starts_leaves_the_policy_inactive_and_is_named(
    ros: SimpleNamespace, tmp_path: Path
) -> None:
    """FAULTS 3: says which topic, type, QoS, and how many publishers it sees."""
    from trained import saved, small_policy

    status = ros.probe.diagnostics()
    ros.start("policy", run=saved(tmp_path / "run", small_policy()))
    said = ros.wait_for(lambda: _with(status("policy"), "nothing yet"), "the missing camera")
    expected = "/camera/color/image_raw [sensor_msgs/msg/Image, best_effort], 0 publishers: nothing yet"
    assert said["message"] == expected and said["level"] == "2"
    assert said.get("decisions", "0") == "0"


def test_a_qos_mismatch_is_logged_with_both_profiles(deployed: Deployed) -> None:
    """FAULTS 4: the incompatible-QoS event."""
    from ros_graph import SENSOR
    from sensor_msgs.msg import JointState

    publisher = deployed.graph.probe.node.create_publisher(JointState, "joint_states", SENSOR)
    for process in (deployed.safety, deployed.policy):
        deployed.graph.wait_for(lambda p=process: "incompatible QoS" in p.output, f"the event at {process.name}")
        line = next(line for line in process.lines if "incompatible QoS" in line)
        assert "joint_states" in line and "asks reliable" in line and "offers best_effort" in line
    deployed.graph.probe.node.destroy_publisher(publisher)


def test_colour_and_depth_too_far_apart_are_not_paired_and_counted() -> None:
    """FAULTS 5: RGB and depth further apart than the tolerance."""
    assembler = ObservationAssembler(0.01, ("rgb", "depth", "q"))
    made = []
    for i in range(1, 21):
        assembler.add("q", 100 * i * MS, "q", 0.0)
        assembler.add("depth", 100 * i * MS + 11 * MS, "d", 0.0)
        made.append(assembler.add("rgb", 100 * i * MS, "c", 0.0))
    assert not any(made)
    assert assembler.unpaired == 20 - 8
    assembler.add("depth", 2100 * MS, "d", 0.0)
    assembler.add("rgb", 2101 * MS, "c", 0.0)
    assert assembler.add("q", 2102 * MS, "q", 0.0) is not None
    assert assembler.unpaired == 20


def test_too_much_invalid_depth_is_not_acted_on() -> None:
    """FAULTS 6: above x % invalid."""
    watch = InputWatch(WatchSettings(fresh_needed=1, max_invalid_depth=0.5), ("rgb", "depth", "q"))
    for kind in watch.inputs:
        watch.seen(kind, 0.0)
    depth = np.ones((10, 10), np.uint16)
    depth[:6] = 0
    assert not watch.judge({"rgb": np.zeros((10, 10, 3), np.uint8), "depth": depth, "q": np.zeros(6)}, 0.0)
    assert str(watch.problem(0.0)) == "depth: 60% of the pixels are invalid"


@pytest.mark.parametrize("names", [["a", "c"], ["a", "a"], ["a", "b", "b"]])
def test_a_missing_or_doubled_joint_holds_the_arm(names: list[str]) -> None:
    """FAULTS 9: missing or duplicated = hold."""
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.1)
    message = SimpleNamespace(name=names, position=[0.0] * len(names))
    with pytest.raises(BadInput) as refusal:
        JointReader(("a", "b")).read(message)
    decision = arm.gate.bad_joints(str(refusal.value), arm.now_s)
    assert decision.state is State.HOLDING
    assert decision.target is not None and decision.target.tolist() == HOME.tolist()
    assert "no fresh joint states" in arm.command(HOME + 0.1).refused


def test_a_driver_that_loses_a_joint_stops_the_arm(deployed: Deployed) -> None:
    """FAULTS 9: a joint missing, on the real topic."""
    deployed.moving()
    deployed.robot.names = deployed.robot.names[:5]
    deployed.wait("safety", "it is missing from")
    deployed.wait("policy", "it is missing from")
    deployed.at_rest()
    deployed.moving()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5])
def test_a_joint_sample_that_cannot_be_is_rejected_and_counted(bad: float) -> None:
    """FAULTS 11: joint NaN, or a jump of more than the speed limit allows."""
    arm = Arm()
    arm.settle()
    arm.now_s += 0.01
    decision = arm.joints(np.array([bad, HOME[1]]))
    assert decision.refused.startswith("joint states: a ")
    assert arm.gate.q is not None and arm.gate.q.tolist() == HOME.tolist()
    assert sum(arm.gate.filter.rejected.values()) == 1
    assert arm.command(HOME + 0.05).state is State.RUNNING


def test_a_policy_does_not_act_on_joint_samples_that_cannot_be(deployed: Deployed) -> None:
    """FAULTS 11: a jump of one sample, nearest to a picture: not the policy either starts from there."""
    deployed.moving()
    commands = deployed.graph.probe.listen(JointTrajectory, COMMAND)
    deployed.robot.glitch_rad = 1.0
    deployed.wait("policy", "acting")
    refused = "rejected joint jump"
    deployed.graph.wait_for(lambda: int(deployed.status("policy").get(refused, 0)) >= 15, "samples to be refused")
    kept = np.array([command.points[0].positions[1] for command in list(commands)])  # the policy keeps all but joint_1
    assert len(kept) > 20 and np.abs(kept - deployed.robot.q[1]).max() < 0.1
    deployed.moving()


def test_a_clock_that_stays_behind_is_told_once(deployed: Deployed) -> None:
    """FAULTS 13: each refusal says how far; that is not news at the rate of the joint states."""
    deployed.moving()
    told = deployed.graph.probe.listen(DiagnosticArray, "/diagnostics")
    deployed.robot.stamp_offset_s = -0.6
    deployed.wait("safety", "measured 0.6")
    del told[:]
    ticks = deployed.robot.ticks
    deployed.graph.wait_for(lambda: deployed.robot.ticks > ticks + 100, "two seconds of joint states")
    safety = [status for array in list(told) for status in array.status if status.name == "safety"]
    assert 0 < len(safety) < 20, "once a second"
    deployed.moving()


def test_joints_that_stay_nan_hold_the_arm() -> None:
    """FAULTS 11: rejected samples do not keep the arm alive."""
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    for _ in range(40):
        arm.now_s += 0.01
        arm.joints(np.full(2, np.nan))
        decision = arm.gate.tick(arm.now_s)
    assert decision.state is State.HOLDING
    assert "no joint states" in decision.reason


def test_stale_joint_states_hold_the_arm(deployed: Deployed) -> None:
    """FAULTS 12: joint states stale."""
    deployed.moving()
    deployed.robot.joints = False
    status = deployed.wait("safety", "holding: no joint states for 0.25 s")
    assert int(status["hold joint states stale"]) >= 1
    deployed.wait("policy", "/joint_states [sensor_msgs/msg/JointState, reliable]")
    deployed.at_rest()
    deployed.moving()


@pytest.mark.parametrize(("shift_s", "reason"), [(None, "stamp is 0"), (5.0, "in the future"), (-5.0, "jumped back")])
def test_an_impossible_joint_stamp_resets_the_buffers_and_holds(shift_s: float | None, reason: str) -> None:
    """FAULTS 13: stamp 0, in the future, clock jumping back."""
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.1)
    arm.now_s += 0.01
    stamp_ns = 0 if shift_s is None else arm.stamp_ns + int(shift_s * S)
    decision = arm.joints(HOME + 0.9, stamp_ns=stamp_ns)  # must not be taken for motion
    assert decision.state is State.HOLDING and reason in decision.reason
    assert decision.target is not None and decision.target.tolist() == HOME.tolist()
    assert "no fresh joint states" in arm.command(HOME + 0.1).refused


@pytest.mark.parametrize(("shift_s", "reason"), [(None, "stamp is 0"), (5.0, "in the future"), (-5.0, "jumped back")])
def test_a_command_with_an_impossible_stamp_is_refused(shift_s: float | None, reason: str) -> None:
    """FAULTS 13: the same on a command."""
    arm = Arm()
    arm.settle()
    arm.command(HOME)
    stamp_ns = 0 if shift_s is None else arm.stamp_ns + int(shift_s * S)
    assert reason in arm.command(HOME + 0.1, stamp_ns=stamp_ns).refused


def test_a_command_on_an_old_observation_is_refused() -> None:
    """FAULTS 13: a stale stamp."""
    arm = Arm()
    arm.settle()
    assert "0.700 s old" in arm.command(HOME, stamp_ns=arm.stamp_ns - int(0.7 * S)).refused


def test_a_looping_bag_is_never_combined_with_its_own_end() -> None:
    """FAULTS 13: bag looping."""
    assembler = ObservationAssembler(0.05, ("rgb", "depth", "q"))
    for stamp in (1000 * MS, 1030 * MS):
        assembler.add("q", stamp, "end", 0.0)
    assembler.add("depth", 1030 * MS, "end", 0.0)
    made = [assembler.add(kind, 10 * MS, "start", 0.0) for kind in ("q", "depth", "rgb")]
    assert assembler.jumps >= 1
    made += [assembler.add(kind, 40 * MS, "start", 0.0) for kind in ("q", "depth", "rgb")]
    assert all(set(whole.values.values()) == {"start"} for whole in made if whole)
    assert made[-1] is not None


def test_a_clock_that_jumps_back_holds_the_arm_and_it_goes_on_in_the_new_time(deployed: Deployed) -> None:
    """FAULTS 13: clock jumping back, with the real processes."""
    deployed.moving()
    deployed.robot.stamp_offset_s = -100.0
    deployed.wait("safety", "holding")
    deployed.graph.wait_for(lambda: "jumped back" in deployed.safety.output, "the jump to be named")
    deployed.at_rest()
    deployed.moving()


def test_a_driver_without_stamps_is_named_and_holds(deployed: Deployed) -> None:
    """FAULTS 13: stamp 0."""
    deployed.moving()
    deployed.robot.stamp_zero = True
    deployed.wait("safety", "stamp is 0")
    deployed.wait("policy", "stamp is 0")
    deployed.at_rest()
    deployed.moving()


def test_simulated_time_on_one_side_only_is_named(deployed: Deployed) -> None:
    """FAULTS 14: use_sim_time on one side only."""
    deployed.moving()
    deployed.robot.stamp_offset_s = -time.time() + 60.0
    for node in ("safety", "policy"):
        assert "use_sim_time" in deployed.wait(node, "in the past")["message"]
    deployed.at_rest()
    deployed.moving()


def _with(status: dict[str, str], text: str) -> dict[str, str]:
    return status if text in status.get("message", "") else {}
