"""Opens any rosbag2 bag and gives its messages, not decoded.

MCAP goes through the mcap library, which opens a bag in 1 ms where rosbags takes 25 (it parses every QoS profile with a
pure-Python YAML reader); sqlite3 and compressed files go through rosbags.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from vd_policy.base.errors import BadInput
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.storage import storage_files, table_name

MAX_METADATA_BYTES = 16 << 20
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnusableEpisode(BadInput):
    """An episode that no learner can use; `reason` is the short name under which it is counted."""

    def __init__(self, reason: str, what: str, value: Any, allowed: str, fix: str = "leave it out") -> None:
        super().__init__(what, value, allowed, fix)
        self.reason = reason


class RawMessage(NamedTuple):
    """One message of a bag, not decoded."""

    topic: str
    """As in the bag, absolute."""
    type_name: str
    log_ns: int
    """When it was received [ns]."""
    cdr: bytes
    latched: bool = False
    """Its publisher kept it for late subscribers; told only by `recover`."""


@dataclass(frozen=True)
class Bag:
    """An open bag: what it says of itself, and its messages in the order they were received."""

    path: Path
    custom: dict[str, str]
    """``custom_data``."""
    types: dict[str, str]
    """Topic in the bag -> type."""
    counts: dict[str, int]
    """Topic in the bag -> messages, as the metadata says."""
    storage: str
    """``mcap`` or ``sqlite3``."""
    _read: Callable[[list[str]], Iterator[RawMessage]]

    def table_names(self) -> dict[str, str]:
        """Topic in the bag -> name in the topic table, for the topics we know."""
        named = {topic: table_name(topic, list(self.types)) for topic in self.types}
        return {topic: name for topic, name in named.items() if name is not None}

    def info(self) -> EpisodeInfo:
        """What it says of itself; `BadInput` when nobody wrote that down."""
        return EpisodeInfo.from_custom(self.custom, f"{self.path.name}: custom_data")

    def messages(self, topics: set[str] | None = None) -> Iterator[RawMessage]:
        """The messages, optionally of these topics (names in the bag) only.

        Raises:
            UnusableEpisode: ``unreadable``: the storage is truncated or damaged.
        """
        wanted = [t for t in self.types if topics is None or t in topics]
        if not wanted:
            return
        try:
            yield from self._read(wanted)
        except Exception as error:  # damaged bytes raise anything from McapError to struct.error and UnicodeDecodeError
            raise _unreadable(self.path, error) from error

    def damaged_topics(self) -> list[str]:
        """Topics whose messages are not those that were written, by the sums of CRC-32 in ``custom_data``."""
        try:
            stored = dict(json.loads(self.custom.get("checksums", "{}")))
        except (ValueError, TypeError) as error:
            raise _unreadable(self.path, error) from error
        found = checksums(self.messages(set(stored)))
        return sorted(topic for topic, total in stored.items() if found.get(topic, 0) != total)


def checksums(messages: Iterator[RawMessage]) -> dict[str, int]:
    """Per topic the sum of the CRC-32 of its messages, modulo 2^64: the order of messages does not matter."""
    sums: Counter[str] = Counter()
    for message in messages:
        sums[message.topic] += zlib.crc32(message.cdr)
    return {topic: total & (2**64 - 1) for topic, total in sums.items()}


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """An existing bag: MCAP or sqlite3, compressed or not, in one file or split.

    Raises:
        UnusableEpisode: ``unreadable``, with what is wrong: no metadata, truncated, damaged, an unknown storage.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            bag = _open(path, stack)
        except Exception as error:  # as in Bag.messages
            raise _unreadable(path, error) from error
        yield bag


def _open(path: Path, stack: ExitStack) -> Bag:
    metadata = _metadata(path)
    topics = [(t["topic_metadata"], int(t["message_count"])) for t in metadata["topics_with_message_count"]]
    storage = str(metadata["storage_identifier"])
    compressed = str(metadata.get("compression_mode") or "none").lower() not in ("none", "storage")
    if storage == "mcap" and not compressed:
        files = [path / PurePath(name).name for name in metadata["relative_file_paths"]]
        read = _mcap_messages([make_reader(stack.enter_context(open(file, "rb"))) for file in files])
    else:
        read = _rosbags_messages(stack.enter_context(Reader(path)))
    custom = metadata.get("custom_data") or {}
    return Bag(
        path=path,
        custom={str(k): str(v) for k, v in custom.items()},
        types={t["name"]: t["type"] for t, _ in topics},
        counts={t["name"]: count for t, count in topics},
        storage=storage,
        _read=read,
    )


def _mcap_messages(readers: list[Any]) -> Callable[[list[str]], Iterator[RawMessage]]:
    for reader in readers:
        if reader.get_summary() is None:
            raise ValueError("the MCAP file has no summary: it was not closed")

    def read(topics: list[str]) -> Iterator[RawMessage]:
        for reader in readers:
            for schema, channel, message in reader.iter_messages(topics=topics):
                yield RawMessage(channel.topic, schema.name, message.log_time, message.data)

    return read


def _rosbags_messages(reader: Reader) -> Callable[[list[str]], Iterator[RawMessage]]:
    def read(topics: list[str]) -> Iterator[RawMessage]:
        wanted = [c for c in reader.connections if c.topic in topics]
        for connection, log_ns, cdr in reader.messages(wanted):
            yield RawMessage(connection.topic, connection.msgtype, log_ns, bytes(cdr))

    return read


def custom_data(path: Path) -> dict[str, str]:
    """What a bag says of itself, without opening its storage; empty where it says nothing."""
    try:
        return {str(k): str(v) for k, v in (_metadata(path).get("custom_data") or {}).items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return {}


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.yaml"
    if file.stat().st_size > MAX_METADATA_BYTES:
        raise ValueError(f"metadata.yaml is larger than {MAX_METADATA_BYTES} bytes")
    return yaml.load(file.read_bytes(), _YamlLoader)["rosbag2_bagfile_information"]


def _unreadable(path: Path, error: Exception) -> UnusableEpisode:
    if not (path / "metadata.yaml").is_file():
        symptom = "no metadata.yaml" + ("" if storage_files(path) else " and no storage file")
    else:
        symptom = f"{type(error).__name__}: {error}".replace(f"{path}/", "")
    return UnusableEpisode("unreadable", f"bag {path.name}", symptom, "a whole rosbag2 bag",
                           "try `vd_policy recover` on its directory")  # fmt: skip
