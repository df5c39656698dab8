"""Faults of commands, commanders and weights, with real processes where they are of processes or messages."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from control_arm import HOME, Arm
from trained import overflowing_policy, saved, small_policy, turning_policy

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.control.deadline import DeadlineMeter
from vd_policy.control.gate import State
from vd_policy.control.latch import LatchFile
from vd_policy.control.slot import LatestSlot
from vd_policy.messages.blobs import pack_weights, unpack_weights
from vd_policy.messages.topics import COMMAND, TOPICS, TRAJECTORY, WEIGHTS
from vd_policy.messages.trajectory import decode_trajectory, split_sender
from vd_policy.nodes.decider import WARM_UP, Decider
from vd_policy.nodes.weights import policy_from_weights
from vd_policy.policy.actor import Act, GaussianActor
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.manifest import policy_manifest, policy_tensors

if TYPE_CHECKING:
    from deployed import Deployed

ARM_HOME = list(load_robot().home_rad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_not_finite_holds_and_latches(bad: float) -> None:
    """FAULTS 15: at the safety gate."""
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.1)
    decision = arm.command(np.array([bad, 0.0]))
    assert decision.state is State.STOPPED and "/policy commanded NaN or Inf" in decision.reason
    assert decision.target is not None and decision.target.tolist() == HOME.tolist()
    assert arm.command(HOME + 0.1).target is None
    assert arm.wait(10.0).state is State.STOPPED


def _transitions(ros: Any, impossible: int) -> Callable[[int], bool]:
    """Asks the policy node for transitions by number; whether each was made.

    The first answer may come before DDS knows who asked, and is lost: `impossible`, which changes nothing, is asked for
    until an answer comes.
    """
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    change = ros.probe.node.create_client(ChangeState, "policy/change_state")
    ros.wait_for(change.service_is_ready, "the lifecycle services")

    def asked(number: int) -> Any:
        return change.call_async(ChangeState.Request(transition=Transition(id=number)))

    def transition(number: int) -> bool:
        answer = asked(number)
        ros.wait_for(answer.done, f"transition {number}")
        return bool(answer.result().success)

    answers: list[Any] = []
    first_s = time.monotonic()

    def is_answered() -> bool:
        if time.monotonic() - first_s >= len(answers):  # once a second
            answers.append(asked(impossible))
        return any(answer.done() for answer in answers)

    ros.wait_for(is_answered, "an answer")
    return transition


def test_a_network_that_overflows_holds_and_latches(ros: Any, tmp_path: Path) -> None:
    """FAULTS 15: network output NaN or Inf, in the policy node."""
    from ros_graph import RELIABLE
    from stand_in import StandIn
    from trajectory_msgs.msg import JointTrajectory

    commands = ros.probe.listen(JointTrajectory, COMMAND, RELIABLE)
    status = ros.probe.diagnostics()
    robot = StandIn(ros.probe)
    ros.start("policy", run=saved(tmp_path / "run", overflowing_policy()), rate_hz=20.0)
    said = ros.wait_for(lambda: _with(status("policy"), "latched"), "the policy to latch")
    frames = robot.frames
    ros.wait_for(lambda: robot.frames > frames + 10, "more pictures")
    robot.close()
    assert said["message"].startswith("latched: the network's output is NaN or Inf") and said["level"] == "2"
    assert [list(c.points[0].positions) for c in commands] == [ARM_HOME]


def test_in_lockstep_too_and_the_answer_is_owed_until_the_latch_is_forgiven(ros: Any, tmp_path: Path) -> None:
    """FAULTS 15: the diagnostics keep saying so; deactivate and activate decide once more."""
    from lifecycle_msgs.msg import Transition
    from trajectory_msgs.msg import JointTrajectory

    status, sim = ros.probe.diagnostics(), {"image_height": 16, "image_width": 16}
    commands = ros.probe.listen(JointTrajectory, COMMAND)
    ros.start("sim", **sim)
    ros.start("policy", run=saved(tmp_path / "run", overflowing_policy()), lockstep=True)
    transition = _transitions(ros, impossible=Transition.TRANSITION_ACTIVATE)
    for repeats in (3, 9):
        ros.wait_for(lambda: _with(status("policy"), "latched"), "the policy to latch")
        ros.wait_for(lambda n=repeats: int(status("sim").get("repeats", 0)) >= n, "a simulator that still waits")
        assert status("policy")["message"].startswith("latched") and status("policy")["level"] == "2"
        assert transition(Transition.TRANSITION_DEACTIVATE) and transition(Transition.TRANSITION_ACTIVATE)
    assert not commands


def test_a_target_beyond_a_limit_is_clamped_named_and_latched_after_n_in_a_row() -> None:
    """FAULTS 16: per-step, joint and speed limit."""
    arm = Arm(clamps_to_latch=3)
    arm.settle()
    assert arm.command(HOME + 9.0).target is not None
    assert arm.sent[-1] == pytest.approx(HOME + 0.5)
    assert arm.command(np.array([1.2, HOME[1]]), duration_s=9.0).state is State.RUNNING
    assert arm.command(HOME + 0.1).state is State.RUNNING
    arm.command(HOME + 0.4, duration_s=0.1)
    arm.command(HOME + 0.4, duration_s=0.1)
    assert arm.gate.clamps == {"step:a": 2, "step:b": 1, "speed:a": 2, "speed:b": 2}
    decision = arm.command(HOME + 0.4, duration_s=0.1)
    assert decision.state is State.STOPPED
    assert "3 clamped commands in a row" in decision.reason and "speed:a" in decision.reason
    assert arm.sent[-1].tolist() == HOME.tolist()


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        (["a", "x"], [0.0, 0.0]),
        (["a"], [0.0]),
        (["a", "b", "c"], [0.0, 0.0, 0.0]),
        (["a", "b"], [0.0]),
        (["a", "a"], [0.0, 0.0]),
    ],
)
def test_an_unreadable_command_moves_nothing_and_is_counted(names: list[str], positions: list[float]) -> None:
    """FAULTS 17: for other joints or of another length, at the safety gate."""
    duration = SimpleNamespace(sec=1, nanosec=0)
    message = SimpleNamespace(joint_names=names, header=SimpleNamespace(frame_id="/x", stamp=duration),
                              points=[SimpleNamespace(positions=positions, time_from_start=duration)])  # fmt: skip
    with pytest.raises(BadInput) as refusal:
        decode_trajectory(message, ("a", "b"))
    arm = Arm()
    arm.settle()
    decision = arm.gate.refuse_command(str(refusal.value), arm.now_s)
    assert decision.refused and decision.state is State.HOLDING
    assert arm.gate.refusals == {"unreadable": 1}


def test_slow_inference_skips_steps_and_takes_the_latest_input() -> None:
    """FAULTS 18: a step is skipped, never queued; misses counted."""
    slot: LatestSlot[int] = LatestSlot()
    clock = SimpleNamespace(now=0.0)
    meter = DeadlineMeter(0.1, lambda: clock.now)
    taken: list[int] = []
    inferring, done = threading.Event(), threading.Semaphore(0)

    def infer() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)
            inferring.set()
            done.acquire()
            meter.tick(started_s=0.1 * item)

    thread = threading.Thread(target=infer)
    thread.start()
    slot.put(0)
    assert inferring.wait(10)
    for item in (1, 2, 3):
        slot.put(item)
    inferring.clear()
    clock.now = 0.35
    done.release()
    assert inferring.wait(10)
    clock.now = 0.38
    done.release()
    slot.close()
    thread.join(10)
    assert taken == [0, 3]
    assert slot.replaced == 2
    assert (meter.summary()["cycles"], meter.summary()["misses"]) == (2, 1)


def test_the_first_inferences_happen_before_any_decision() -> None:
    """FAULTS 19: warmed up before activation, left out of the statistics."""
    calls: list[float] = []

    class Watched(GaussianActor):
        def act(self, obs: Any, state: Any, *, explore: bool) -> tuple[Act, Any]:
            calls.append(float(obs["q"][0, 0]))
            return super().act(obs, state, explore=explore)

    blank, seen = _observation(0.0), _observation(1.0)
    decider = Decider(Watched(small_policy()), 0, 0.5, explore=True)
    decider.warm_up(blank)
    decider.begin(np.random.default_rng(3))
    first = decider.decide(seen, seen["q"]).choice
    cold = Decider(GaussianActor(small_policy()), 0, 0.5, explore=True)
    cold.begin(np.random.default_rng(3))
    assert calls == [0.0] * WARM_UP + [1.0]
    assert first.action.tolist() == cold.decide(seen, seen["q"]).choice.action.tolist()  # it leaves no trace


def test_the_node_is_warm_before_it_is_activated(ros: Any, tmp_path: Path) -> None:
    """FAULTS 19: with the real process; and an inactive policy does not command."""
    from lifecycle_msgs.msg import Transition
    from stand_in import StandIn

    status = ros.probe.diagnostics()
    robot = StandIn(ros.probe)
    ros.start("policy", run=saved(tmp_path / "run", turning_policy()), rate_hz=20.0, autostart=False)
    transition = _transitions(ros, impossible=Transition.TRANSITION_ACTIVATE)
    assert transition(Transition.TRANSITION_CONFIGURE)
    warm = ros.wait_for(lambda: _with(status("policy"), "inactive", "cycles"), "the policy to be configured")
    assert float(warm["warm_inference_ms"]) > 0 and warm["cycles"] == "0"
    assert transition(Transition.TRANSITION_ACTIVATE)
    ros.wait_for(lambda: int(status("policy").get("decisions", 0)) > 0, "decisions")
    assert transition(Transition.TRANSITION_DEACTIVATE)
    held = ros.wait_for(lambda: _with(status("policy"), "inactive", "holds"), "the policy to hold")
    robot.close()
    assert held["holds"] == "1"


def test_a_transition_that_cannot_be_is_refused_and_the_policy_goes_on(ros: Any, tmp_path: Path) -> None:
    """FAULTS 19: activated twice, by number; rclpy alone would end the process."""
    from lifecycle_msgs.msg import Transition

    status = ros.probe.diagnostics()
    policy = ros.start("policy", run=saved(tmp_path / "run", turning_policy()), rate_hz=20.0)
    transition = _transitions(ros, impossible=Transition.TRANSITION_ACTIVATE)
    assert not transition(Transition.TRANSITION_ACTIVATE) and not transition(Transition.TRANSITION_CONFIGURE)
    assert policy.running and transition(Transition.TRANSITION_DEACTIVATE)
    assert transition(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    ros.wait_for(lambda: status("policy").get("message") == "finalized", "a policy that says it is over")


def test_a_stop_in_motion_holds_until_the_reset_which_starts_from_the_measured_joints() -> None:
    """FAULTS 20: in motion, twice, released without reset."""
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.4)
    arm.q = HOME + 0.1
    arm.now_s += 0.1
    arm.settle()
    stops = [arm.gate.stop("e-stop", arm.now_s) for _ in range(2)]
    assert [stop.state for stop in stops] == [State.STOPPED] * 2
    assert stops[0].target is not None and stops[0].target.tolist() == (HOME + 0.1).tolist()
    assert arm.command(HOME + 0.2).target is None
    arm.q = HOME + 0.25  # pushed by hand meanwhile
    arm.now_s += 0.1
    arm.wait(2.0)
    decision = arm.gate.reset(arm.now_s)
    assert decision.state is State.HOLDING
    assert decision.target is not None and decision.target.tolist() == (HOME + 0.25).tolist()


def test_a_stop_while_nothing_runs_yet_stays_in_force() -> None:
    """FAULTS 20: during load."""
    arm = Arm()
    arm.gate.stop("e-stop", arm.now_s)
    arm.settle()
    assert arm.command(HOME).target is None
    assert arm.gate.state is State.STOPPED


def test_a_gate_that_was_stopped_in_an_earlier_life_starts_stopped(tmp_path: Path) -> None:
    """FAULTS 20: node restarted while latched."""
    LatchFile(tmp_path / "latch.json").write("e-stop")
    arm = Arm(latched=LatchFile(tmp_path / "latch.json").read())
    arm.settle()
    assert arm.command(HOME + 0.1).target is None
    assert arm.sent[-1].tolist() == HOME.tolist()
    assert arm.gate.reset(arm.now_s).state is State.HOLDING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stop_survives_the_safety_node(deployed: Deployed, number: int) -> None:
    """FAULTS 20: node restarted while latched, with the real process."""
    deployed.moving()
    assert deployed.graph.probe.call("safety/stop").success
    deployed.wait("safety", "stopped: safety/stop was called")
    deployed.at_rest()
    deployed.safety.stop(number)
    sent = len(deployed.robot.sent)
    deployed.start_safety()
    deployed.graph.wait_for(lambda: len(deployed.robot.sent) > sent, "the new safety node to hold")
    deployed.wait("safety", "stopped: safety/stop was called", refused_stopped="")
    deployed.at_rest()
    assert deployed.graph.probe.call("safety/reset").success
    deployed.moving()


def test_a_killed_policy_is_followed_by_a_halt(deployed: Deployed) -> None:
    """FAULTS 21: policy node killed with SIGKILL."""
    deployed.moving()
    deployed.policy.kill()
    deployed.wait("safety", "holding: ")  # no command; on a machine that stood still, whatever was missed first
    deployed.at_rest()


def test_without_the_safety_node_nothing_reaches_the_controller(deployed: Deployed) -> None:
    """FAULTS 22: safety node killed; the policy goes on commanding in vain."""
    deployed.moving()
    deployed.safety.kill()
    decisions = lambda: int(deployed.status("policy").get("decisions", 0))  # noqa: E731
    deployed.graph.wait_for(lambda: decisions() > 0, "the policy's status")
    sent, decided = len(deployed.robot.sent), decisions()
    deployed.graph.wait_for(lambda: decisions() > decided + 40, "more decisions")
    assert len(deployed.robot.sent) - sent <= 1  # one may have been on its way
    deployed.at_rest()
    assert TOPICS[TRAJECTORY].sender == "safety"


def test_whoever_else_can_reach_the_controller_is_named(deployed: Deployed) -> None:
    """FAULTS 22: no other path to the controller."""
    from trajectory_msgs.msg import JointTrajectory

    deployed.moving()
    publisher = deployed.graph.probe.node.create_publisher(JointTrajectory, TRAJECTORY, 10)
    deployed.wait("safety", "", other_paths_to_the_controller="/probe")
    deployed.graph.probe.node.destroy_publisher(publisher)


def test_a_second_safety_node_of_the_same_name_is_named(deployed: Deployed, tmp_path: Path) -> None:
    """FAULTS 22: no other path to the controller."""
    deployed.moving()
    second = deployed.graph.start("safety", latch_file=str(tmp_path / "latch.json"))
    deployed.wait("safety", "", other_paths_to_the_controller="/safety")
    assert second.stop() == 0
    deployed.graph.wait_for(lambda: not deployed.status("safety")["other_paths_to_the_controller"], "it to be alone")
    deployed.moving()


@pytest.mark.parametrize(
    ("frame_id", "sender", "answered"),
    [("/safety@17", "/safety", 17), ("/safety", "/safety", 0), ("/safety@", "/safety", 0), ("x@" + "9" * 5000, "x", 0)],
)
def test_a_sender_of_any_length_can_be_read(frame_id: str, sender: str, answered: int) -> None:
    """FAULTS 17: a command that cannot be read is refused, and ends no node."""
    assert split_sender(frame_id) == (sender, answered)


def test_whoever_commands_the_controller_through_its_action_is_named(deployed: Deployed) -> None:
    """FAULTS 22: no other path to the controller. The type does not matter to discovery, only the name."""
    from std_srvs.srv import Trigger

    deployed.moving()
    action = TRAJECTORY.replace("joint_trajectory_controller/joint_trajectory",
                                "joint_trajectory_controller/follow_joint_trajectory")  # fmt: skip
    client = deployed.graph.probe.node.create_client(Trigger, f"{action}/_action/send_goal")
    deployed.wait("safety", "", other_paths_to_the_controller=f"/{action} (clients: 1)")
    deployed.graph.probe.node.destroy_client(client)


def test_of_two_commanding_nodes_the_second_is_refused_and_both_are_named(deployed: Deployed) -> None:
    """FAULTS 23: two nodes commanding."""
    from stand_in import command

    deployed.moving()
    publisher = deployed.graph.probe.publisher(type(command(ARM_HOME, "/rival")), COMMAND)

    def rival() -> bool:
        if not deployed.says("safety", "running: /rival"):  # a policy that fell silent may lose the arm to it
            publisher.publish(command(deployed.robot.q - 0.1, "/rival"))
        return deployed.says("safety", "running: /policy", contending="/rival", command_publishers="/policy /probe")

    status = deployed.graph.wait_for(rival, "the rival to be refused")
    assert status["last_refusal"] == "command of /rival refused: /policy is commanding"
    deployed.graph.probe.node.destroy_publisher(publisher)
    deployed.moving()


def packed(policy: GaussianPolicy, version: Any = 1, **manifest: Any) -> bytes:
    return pack_weights(policy_tensors(policy), {**policy_manifest(policy), "weight_version": version, **manifest})


def with_nan(data: bytes) -> bytes:
    """The same bytes with a NaN in the last weight; `pack_weights` itself refuses to write one."""
    return data[:-4] + np.float32(np.nan).tobytes()


def wider(policy: GaussianPolicy) -> bytes:
    """A weight of another shape under the manifest of the policy that runs."""
    tensors = policy_tensors(policy)
    tensors["mean.head.weight"] = np.zeros((6, 7), np.float32)
    return pack_weights(tensors, {**policy_manifest(policy), "weight_version": 1})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: with_nan(packed(small_policy())), "NaN or Inf"),
        (lambda: wider(small_policy()), "mean.head.weight"),
        (lambda: packed(small_policy())[:-100], "weights"),
        (lambda: packed(small_policy(), version=-1), "weight_version"),
        (lambda: b"", "header length"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(data: Any, says: str) -> None:
    """FAULTS 25: NaN, or weights of another architecture; the last good ones stay."""
    current = small_policy()
    before = copy.deepcopy(current.state_dict())
    with pytest.raises(BadInput, match=says):
        policy_from_weights(*unpack_weights(data()), current)
    assert all(torch.equal(before[name], tensor) for name, tensor in current.state_dict().items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate_hz": 30.0}, "rate_hz"),
        ({"joints": ("a", "b", "c", "d", "e", "f")}, "joints"),
        ({"image_height": 32, "image_width": 32}, "image_height"),
        ({"max_step_rad": 0.1}, "max_step_rad"),
    ],
)
def test_a_hot_swap_to_another_kind_of_policy_is_refused(change: dict[str, Any], says: str) -> None:
    """FAULTS 26: another rate, joint list or image size."""
    with pytest.raises(BadInput, match=says) as refusal:
        policy_from_weights(*unpack_weights(packed(small_policy(**change))), small_policy())
    assert refusal.value.fix


def test_good_weights_are_taken_whole() -> None:
    """FAULTS 25: what is not refused arrives unchanged."""
    sent = small_policy(seed=7)
    tensors, manifest = unpack_weights(packed(sent, version=12))
    policy = policy_from_weights(tensors, manifest, small_policy())
    assert manifest["weight_version"] == 12
    assert all(torch.equal(sent.state_dict()[name], tensor) for name, tensor in policy.state_dict().items())


def test_bad_weights_leave_a_running_policy_alone_and_good_ones_replace_it(deployed: Deployed) -> None:
    """FAULTS 25, 26: on the real topic, with the arm in motion."""
    from ros_graph import LATCHED
    from std_msgs.msg import UInt8MultiArray

    from vd_policy.messages.blobs import encode_blob
    from vd_policy.nodes.ros import RclpyFactory

    deployed.moving()
    publisher = deployed.graph.probe.publisher(UInt8MultiArray, WEIGHTS, LATCHED)
    refused = int(deployed.status("policy").get("weights_refused", 0))
    for number, (data, says) in enumerate(((with_nan(packed(turning_policy())), "NaN or Inf"),
                                           (packed(small_policy(rate_hz=9.0)), "rate_hz")), refused + 1):  # fmt: skip
        publisher.publish(encode_blob(RclpyFactory(), data))
        deployed.wait("policy", "acting", weights_refused=number, weights_refusal=says, weight_version=0)
    deployed.moving()
    publisher.publish(encode_blob(RclpyFactory(), packed(turning_policy(), version=3)))
    deployed.wait("policy", "acting", weights_accepted=1, weight_swaps=1, weight_version=3)
    deployed.moving()
    deployed.graph.probe.node.destroy_publisher(publisher)
    deployed.policy.kill()  # the next test gets a policy with its own weights


def _observation(q: float) -> dict[str, np.ndarray]:
    return {"rgb": np.zeros((16, 16, 3), np.uint8), "depth": np.ones((16, 16), np.uint16),
            "q": np.full(6, q, np.float32)}  # fmt: skip


def _with(status: dict[str, str], text: str, *keys: str) -> dict[str, str]:
    return status if text in status.get("message", "") and all(key in status for key in keys) else {}
