"""The test process as the one who commands a sim in lockstep, and as the ear on everything it publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import RELIABLE, RosGraph
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from vd_policy.arm.spec import load_robot
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.joints import JointReader
from vd_policy.messages.outcome import Outcome, decode_outcome
from vd_policy.messages.topics import COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, JOINT_STATES, OUTCOME, TRAJECTORY
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.ros import RclpyFactory

SPEC = load_robot()
HOME = np.array(SPEC.home_rad)
PERIOD_S = 1.1


class Commander:
    """Hears the parts of every observation by stamp, and answers them."""

    def __init__(self, ros: RosGraph) -> None:
        self._ros, probe = ros, ros.probe
        kinds = {JOINT_STATES: JointState, COLOR: Image, COLOR_INFO: CameraInfo, DEPTH: Image, DEPTH_INFO: CameraInfo,
                 OUTCOME: DiagnosticArray}  # fmt: skip
        self.heard: dict[str, list[Any]] = {topic: probe.listen(kind, topic) for topic, kind in kinds.items()}
        self.diagnostics = probe.diagnostics()
        self._publisher = probe.node.create_publisher(JointTrajectory, TRAJECTORY, RELIABLE)
        self._reader = JointReader(SPEC.joints)

    def connect(self) -> None:
        """Wait until the sim hears commands and has been heard."""
        self._ros.wait_for(lambda: self._publisher.get_subscription_count() > 0, "the sim listening")
        self._ros.wait_for(lambda: all(self.heard.values()), "every topic of the sim")

    @property
    def stamp(self) -> int:
        """Stamp of the newest outcome [ns]."""
        return stamp_ns(self.heard[OUTCOME][-1])

    @property
    def outcome(self) -> Outcome:
        return decode_outcome(self.heard[OUTCOME][-1])

    def outcomes(self) -> list[tuple[int, Outcome]]:
        """All outcomes heard, with their stamps, each once."""
        return list({stamp_ns(m): (stamp_ns(m), decode_outcome(m)) for m in list(self.heard[OUTCOME])}.values())

    def stamps(self, topic: str) -> set[int]:
        return {stamp_ns(m) for m in list(self.heard[topic])}

    def send(self, positions: Any, stamp: int | None = None, names: tuple[str, ...] = SPEC.joints) -> None:
        """A trajectory, by default on the newest observation."""
        stamp = self.stamp if stamp is None else stamp
        self._publisher.publish(
            encode_trajectory(RclpyFactory(), names, np.asarray(positions), PERIOD_S, stamp, "test")
        )

    def step(self, positions: Any) -> tuple[dict[str, np.ndarray], Outcome, int]:
        """Answer the newest observation and wait for the next one."""
        before = self.stamp
        self.send(positions)
        self._ros.wait_for(lambda: self.stamp > before, "the next observation")
        return self.observation()

    def answer_until(self, condition: Callable[[], bool], target: Callable[[Outcome], Any]) -> None:
        """Answer every observation that wants one with ``target(outcome)`` until the condition holds."""
        answered = -1

        def turn() -> bool:
            nonlocal answered
            stamp, outcome = self.stamp, self.outcome
            if stamp != answered and not outcome.last:
                answered = stamp
                self.send(target(outcome), stamp)
            return condition()

        self._ros.wait_for(turn, "the end of the answering")

    def observation(self) -> tuple[dict[str, np.ndarray], Outcome, int]:
        """The newest outcome with its joints and images, once all are there."""
        outcome, stamp = self.outcome, self.stamp
        parts = {topic: self._part(topic, stamp) for topic in (JOINT_STATES, COLOR, DEPTH)}
        obs = {"rgb": decode_color(parts[COLOR]), "depth": decode_depth(parts[DEPTH]),
               "q": self._reader.read(parts[JOINT_STATES])}  # fmt: skip
        return obs, outcome, stamp

    def _part(self, topic: str, stamp: int) -> Any:
        def found() -> Any:
            return next((m for m in reversed(list(self.heard[topic])) if stamp_ns(m) == stamp), None)

        return self._ros.wait_for(found, f"{topic} of stamp {stamp}")
