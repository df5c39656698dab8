"""Processes that are killed while the arm moves on their behalf: the expert and the learner."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from trained import saved, small_policy

from vd_policy.arm.spec import load_robot
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import DemonstrateOptions
from vd_policy.messages.joints import JointReader
from vd_policy.messages.topics import COMMAND, JOINT_STATES, TRAJECTORY

if TYPE_CHECKING:
    from ros_graph import RosGraph

RECIPE = "method: trpo\nsettings: {batch_steps: 30, cg_steps: 2, critic: {warmup_batches: 1}}\n"


class Ear:
    """Hears what is commanded and where the arm is."""

    def __init__(self, ros: RosGraph) -> None:
        from ros_graph import SENSOR
        from sensor_msgs.msg import JointState
        from trajectory_msgs.msg import JointTrajectory

        self._ros = ros
        self._reader = JointReader(load_robot().joints)
        self.status = ros.probe.diagnostics()
        self.commands = ros.probe.listen(JointTrajectory, COMMAND)
        self.sent = ros.probe.listen(JointTrajectory, TRAJECTORY)
        self.joints = ros.probe.listen(JointState, JOINT_STATES, SENSOR)

    def says(self, node: str, words: str) -> dict[str, str]:
        """The node's status once its message contains these words."""
        return self._ros.wait_for(lambda: self._said(node, words), f"{node} to say {words!r}")

    def _said(self, node: str, words: str) -> dict[str, str]:
        status = self.status(node)
        return status if words in status.get("message", "") else {}

    def turned(self, since: np.ndarray) -> float:
        """How far the joint that moved most is from where it was [rad]."""
        return float(np.abs(self.q - since).max())

    @property
    def q(self) -> np.ndarray:
        self._ros.wait_for(lambda: self.joints, "joint states")
        return self._reader.read(self.joints[-1])

    def silence(self, count: int = 4) -> None:
        """Wait until so many joint states in a row came without a command: the sim repeats itself, nobody answers."""
        seen = [-1, 0]

        def is_silent() -> bool:
            if len(self.commands) != seen[0]:
                seen[:] = [len(self.commands), len(self.joints)]
            return len(self.joints) - seen[1] >= count

        self._ros.wait_for(is_silent, "silence")

    def while_heard(self, messages: list[Any], count: int) -> None:
        """Wait until so many more messages came."""
        known = len(messages)
        self._ros.wait_for(lambda: len(messages) >= known + count, f"{count} more messages")


def test_a_killed_expert_is_followed_by_a_halt(ros: RosGraph, tmp_path: Path) -> None:
    """FAULTS 21: the expert killed with SIGKILL while it demonstrates by the clock."""
    options = DemonstrateOptions(
        mode="realtime", image_height=16, image_width=16, noise=0.0, out=str(tmp_path / "bags")
    )
    processes = {spec.name: ros.start(spec.executable, **spec.parameters) for spec in graph("demonstrate", options)}
    ear = Ear(ros)
    ear.says("safety", "running: /expert")
    started = ear.q
    ros.wait_for(lambda: ear.turned(started) > 0.1, "the arm to move")
    processes["expert"].send(signal.SIGKILL)
    ear.says("safety", "holding: ")  # no command; on a machine that stood still, whatever was missed first
    held = ear.q
    ear.while_heard(ear.joints, 50)
    assert ear.turned(held) < 1e-3
    assert np.abs(np.array(ear.sent[-1].points[0].positions) - held).max() < 1e-3


def test_a_policy_whose_learner_was_killed_stops_until_a_learner_is_back(ros: RosGraph, tmp_path: Path) -> None:
    """FAULTS 24: learner killed while the policy drives for it."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    run = saved(tmp_path / "run", small_policy())
    learn: Callable[..., Any] = lambda **more: ros.start(  # noqa: E731
        "learner", run=run, out=str(tmp_path / "out"), recipe=str(tmp_path / "small.yaml"), save_every=1, **more
    )
    ear = Ear(ros)
    ros.start("sim", image_height=16, image_width=16)
    ros.start("safety", lockstep=True)
    policy = ros.start("policy", run=run, lockstep=True, rollouts=True, explore=True)
    ear.says("policy", "waiting for a learner")
    learner = learn()
    ros.wait_for(lambda: int(ear.status("learner").get("updates", 0)) >= 2, "two updates")
    learner.send(signal.SIGKILL)
    ear.silence()
    ear.says("policy", "holding: the learner is gone")
    commands = len(ear.commands)
    ear.while_heard(ear.joints, 4)
    assert len(ear.commands) == commands
    learner = learn(resume=True)
    ros.wait_for(lambda: len(ear.commands) > commands + 20, "the policy to go on")
    ear.says("policy", "acting")
    learner.send(signal.SIGINT)
    ear.says("policy", "holding: the learner has ended")
    policy.send(signal.SIGINT)
    assert policy.wait() == 0, policy.output
    assert "the learner is gone" not in policy.output.rpartition("the learner has ended")[2], "an end is no error"
