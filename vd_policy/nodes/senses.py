"""What an arm, its camera and its task publish."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node

from vd_policy.base.episode import Obs
from vd_policy.messages.driver import DriverJoints
from vd_policy.messages.header import time as time_message
from vd_policy.messages.images import camera_info, encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import encode_outcome
from vd_policy.messages.topics import CLOCK, COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, JOINT_STATES, OUTCOME
from vd_policy.nodes.lockstep import Moment
from vd_policy.nodes.ros import LOSSLESS_DEPTH, RclpyFactory, advertise, deliver
from vd_policy.sim.env import ArmEnv

NO_FINGERS = np.zeros(0)


class Senses:
    """The publishers of an environment.

    Args:
        driver: how the joints are named and counted in the joint states.
        lossless: queue so much that even a reader who is held up for a moment gets everything.
    """

    def __init__(self, node: Node, env: ArmEnv, driver: DriverJoints, lossless: bool) -> None:
        self._factory = RclpyFactory()
        self._driver, self._camera, self._fingers = driver, env.camera, env.robot.finger_joints
        topics = (JOINT_STATES, COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, OUTCOME, CLOCK)
        depth = LOSSLESS_DEPTH if lossless else None
        self._publishers = {name: advertise(node, name, depth=depth) for name in topics}

    def all(self, moment: Moment, fingers_rad: np.ndarray = NO_FINGERS) -> None:
        """One observation and its outcome, under one stamp."""
        self.joints(moment.q, moment.stamp_ns, fingers_rad)
        self.images(moment.obs, moment.stamp_ns)
        self._publishers[OUTCOME].publish(encode_outcome(self._factory, moment.outcome, moment.stamp_ns))

    def joints(self, q: np.ndarray, stamp_ns: int, fingers_rad: np.ndarray = NO_FINGERS) -> None:
        """Joint angles of the arm [rad], (J,), and of its fingers, (F,), where they are told."""
        names = [*self._driver.names, *self._fingers[: len(fingers_rad)]]
        angles = np.concatenate([self._driver.to_driver(q), fingers_rad])
        self._publishers[JOINT_STATES].publish(encode_joints(self._factory, names, angles, stamp_ns))

    def images(self, obs: Obs, stamp_ns: int) -> None:
        frame = self._camera.frame_id
        info = camera_info(self._factory, self._camera.matrix, self._camera.height, self._camera.width, stamp_ns, frame)
        self._publishers[COLOR].publish(encode_color(self._factory, obs["rgb"], stamp_ns, frame))
        self._publishers[COLOR_INFO].publish(info)
        self._publishers[DEPTH].publish(encode_depth(self._factory, obs["depth"], stamp_ns, frame))
        self._publishers[DEPTH_INFO].publish(info)

    def clock(self, stamp_ns: int) -> None:
        clock = self._factory.make("rosgraph_msgs/msg/Clock", clock=time_message(self._factory, stamp_ns))
        self._publishers[CLOCK].publish(clock)

    def flush(self) -> None:
        """Wait until the reliable subscribers have everything, or one of them is found not to answer."""
        all(deliver(publisher) for publisher in self._publishers.values())
