"""The policy node as a process: in lockstep with the real simulator, and how it starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import LATCHED, RosGraph
from sensor_msgs.msg import Image, JointState
from stand_in import HOME, SPEC
from std_msgs.msg import UInt8MultiArray
from trained import saved, small_policy
from trajectory_msgs.msg import JointTrajectory

from vd_policy.arm.spec import load_robot
from vd_policy.base.episode import Episode
from vd_policy.base.seeds import Seeds
from vd_policy.control.assembler import Assembled
from vd_policy.learning.rollout import rollout
from vd_policy.messages.blobs import decode_blob, encode_blob, pack_weights, unpack_episode
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.images import encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COLOR, COMMAND, DEPTH, JOINT_STATES, OUTCOME, ROLLOUT, WEIGHTS
from vd_policy.nodes.acting import blank_observation
from vd_policy.nodes.policy import PolicyNode
from vd_policy.nodes.ros import RclpyFactory
from vd_policy.nodes.weights import COLLECTED
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.manifest import policy_manifest, policy_tensors
from vd_policy.sim.env import ArmEnv

S = 1_000_000_000
SEED = 5


def test_rollouts_through_the_graph_equal_those_in_process_and_weights_are_swapped_without_a_gap(
    ros: RosGraph, tmp_path: Path
) -> None:
    """Before the swap the first policy's episodes, after it the second's, none lost in between."""
    first, second = small_policy(seed=1), small_policy(seed=2)
    heard = ros.probe.listen(UInt8MultiArray, ROLLOUT)
    ros.start("policy", run=saved(tmp_path / "run", first), lockstep=True, rollouts=True, explore=True,
              learner_timeout_s=0.0)  # fmt: skip
    ros.start("safety", lockstep=True)
    ros.wait_for(lambda: ros.probe.node.count_publishers(ROLLOUT), "the policy node")
    ros.start("sim", image_height=16, image_width=16, seed=SEED)
    ros.wait_for(lambda: len(heard) >= 2, "two rollouts")
    weights = ros.probe.publisher(UInt8MultiArray, WEIGHTS, LATCHED)
    manifest = {**policy_manifest(second), "weight_version": 9}
    weights.publish(encode_blob(RclpyFactory(), pack_weights(policy_tensors(second), manifest)))
    episodes: list[Episode] = []

    def swapped() -> bool:
        episodes.extend(unpack_episode(decode_blob(message)) for message in heard[len(episodes) :])
        return sum(e.weight_version == 9 for e in episodes) >= 2

    ros.wait_for(swapped, "two rollouts of the new weights")
    assert [e.sequence for e in episodes] == list(range(len(episodes)))
    versions = [e.weight_version for e in episodes]
    assert versions == sorted(versions) and set(versions) == {0, 9}
    new = versions.index(9)
    for episode, policy in ((episodes[0], first), (episodes[1], first), (episodes[new], second)):
        _same(episode, _in_process(episode, policy))


def _in_process(like: Episode, policy: Any) -> Episode:
    env = ArmEnv("reach", image_height=16, image_width=16)
    assert like.seed in [Seeds(SEED).integer("episode", i) for i in range(200)]
    made = rollout(env, GaussianActor(policy), seed=like.seed)
    env.close()
    return made


def _same(graph: Episode, alone: Episode) -> None:
    for name in ("rgb", "depth", "q"):
        assert np.array_equal(graph.obs[name], alone.obs[name]), name
    assert np.array_equal(graph.action, alone.action)
    assert np.array_equal(graph.log_prob, alone.log_prob)
    assert np.array_equal(graph.reward, alone.reward)
    assert np.allclose(graph.applied, alone.applied, atol=1e-6)
    assert (graph.success, graph.failure, graph.terminated) == (alone.success, alone.failure, alone.terminated)


def test_a_repeated_observation_gets_the_same_answer_and_the_last_one_none(ros: RosGraph, tmp_path: Path) -> None:
    ros.start("policy", run=saved(tmp_path / "run", small_policy()), lockstep=True, explore=True)
    answers = ros.probe.listen(JointTrajectory, COMMAND)
    say = _Teller(ros)
    ros.wait_for(lambda: ros.probe.node.count_publishers(COMMAND), "the policy's command")
    stamps = lambda: [stamp_ns(a) for a in answers]  # noqa: E731
    say.until(lambda: stamps().count(1 * S) >= 3, 1 * S, step=0)
    say.until(lambda: 2 * S in stamps(), 2 * S, step=1)
    for _ in range(3):
        say(3 * S, step=2, truncated=True)
    say.until(lambda: 4 * S in stamps(), 4 * S, step=0, episode=1)
    points = {stamp: [a.points for a in answers if stamp_ns(a) == stamp * S] for stamp in (1, 2, 3, 4)}
    assert len(points[1]) >= 3 and all(p == points[1][0] for p in points[1])
    assert points[2][0] != points[1][0] and points[3] == [] and points[4]
    assert {a.header.frame_id for a in answers} == {"/policy"}


class _Teller:
    """Publishes whole observations as the simulator does."""

    def __init__(self, ros: RosGraph) -> None:
        self._ros = ros
        topics = {JOINT_STATES: JointState, COLOR: Image, DEPTH: Image, OUTCOME: DiagnosticArray}
        self._publishers = {topic: ros.probe.publisher(kind, topic) for topic, kind in topics.items()}

    def until(self, condition: Callable[[], Any], *observation: Any, **details: Any) -> None:
        """Repeat an observation until its effect shows."""

        def told() -> bool:
            self(*observation, **details)
            return bool(condition())

        self._ros.wait_for(told, f"an effect of {observation} {details}")

    def __call__(self, stamp: int, step: int, episode: int = 0, truncated: bool = False) -> None:
        f = RclpyFactory()
        outcome = Outcome("reach", episode, step, 0.0, 0.3, False, False, "", False, truncated, 11 + episode, ())
        self._publishers[JOINT_STATES].publish(encode_joints(f, SPEC.joints, HOME, stamp))
        self._publishers[COLOR].publish(encode_color(f, np.zeros((16, 16, 3), np.uint8), stamp, "camera"))
        self._publishers[DEPTH].publish(encode_depth(f, np.ones((16, 16), np.uint16), stamp, "camera"))
        self._publishers[OUTCOME].publish(encode_outcome(f, outcome, stamp))


def test_a_policy_that_outruns_its_learner_waits_for_weights_between_episodes(ros: RosGraph, tmp_path: Path) -> None:
    """Rollouts from long outdated weights would only be dropped."""
    policy, status = small_policy(), ros.probe.diagnostics()
    heard = ros.probe.listen(UInt8MultiArray, ROLLOUT)
    ros.start("policy", run=saved(tmp_path / "run", policy), lockstep=True, rollouts=True, lead_steps=30,
              learner_timeout_s=0.0)  # fmt: skip
    ros.start("safety", lockstep=True)
    ros.start("sim", image_height=16, image_width=16, seed=SEED)
    ros.wait_for(lambda: "waiting for the learner" in status("policy").get("message", ""), "the policy to wait")
    lengths = lambda: [len(unpack_episode(decode_blob(message))) for message in heard]  # noqa: E731
    ros.wait_for(lambda: sum(lengths()) >= 30, "what it sent before")
    steps = lengths()
    assert sum(steps[:-1]) < 30, "an episode was begun after the lead was used up"
    weights = ros.probe.publisher(UInt8MultiArray, WEIGHTS, LATCHED)
    manifest = {**policy_manifest(policy), "weight_version": 0, COLLECTED: {"/policy": sum(steps)}}
    weights.publish(encode_blob(RclpyFactory(), pack_weights(policy_tensors(policy), manifest)))
    ros.wait_for(lambda: len(heard) > len(steps), "a rollout after the learner's answer")


def test_a_policy_acts_only_once_its_learner_hears_the_rollouts(ros: RosGraph, tmp_path: Path) -> None:
    """One sent before is lost."""
    policy, status = small_policy(), ros.probe.diagnostics()
    lease = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                       liveliness_lease_duration=Duration(seconds=0.5))  # fmt: skip
    ros.start("policy", run=saved(tmp_path / "run", policy), lockstep=True, rollouts=True)
    ros.probe.publisher(UInt8MultiArray, WEIGHTS, lease)
    commands = ros.probe.listen(JointTrajectory, COMMAND)
    say = _Teller(ros)
    ros.wait_for(lambda: ros.probe.node.count_publishers(COMMAND), "the policy's command")
    observed = iter(range(50))
    say.until(lambda: next(observed) == 49, 1 * S, step=0)
    ros.wait_for(lambda: "waiting for a learner" in status("policy").get("message", ""), "the policy to wait")
    assert not commands
    ros.probe.listen(UInt8MultiArray, ROLLOUT)
    say.until(lambda: commands, 1 * S, step=0)
    ros.wait_for(lambda: status("policy").get("message") == "acting", "the policy to act")


def test_a_wrong_start_is_refused_with_one_line(ros: RosGraph, tmp_path: Path) -> None:
    damaged = Path(saved(tmp_path / "run", small_policy()))
    data = bytearray((damaged / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "weights.safetensors").write_bytes(data)
    starts: dict[str, dict[str, Any]] = {
        "the directory of a trained run": {},
        "/nowhere": {"run": "/nowhere"},
        "only with lockstep": {"rollouts": True},
        "sha256": {"run": str(damaged)},
        "did you mean 'explore'": {"explor": True},
    }
    for says, policy in [(says, ros.start("policy", **parameters)) for says, parameters in starts.items()]:
        assert policy.wait() == 2, policy.output
        assert says in policy.output and "Traceback" not in policy.output


@contextmanager
def policy_node(ros: RosGraph, **parameters: Any) -> Iterator[PolicyNode]:
    """A policy node in this process, so that what it is made of can be broken."""
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", *words], domain_id=ros.domain.id)
    node = PolicyNode()
    try:
        yield node
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()


def own_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name in ("inference", "weights"))


def test_a_failure_on_the_inference_thread_ends_the_node(ros: RosGraph, tmp_path: Path) -> None:
    policy = small_policy()
    run = saved(tmp_path / "run", policy)
    with policy_node(ros, run=run, hot_swap=True) as node:
        acting: Any = node._acting
        assert own_threads() == ["inference", "weights"]

        def broken(*_: Any) -> None:
            raise RuntimeError("out of memory")

        acting.decider.decide = broken
        now_s = time.monotonic()
        acting.on_observation(Assembled(S, blank_observation(policy.spec), now_s), usable=True)
        ros.wait_for(lambda: own_threads() == ["weights"], "the inference thread to end")
        with pytest.raises(RuntimeError, match="out of memory"):
            node._watch()
    assert own_threads() == []


def test_a_configuration_that_is_refused_leaves_nothing_behind_and_may_be_tried_again(
    ros: RosGraph, tmp_path: Path
) -> None:
    run = saved(tmp_path / "run", small_policy())
    with policy_node(ros, run=run, hot_swap=True, robot="gen3_6dof", autostart=False) as node:
        for _ in range(3):
            node.trigger_configure()
            assert "robot is 'gen3_6dof'" in node._diagnostics._message
        assert own_threads() == []
        assert node.count_publishers(COMMAND) == node.count_subscribers(WEIGHTS) == 0


def test_a_configuration_that_fails_as_nobody_foresaw_says_what_happened_and_leaves_nothing_behind(
    ros: RosGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclpy swallows what a transition raises."""

    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("vd_policy.nodes.acting.Observer", broken)
    with policy_node(ros, run=saved(tmp_path / "run", small_policy()), hot_swap=True, autostart=False) as node:
        node.trigger_configure()
        assert node._diagnostics._message == "RuntimeError: out of memory"
        assert own_threads() == []


