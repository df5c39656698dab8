"""Messages as they came off the wire, on their way into a bag."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from vd_policy.demos.factory import frame_in_front, from_cdr, stamp_in_front
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.topics import TOPICS, TRAJECTORY
from vd_policy.messages.trajectory import split_sender

TRANSFORMS = "tf2_msgs/msg/TFMessage"


class Raw(NamedTuple):
    """One message as a ``raw=True`` subscription hands it over."""

    topic: str
    stamp_ns: int
    """Of its header, or of the observation that an executed command names; 0 for a type without a header."""
    cdr: bytes
    received_ns: int
    """When DDS got it, by the wall clock [ns]: callbacks of several topics come in any order, and late."""
    type_name: str
    latched: bool = False
    """A late subscriber would still have got it."""


def raw_message(topic: str, cdr: bytes, received_ns: int) -> Raw:
    """A message of a recorded topic of the table: in every one of those types the header's stamp stands first."""
    stamp = stamp_in_front(cdr)
    if stamp == 0 and topic == TRAJECTORY:
        stamp = split_sender(frame_in_front(cdr))[1]
    return Raw(topic, stamp, cdr, received_ns, TOPICS[topic].type)


def received_ns(info: Mapping[str, Any]) -> int:
    """The time of receipt in rclpy's message info [ns]; now, where the middleware does not say."""
    return int(info["received_timestamp"]) or time.time_ns()


def write(writer: EpisodeWriter, message: Raw) -> None:
    """Into an open bag."""
    writer.write_raw(message.topic, message.type_name, message.cdr, message.received_ns, latched=message.latched)


class Latched:
    """What still holds of every latched topic, so that each bag can begin with it.

    The last message; of transforms, which several nodes may publish, each that no later one is about.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Raw]] = {}

    def hear(self, message: Raw) -> None:
        if message.latched:
            told = _frames(message)
            kept = [m for m in self._kept.get(message.topic, []) if not _frames(m) <= told]
            self._kept[message.topic] = [*kept, message]

    def repeat(self, writer: EpisodeWriter, received_ns: int) -> None:
        """Write what still holds as if it came at this time."""
        for messages in self._kept.values():
            for message in messages:
                write(writer, message._replace(received_ns=received_ns))


def _frames(message: Raw) -> frozenset[str]:
    """The frames that a message of transforms is about; of any other type the topic alone."""
    if message.type_name != TRANSFORMS:
        return frozenset()
    return frozenset(t.child_frame_id for t in from_cdr(message.cdr, TRANSFORMS).transforms)
