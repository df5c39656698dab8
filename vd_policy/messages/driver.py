"""The joints as a robot's driver names and counts them, on both sides: joint states in, trajectories out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vd_policy.arm.driver import DriverJoint
from vd_policy.arm.spec import RobotSpec
from vd_policy.messages.joints import JointReader


def driver_of(robot: RobotSpec, *, lockstep: bool, around_rad: Mapping[str, float] | None = None) -> DriverJoints:
    """The joints as the driver counts them; in lockstep the simulator is the driver, and counts as the URDF does."""
    return DriverJoints(robot.joints, None if lockstep else robot.driver_joints, around_rad)


class DriverJoints:
    """Translates between the arm's joint angles and its driver's.

    Args:
        joints: the arm's joints as the URDF names them, J of them.
        differing: those that the driver names or counts otherwise, by the URDF's name.
        around_rad: as for `JointReader`, by the URDF's name.
    """

    def __init__(
        self,
        joints: Sequence[str],
        differing: Mapping[str, DriverJoint] | None = None,
        around_rad: Mapping[str, float] | None = None,
    ) -> None:
        entries = [(differing or {}).get(joint, DriverJoint()) for joint in joints]
        self.names = tuple(entry.name or joint for joint, entry in zip(joints, entries))
        self._sign = np.array([entry.sign for entry in entries])
        self._offset = np.array([entry.offset_rad for entry in entries])
        self._around = {name: (around_rad or {})[j] for j, name in zip(joints, self.names) if j in (around_rad or {})}

    def reader(self) -> JointReader:
        """Reads the driver's joint states as the arm's angles."""
        return JointReader(self.names, dict(zip(self.names, self._sign)), dict(zip(self.names, self._offset)),
                           self._around)  # fmt: skip

    def to_driver(self, q: np.ndarray) -> np.ndarray:
        """The arm's angles q [rad], (J,), as the driver counts them."""
        return self._sign * (q - self._offset)

    def from_driver(self, angles: np.ndarray) -> np.ndarray:
        """The driver's `angles` [rad], (J,), as the URDF counts them."""
        return self._sign * angles + self._offset
