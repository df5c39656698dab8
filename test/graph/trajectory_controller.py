"""A stand-in for ros2_control's joint_trajectory_controller, as far as accepting a trajectory goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vd_policy.messages.header import stamp_ns, time_ns

FIELDS = ("positions", "velocities", "accelerations")


class TrajectoryController:
    """Accepts and rejects as `JointTrajectoryController::validate_trajectory_msg` does, with its default parameters.

    The defaults that matter: `allow_partial_joints_goal`, `allow_integration_in_goal_trajectories` and
    `allow_nonzero_velocity_at_trajectory_end` are false. It is stricter in one thing: what is not finite is rejected.

    Args:
        joints: the controller's joints; every trajectory must name them all, in any order.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self.joints = tuple(joints)
        self.accepted = 0
        self.rejections: Counter[str] = Counter()

    def take(self, msg: Any, now_ns: int) -> np.ndarray | None:
        """Where the trajectory ends [rad], (J,), in the controller's order; None when it is rejected."""
        if reason := self._objection(msg, now_ns):
            self.rejections[reason] += 1
            return None
        self.accepted += 1
        index = {name: i for i, name in enumerate(msg.joint_names)}
        return np.array([msg.points[-1].positions[index[name]] for name in self.joints])

    def _objection(self, msg: Any, now_ns: int) -> str:
        if sorted(msg.joint_names) != sorted(self.joints):
            return "joints do not match the controller's"
        if not msg.points:
            return "empty trajectory"
        times = [time_ns(point.time_from_start) for point in msg.points]
        if stamp_ns(msg) and stamp_ns(msg) + times[-1] < now_ns:
            return "ends in the past"
        if any(after <= before for before, after in zip(times, times[1:])):
            return "time_from_start is not strictly increasing"
        if any(msg.points[-1].velocities):
            return "moving at the end"
        return next((reason for point in msg.points if (reason := self._point_objection(point))), "")

    def _point_objection(self, point: Any) -> str:
        for field in FIELDS:
            values = getattr(point, field)
            if len(values) != len(self.joints) and (field == "positions" or len(values)):
                return f"wrong number of {field}"
            if not np.isfinite(values).all():
                return f"{field} are not finite"
        return "effort is not taken" if len(point.effort) else ""
