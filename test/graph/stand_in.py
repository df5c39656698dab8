"""A stand-in for a robot driver and its camera: real messages from the test process, with faults to switch on."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from ros_graph import RELIABLE, Probe
from sensor_msgs.msg import Image, JointState
from trajectory_controller import TrajectoryController
from trajectory_msgs.msg import JointTrajectory

from vd_policy.arm.spec import RobotSpec, load_robot
from vd_policy.messages.driver import DriverJoints
from vd_policy.messages.images import encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.topics import COLOR, DEPTH, JOINT_STATES, TRAJECTORY
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.ros import RclpyFactory

SPEC = load_robot()
HOME = np.array(SPEC.home_rad)
PERIOD_S = 0.02


def command(positions: Any, sender: str, stamp_ns: int | None = None, duration_s: float = 1.0) -> JointTrajectory:
    """A command of `sender`, by default on an observation of now."""
    stamp = time.time_ns() if stamp_ns is None else stamp_ns
    return encode_trajectory(RclpyFactory(), SPEC.joints, np.asarray(positions), duration_s, stamp, sender)


class StandIn:
    """An arm that follows its `TrajectoryController` within its speed limits, at 50 Hz, under a camera of 25 Hz.

    `q` counts as the URDF does; the topics name and count the joints as the driver of `spec` does.
    Switch faults on by setting attributes; they act from the next tick on.
    """

    def __init__(self, probe: Probe, size: int = 16, spec: RobotSpec = SPEC) -> None:
        self.camera = self.joints = True
        self.frozen = False
        self.stamp_offset_s = 0.0
        self.stamp_zero = False
        self.glitch_rad = 0.0
        self.driver = DriverJoints(spec.joints, spec.driver_joints)
        self.names = self.driver.names
        self.q = self.home = np.array(spec.home_rad)
        self.frames = self.ticks = 0
        self._size, self._rng = size, np.random.default_rng(0)
        self._factory = RclpyFactory()
        self.sent: list[Any] = probe.listen(JointTrajectory, TRAJECTORY)
        self.controller = TrajectoryController(self.driver.names)
        self._reach = np.array(spec.speed_limit_rad_s) * PERIOD_S
        self._taken = 0
        self._joints = probe.node.create_publisher(JointState, JOINT_STATES, RELIABLE)
        self._color = probe.node.create_publisher(Image, COLOR, RELIABLE)
        self._depth = probe.node.create_publisher(Image, DEPTH, RELIABLE)
        self._picture = self._new_picture()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    @property
    def stamp_ns(self) -> int:
        """The driver's time now."""
        return 0 if self.stamp_zero else time.time_ns() + int(self.stamp_offset_s * 1e9)

    def heal(self) -> None:
        """Switch every fault off."""
        self.camera = self.joints = True
        self.frozen = self.stamp_zero = False
        self.stamp_offset_s, self.glitch_rad, self.names = 0.0, 0.0, self.driver.names

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._end.wait(PERIOD_S):
            self._move()
            if self.joints:
                self._tell(self.q)
            if self.camera and self.ticks % 2 == 0:
                self._see()
            if self.glitch_rad and self.ticks % 10 == 0:
                self._tell(self.q + self.glitch_rad)
            self.ticks += 1

    def _tell(self, q: np.ndarray) -> None:
        angles = self.driver.to_driver(q)[: len(self.names)]
        self._joints.publish(encode_joints(self._factory, self.names, angles, self.stamp_ns))

    def _move(self) -> None:
        now_ns, measured = time.time_ns(), self.driver.to_driver(self.q)
        while self._taken < len(self.sent):
            self.controller.take(self.sent[self._taken], now_ns, measured)
            self._taken += 1
        desired = self.controller.desired(now_ns + int(PERIOD_S * 1e9))  # the setpoint of its next cycle
        if desired is not None:
            self.q = self.q + np.clip(self.driver.from_driver(desired) - self.q, -self._reach, self._reach)

    def _see(self) -> None:
        if not self.frozen:
            self._picture = self._new_picture()
        stamp = self.stamp_ns
        self._color.publish(encode_color(self._factory, self._picture[0], stamp, "camera"))
        self._depth.publish(encode_depth(self._factory, self._picture[1], stamp, "camera"))
        self.frames += 1

    def _new_picture(self) -> tuple[np.ndarray, np.ndarray]:
        size = (self._size, self._size)
        color = self._rng.integers(0, 255, (*size, 3)).astype(np.uint8)
        return color, self._rng.integers(400, 2000, size).astype(np.uint16)
