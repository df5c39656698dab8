"""Messages as they came off the wire, on their way into a bag."""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.topics import TOPICS


class Raw(NamedTuple):
    """One message as a ``raw=True`` subscription hands it over."""

    topic: str
    stamp_ns: int
    """Of its header; 0 for a type without one."""
    cdr: bytes
    received_ns: int
    """Wall-clock time [ns]."""
    type_name: str
    latched: bool = False
    """A late subscriber would still have got it."""


def raw_message(topic: str, cdr: bytes, received_ns: int) -> Raw:
    """A message of a recorded topic of the table: in every one of those types the header's stamp stands first."""
    return Raw(topic, stamp_in_front(cdr), cdr, received_ns, TOPICS[topic].type)


def stamp_in_front(cdr: bytes) -> int:
    """The stamp [ns] of a message that begins with its header."""
    seconds, nanoseconds = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return seconds * 1_000_000_000 + nanoseconds


def write(writer: EpisodeWriter, message: Raw) -> None:
    """Into an open bag."""
    writer.write_raw(message.topic, message.type_name, message.cdr, message.received_ns, latched=message.latched)


class Latched:
    """The last message of every latched topic, so that each bag can begin with them."""

    def __init__(self) -> None:
        self._last: dict[str, Raw] = {}

    def hear(self, message: Raw) -> None:
        if message.latched:
            self._last[message.topic] = message

    def repeat(self, writer: EpisodeWriter) -> None:
        """Write what still holds as if it came now."""
        for message in self._last.values():
            write(writer, message._replace(received_ns=time.time_ns()))
