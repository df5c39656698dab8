"""Commands and decisions: a `trajectory_msgs/JointTrajectory` of one point that names all joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.messages.header import MAX_STAMP_NS, duration, header, stamp_ns, time_ns
from vd_policy.messages.joints import match_names
from vd_policy.messages.types import MessageFactory, as_array

MAX_STAMP_DIGITS = len(str(MAX_STAMP_NS))


@dataclass(frozen=True)
class JointTarget:
    """Where the joints should be `duration_s` after the command."""

    positions: np.ndarray
    """Absolute joint angles [rad], float64 (J,), in the order asked for."""
    duration_s: float
    stamp_ns: int
    """The stamp of the observation it answers; 0 means now."""
    sender: str
    answers_ns: int = 0
    """The stamp of the observation it answers even where `stamp_ns` is 0, if it says so (`answering`); else 0."""


def answering(sender: str, stamp_ns: int) -> str:
    """The sender of a target that a controller shall begin at once, and the observation [ns] that it answers.

    A controller takes a stamp of 0 for "now" and any other for a time to begin at, so which command was carried out
    cannot stand there; and by time alone the answer cannot be told from a halt sent just before it.
    """
    return f"{sender}@{stamp_ns}" if stamp_ns else sender


def split_sender(frame_id: str) -> tuple[str, int]:
    """Undo `answering`: the sender, and the stamp [ns] of the observation answered, 0 where it names none."""
    sender, _, answered = frame_id.partition("@")
    return sender, int(answered) if answered.isdecimal() and len(answered) <= MAX_STAMP_DIGITS else 0


def encode_trajectory(
    factory: MessageFactory, names: Sequence[str], positions: np.ndarray, duration_s: float, stamp_ns: int, sender: str
) -> Any:
    """A trajectory of one point.

    Args:
        names: all joints, J of them.
        positions: absolute joint angles [rad], (J,).
        duration_s: time from start, the decision period [s].
        stamp_ns: stamp of the observation that this answers [ns].
        sender: who commands (see `answering`); travels in the header's `frame_id`, which a joint-space command has no
            other use for.
    """
    if len(names) != len(positions):
        raise BadInput("command positions", len(positions), f"{len(names)} values", "give one position a joint")
    point = factory.make(
        "trajectory_msgs/msg/JointTrajectoryPoint",
        positions=factory.f64(positions),
        velocities=factory.f64([]),
        accelerations=factory.f64([]),
        effort=factory.f64([]),
        time_from_start=duration(factory, duration_s),
    )
    return factory.make(
        "trajectory_msgs/msg/JointTrajectory",
        header=header(factory, stamp_ns, sender),
        joint_names=list(names),
        points=[point],
    )


def decode_trajectory(msg: Any, names: Sequence[str]) -> JointTarget:
    """The one point of a trajectory, its joints reordered to `names`. NaN passes; the gate judges values.

    Raises:
        BadInput: other joints, a length that disagrees with the names, or not exactly one point.
    """
    if len(msg.points) != 1:
        raise BadInput("command: points", len(msg.points), "exactly 1", "send one point per decision")
    columns = match_names("command", msg.joint_names, names)
    if extra := [n for n in msg.joint_names if n not in names]:
        raise BadInput("command: joint", extra[0], "only " + ", ".join(names), "name the arm's joints only")
    point = msg.points[0]
    positions = as_array(point.positions, np.float64)
    if len(positions) != len(names):
        raise BadInput("command: positions", len(positions), f"{len(names)} values", "give one position a joint")
    seconds = time_ns(point.time_from_start) / 1e9
    if seconds < 0:
        raise BadInput("command: time_from_start [s]", seconds, "at least 0", "send the decision period")
    stamp, (sender, answered) = stamp_ns(msg), split_sender(msg.header.frame_id)
    return JointTarget(positions[columns], seconds, stamp, sender, stamp or answered)
