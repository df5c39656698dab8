"""What makes a message: the seam between this room and rclpy or rosbags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class MessageFactory(Protocol):
    """Makes messages of one library: rclpy's in `nodes/`, rosbags' in `demos/`."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of ``"sensor_msgs/msg/Image"`` with all of its fields given."""

    def u8(self, data: bytes | np.ndarray) -> Any:
        """Bytes as that library holds a ``uint8[]``."""

    def f64(self, values: Sequence[float] | np.ndarray) -> Any:
        """Numbers as that library holds a ``float64[]``."""

    def byte(self, value: int) -> Any:
        """One ``byte`` (``bytes`` of length 1 in rclpy, an int in rosbags)."""


def as_array(data: Any, dtype: np.dtype | type) -> np.ndarray:
    """A primitive array field as NumPy: without a copy from ``bytes``, ``array.array`` and ndarray, else copied."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return np.frombuffer(data, dtype) if len(data) else np.zeros(0, dtype)
    return np.asarray(data, dtype)
