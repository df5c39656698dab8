"""Time stamps, durations and headers."""

from __future__ import annotations

from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.messages.types import MessageFactory

NS = 1_000_000_000
MAX_STAMP_NS = 2**31 * NS - 1
"""`builtin_interfaces/Time` holds seconds in an int32."""


def time_ns(time: Any) -> int:
    """A `builtin_interfaces` Time or Duration in nanoseconds."""
    return int(time.sec) * NS + int(time.nanosec)


def stamp_ns(msg: Any) -> int:
    """The header's stamp [ns]."""
    return time_ns(msg.header.stamp)


def time(factory: MessageFactory, stamp_ns: int) -> Any:
    """`builtin_interfaces/Time` of a stamp [ns]."""
    if not 0 <= stamp_ns <= MAX_STAMP_NS:
        raise BadInput("stamp [ns]", stamp_ns, f"0 to {MAX_STAMP_NS}", "use nanoseconds since the epoch")
    return factory.make("builtin_interfaces/msg/Time", sec=int(stamp_ns) // NS, nanosec=int(stamp_ns) % NS)


def duration(factory: MessageFactory, seconds: float) -> Any:
    """`builtin_interfaces/Duration` of at least 0 s, rounded to the nanosecond."""
    if not 0 <= seconds < 2**31:
        raise BadInput("duration [s]", seconds, "0 to 2^31", "give a duration in seconds")
    total = round(seconds * NS)
    return factory.make("builtin_interfaces/msg/Duration", sec=total // NS, nanosec=total % NS)


def header(factory: MessageFactory, stamp_ns: int, frame_id: str) -> Any:
    """`std_msgs/Header`."""
    return factory.make("std_msgs/msg/Header", stamp=time(factory, stamp_ns), frame_id=frame_id)
