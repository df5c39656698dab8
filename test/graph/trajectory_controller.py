"""A stand-in for ros2_control's joint_trajectory_controller: what it takes, what it rejects, and where it then goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vd_policy.messages.header import stamp_ns, time_ns

STILL = float(np.finfo(np.float32).eps)
"""A last velocity of no more than this counts as zero."""


class TrajectoryController:
    """Judges a message on the controller's topic as `JointTrajectoryController::validate_trajectory_msg` of
    ros2_controllers does (branch jazzy, August 2026), check by check in its order, for a controller with position
    commands, and follows what it takes along straight lines in joint space as the controller does without velocities.

    Four things that the real one takes are rejected here as well, under "hazard", because nobody may send them: it
    looks at the number of the names and at each of them but not whether one is there twice, and then commands a joint
    with a stale value; what is not finite goes through to the hardware; a last point at time 0 or before is jumped to;
    and of a trajectory that began in the past the joints catch up faster than its durations say.

    Args:
        joints: the controller's joints.
        allow_partial_joints_goal, allow_nonzero_velocity_at_trajectory_end, allow_integration_in_goal_trajectories:
            its parameters of these names, with its defaults.
    """

    def __init__(
        self,
        joints: Sequence[str],
        *,
        allow_partial_joints_goal: bool = False,
        allow_nonzero_velocity_at_trajectory_end: bool = False,
        allow_integration_in_goal_trajectories: bool = False,
    ) -> None:
        self.joints = tuple(joints)
        self.accepted = 0
        self.rejections: Counter[str] = Counter()
        self._partial = allow_partial_joints_goal
        self._moving_end = allow_nonzero_velocity_at_trajectory_end
        self._integrates = allow_integration_in_goal_trajectories
        self._times_ns: np.ndarray | None = None
        self._points = np.empty((0, len(self.joints)))

    def take(self, msg: Any, now_ns: int, measured: np.ndarray) -> bool:
        """Whether the message is accepted; it then replaces what was followed before, from `measured` [rad], (J,)."""
        reason = self._rejection(msg, now_ns) or self._hazard(msg, now_ns)
        if reason:
            self.rejections[reason] += 1
            return False
        self.accepted += 1
        start_ns = stamp_ns(msg) or now_ns
        self._times_ns = np.array([now_ns, *(start_ns + time_ns(p.time_from_start) for p in msg.points)])
        self._points = np.stack([measured, *(self._all_joints(msg.joint_names, p, measured) for p in msg.points)])
        return True

    def desired(self, now_ns: int) -> np.ndarray | None:
        """Where the joints should be now [rad], (J,), in the controller's order; the last point once it is over."""
        if self._times_ns is None:
            return None
        return np.array([np.interp(now_ns, self._times_ns, column) for column in self._points.T])

    def _all_joints(self, names: Sequence[str], point: Any, measured: np.ndarray) -> np.ndarray:
        """A point in the controller's order; joints that it leaves out stay."""
        given = dict(zip(names, point.positions))
        return np.array([given.get(name, there) for name, there in zip(self.joints, measured)])

    def _rejection(self, msg: Any, now_ns: int) -> str:
        """Why the real controller rejects it."""
        if not self._partial and len(msg.joint_names) != len(self.joints):
            return "joints do not match the controller's"
        if not msg.joint_names:
            return "empty joint names"
        if not msg.points:
            return "empty trajectory"
        if not set(msg.joint_names) <= set(self.joints):
            return "a joint is not the controller's"
        last = msg.points[-1]
        if not self._moving_end and any(abs(v) > STILL for v in last.velocities):
            return "moving at the end"
        if stamp_ns(msg) and stamp_ns(msg) + time_ns(last.time_from_start) < now_ns:
            return "ends in the past"
        times = [time_ns(point.time_from_start) for point in msg.points]
        if any(after <= before for before, after in zip(times, times[1:])):
            return "time_from_start is not strictly increasing"
        return next((why for point in msg.points if (why := self._point_rejection(point, len(msg.joint_names)))), "")

    def _point_rejection(self, point: Any, joints: int) -> str:
        sizes = {field: len(getattr(point, field)) for field in ("positions", "velocities", "accelerations")}
        if self._integrates and not any(sizes.values()):
            return "no positions, velocities or accelerations"
        for field, size in sizes.items():
            may_be_empty = self._integrates or field != "positions"
            if size != joints and (size or not may_be_empty):
                return f"wrong number of {field}"
        return "effort is not taken" if len(point.effort) else ""

    def _hazard(self, msg: Any, now_ns: int) -> str:
        """Why it must not be sent although the real controller takes it."""
        if len(set(msg.joint_names)) < len(msg.joint_names):
            return "hazard: a joint is named twice"
        values = [getattr(p, field) for p in msg.points for field in ("positions", "velocities", "accelerations")]
        if not all(np.isfinite(v).all() for v in values):
            return "hazard: not finite"
        if time_ns(msg.points[0].time_from_start) <= 0:
            return "hazard: the first point is to be reached at once"
        return "hazard: began in the past" if 0 < stamp_ns(msg) < now_ns else ""