@pytest.mark.parametrize(
    ("arm", "config", "filters"), [("gen3_7dof", "gen3_7dof", True), ("gen3_7dof", "my_arm", False)]
)
def test_a_policy_by_the_clock_knows_the_joints_of_the_robot_that_its_run_was_trained_with(
    ros: RosGraph, tmp_path: Path, arm: str, config: str, filters: bool
) -> None:
    """A driver that wraps the Gen3's third joint at half a turn says -3.13 where training saw 3.15."""
    robot = load_robot(arm)
    run = save_run(tmp_path / "run", small_policy(arm=arm), config={"robot": config})
    with policy_node(ros, run=str(run)) as node:
        observer = cast(Any, node._acting).observer
        wrapped = np.array(robot.home_rad) + 2 * np.pi * np.array([0, 0, -1, 0, 0, 0, 0])
        joints = encode_joints(RclpyFactory(), robot.joints, wrapped, S)
        read = observer._reader.read(joints)
        assert np.allclose(read, robot.home_rad) is filters
        assert (observer._filter is not None) is filters


def test_what_was_deployed_stays_unless_new_weights_are_asked_for(ros: RosGraph, tmp_path: Path) -> None:
    with policy_node(ros, run=saved(tmp_path / "run", small_policy())) as node:
        assert node.count_subscribers(WEIGHTS) == 0
        assert own_threads() == ["inference"]
