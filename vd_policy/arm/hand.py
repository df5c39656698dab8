"""The finger joints of a robot, of the open and of the closed hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vd_policy.arm.spec import RobotSpec
from vd_policy.base.errors import BadInput


@dataclass(frozen=True)
class HandJoints:
    """The F finger joints of a robot."""

    names: tuple[str, ...]
    open_rad: np.ndarray
    """(F,)."""
    closed_rad: np.ndarray
    """With nothing in the hand, (F,)."""

    def angles(self, closed: bool) -> np.ndarray:
        """Of the closed or of the open hand [rad], (F,)."""
        return self.closed_rad if closed else self.open_rad

    def clip(self, angles: np.ndarray) -> np.ndarray:
        """Angles (F,) [rad] brought between the open and the closed hand."""
        low, high = np.minimum(self.open_rad, self.closed_rad), np.maximum(self.open_rad, self.closed_rad)
        return np.clip(angles, low, high)


def hand_of(spec: RobotSpec) -> HandJoints:
    """The hand of a robot; `BadInput` for one whose file does not say how it opens and closes."""
    for field in ("finger_joints", "finger_open_rad", "finger_closed_rad"):
        if not getattr(spec, field):
            raise BadInput(f"{field} of {spec.name}", (), "a hand that opens and closes",
                           "describe it in the robot file, or leave the gripper out")  # fmt: skip
    return HandJoints(spec.finger_joints, np.array(spec.finger_open_rad), np.array(spec.finger_closed_rad))
