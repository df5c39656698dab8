"""Writes the steps of an environment into a bag, with the messages that the graph's nodes would send."""

from __future__ import annotations

from typing import Any

import numpy as np

from vd_policy.arm.hand import HandJoints
from vd_policy.control.hand import HAND_MOVING_S, Hand
from vd_policy.demos.factory import RosbagsFactory
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.driver import DriverJoints
from vd_policy.messages.images import camera_info, encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import (
    COLOR,
    COLOR_INFO,
    COMMAND,
    DEPTH,
    DEPTH_INFO,
    EXPERT_ACTION,
    GRIPPER_COMMAND,
    GRIPPER_TRAJECTORY,
    JOINT_STATES,
    OUTCOME,
    TRAJECTORY,
)
from vd_policy.messages.trajectory import encode_trajectory

START_NS = 1_000_000_000
"""Stamp of the first observation of a bag made in-process; 0 would mean "now" to a controller."""
ANSWER_DELAY_NS = 1_000_000
"""Commands are logged this much after the observation they answer, so that a replay sends them in that order."""


class StepWriter:
    """Observations and answers of one episode, one decision period apart.

    Args:
        writer: the open bag.
        info: what it says of itself.
        camera: has ``matrix`` (3, 3) [pixel], ``height``, ``width`` and ``frame_id``.
        fingers: of the hand, in a task that grasps.
    """

    def __init__(
        self, writer: EpisodeWriter, info: EpisodeInfo, camera: Any, fingers: HandJoints | None = None
    ) -> None:
        self._writer, self._info, self._camera, self._factory = writer, info, camera, RosbagsFactory()
        self._driver = DriverJoints(info.joints, info.driver_joints)
        self._fingers, self._hand = fingers, Hand()
        self._period_ns = round(info.period_s * 1e9)

    def stamp_ns(self, step: int) -> int:
        """The stamp of the observation after `step` steps."""
        return START_NS + step * self._period_ns

    def observation(self, obs: dict[str, np.ndarray], q_rad: np.ndarray, outcome: Outcome) -> None:
        """All messages of one observation under one stamp.

        Args:
            obs: ``rgb`` u8 (H, W, 3) and ``depth`` u16 [mm] (H, W).
            q_rad: joint angles, float64 (J,).
            outcome: of the step that led here.
        """
        make, camera, stamp = self._factory, self._camera, self.stamp_ns(outcome.step)
        frame = camera.frame_id
        information = camera_info(make, camera.matrix, camera.height, camera.width, stamp, frame)
        for topic, msg in (
            (JOINT_STATES, encode_joints(make, self._driver.names, self._driver.to_driver(q_rad), stamp)),
            (COLOR, encode_color(make, obs["rgb"], stamp, frame)),
            (COLOR_INFO, information),
            (DEPTH, encode_depth(make, obs["depth"], stamp, frame)),
            (DEPTH_INFO, information),
            (OUTCOME, encode_outcome(make, outcome, stamp)),
        ):
            self._writer.write(topic, msg, stamp)
        if self._fingers is not None and (closed := self._hand.hear(outcome)) is not None:
            self._move_hand(self._fingers, closed, stamp)

    def _move_hand(self, fingers: HandJoints, closed: bool, stamp: int) -> None:
        for topic, sender in ((GRIPPER_COMMAND, "gripper"), (GRIPPER_TRAJECTORY, "safety")):
            msg = encode_trajectory(self._factory, fingers.names, fingers.angles(closed), HAND_MOVING_S, stamp, sender)
            self._writer.write(topic, msg, stamp + ANSWER_DELAY_NS)

    def answer(self, step: int, label_rad: np.ndarray, command_rad: np.ndarray, executed_rad: np.ndarray) -> None:
        """The answers to the observation of `step`: absolute joint targets [rad], (J,) each."""
        info, stamp = self._info, self.stamp_ns(step)
        for topic, names, target, sender in (
            (EXPERT_ACTION, info.joints, label_rad, info.source),
            (COMMAND, info.joints, command_rad, info.source),
            (TRAJECTORY, self._driver.names, self._driver.to_driver(executed_rad), "safety"),
        ):
            msg = encode_trajectory(self._factory, names, target, info.period_s, stamp, sender)
            self._writer.write(topic, msg, stamp + ANSWER_DELAY_NS)
