"""The two kinds of messages that the decoders meet: those of rosbags, and those with rclpy's kinds of fields."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from vd_policy.demos.bag import RosbagsFactory


class PlainFactory:
    """Objects with the fields of the ROS message, held as rclpy holds them (`array.array`, `bytes`)."""

    def make(self, type_name: str, **fields: Any) -> Any:
        return SimpleNamespace(**fields)

    def u8(self, data: Any) -> array.array:
        return array.array("B", np.ascontiguousarray(data).tobytes() if isinstance(data, np.ndarray) else data)

    def f64(self, values: Any) -> array.array:
        return array.array("d", values)

    def byte(self, value: int) -> bytes:
        return bytes([value])


FACTORIES = (RosbagsFactory(), PlainFactory())
