"""A rosbag2 bag with MCAP storage that is being written, through the mcap library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import CompressionType, Writer

from vd_policy.demos.factory import definition
from vd_policy.demos.metadata import BagTopic, Qos, document, information, qos_text

CHUNK_BYTES = 1 << 20
"""A chunk goes to the disk when it has become larger than this, uncompressed."""
_NEVER_NS = 2**63 - 1
"""What rosbag2 says of a bag without messages."""


class McapBag:
    """One directory with an MCAP file, and with ``metadata.yaml`` once it is closed: `open`, `add_topic`, `write`,
    then `close` or `abort`.

    Args:
        path: the bag's directory, which must not exist.
        compress: zstd chunks (lossless).
    """

    def __init__(self, path: Path, *, compress: bool) -> None:
        self._path, self._file = path, path / f"{path.name}.mcap"
        self._compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._stream: BinaryIO | None = None
        self._schemas: dict[str, int] = {}
        self._topics: list[BagTopic] = []
        self._counts: list[int] = []
        self._first_ns, self._last_ns = _NEVER_NS, 0

    @property
    def message_count(self) -> int:
        """Messages written so far."""
        return sum(self._counts)

    def open(self) -> None:
        """Make the directory and begin the file."""
        self._path.mkdir()
        self._stream = open(self._file, "xb")
        self._writer = Writer(self._stream, CHUNK_BYTES, self._compression)
        self._writer.start(profile="ros2")

    def add_topic(self, name: str, type_name: str, qos: Qos) -> int:
        """Open a channel for a topic (absolute) of a known type; returns its number."""
        text, type_hash = definition(type_name)
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(type_name, SchemaEncoding.ROS2, text.encode())
        self._topics.append(BagTopic(name, type_name, type_hash, qos))
        self._counts.append(0)
        metadata = {"offered_qos_profiles": qos_text(qos)}
        return self._writer.register_channel(name, MessageEncoding.CDR, self._schemas[type_name], metadata)

    def write(self, channel: int, t_ns: int, cdr: bytes | memoryview) -> None:
        """One serialised message, received at `t_ns` [ns]."""
        self._writer.add_message(channel, t_ns, bytes(cdr), t_ns)
        self._counts[channel - 1] += 1
        self._first_ns, self._last_ns = min(self._first_ns, t_ns), max(self._last_ns, t_ns)

    def close(self, custom: Mapping[str, str]) -> None:
        """Finish the file, with ``custom_data``, and write the metadata."""
        text = information(self._file.name, self._first_ns, self._last_ns, self._topics, self._counts, custom)
        assert self._stream is not None
        self._writer.add_metadata("rosbag2", {"serialized_metadata": text.strip()})
        self._writer.finish()
        self._stream.close()
        (self._path / "metadata.yaml").write_text(document(text), "utf-8")

    def abort(self) -> None:
        """Leave what has reached the disk as it is, without an index and metadata."""
        if self._stream is not None:
            self._stream.close()
