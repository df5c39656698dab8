"""Messages as rosbags knows them: made, serialised to CDR and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from vd_policy.base.errors import BadInput


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The message types of ROS 2 Jazzy, shared in the process: each type is compiled at its first use."""
    return get_typestore(Stores.ROS2_JAZZY)


class RosbagsFactory:
    """Makes rosbags messages (the `MessageFactory` of `vd_policy.messages.types`)."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of ``"sensor_msgs/msg/Image"`` with all of its fields given."""
        return typestore().types[type_name](**fields)

    def u8(self, data: bytes | np.ndarray) -> np.ndarray:
        """Bytes as a ``uint8[]``, without a copy."""
        return np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)

    def f64(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Numbers as a ``float64[]``."""
        return np.asarray(values, np.float64)

    def byte(self, value: int) -> int:
        """One ``byte``."""
        return value


def to_cdr(msg: Any) -> memoryview:
    """The CDR bytes of a rosbags message, the same that a ``raw=True`` subscription hands over."""
    return typestore().serialize_cdr(msg, msg.__msgtype__)


def from_cdr(data: bytes | memoryview, type_name: str) -> Any:
    """The message in CDR bytes; `BadInput` when they are not of that type."""
    try:
        return typestore().deserialize_cdr(data, type_name)
    except Exception as error:  # rosbags compiles its parsers: what they raise on wrong bytes is not specified
        raise BadInput("message bytes", f"{type(error).__name__}: {error}", f"CDR of {type_name}",
                       "the message is damaged or of another type") from None  # fmt: skip


def is_known(type_name: str) -> bool:
    """A standard ROS 2 Jazzy message."""
    return type_name in typestore().types


@lru_cache(maxsize=256)
def definition(type_name: str) -> tuple[str, str]:
    """The definition of a known type with those of its parts, as a bag keeps it, and its RIHS01 hash."""
    return typestore().generate_msgdef(type_name, ros_version=2)[0], typestore().hash_rihs01(type_name)


@lru_cache(maxsize=256)
def has_header(type_name: str) -> bool:
    """A known type whose first field is a `std_msgs/Header`, so that its stamp stands first in the CDR bytes."""
    if not is_known(type_name):
        return False
    fields = typestore().fielddefs[type_name][1]
    return bool(fields) and fields[0][1] == (Nodetype.NAME, "std_msgs/msg/Header")


def stamp_in_front(cdr: bytes | memoryview) -> int:
    """The stamp [ns] of a message that begins with its header, without decoding it; 0 where it is cut short."""
    if len(cdr) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return seconds * 1_000_000_000 + nanoseconds


def frame_in_front(cdr: bytes) -> str:
    """The frame of a message that begins with its header, likewise; empty where it is cut short."""
    if len(cdr) < 16:
        return ""
    (length,) = struct.unpack_from("<I" if cdr[1] & 1 else ">I", cdr, 12)
    return cdr[16 : 16 + length].rstrip(b"\0").decode(errors="replace")
