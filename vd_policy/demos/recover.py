"""Salvages what a crash left of a recording: every message that reached the disk whole, in a new bag.

The original is only read. A recording that was killed has no summary, and its last chunk may be cut off; a bag that was
copied badly may miss its end. Chunks are unpacked as far as they go, messages taken as far as they are whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import zstandard
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import build, load_yaml
from vd_policy.demos.factory import is_known
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import RawMessage, UnusableEpisode, custom_data, open_bag
from vd_policy.demos.storage import bag_paths, bag_topic, episode_name, next_index, storage_files, unfinished_paths
from vd_policy.demos.writer import INFO_FILE, EpisodeWriter
from vd_policy.messages.topics import RECORDED

RECOVERED = "recovered"
FROM = "recovered_from"
"""In a recovered bag's custom data: the name of the recording that it was made of."""
MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK_BYTES = 1 << 30
_CHUNK, _DATA_END = 0x06, 0x0F
_RECORD_HEAD, _CHUNK_HEAD = 9, 32
"""Opcode and length of a record; start, end, size, CRC and length of the compression's name of a chunk."""


@dataclass(frozen=True)
class Salvage:
    """What came of one broken recording."""

    source: Path
    target: Path | None
    """The new bag, or None when there was nothing to save."""
    messages: int
    steps: int
    topics_dropped: tuple[str, ...] = ()
    """Topics whose type we cannot write."""
    symptom: str = ""


def recover(directory: str | Path, out: str | Path | None = None) -> list[Salvage]:
    """Salvage every recording in `directory` that was never closed or does not read.

    Args:
        directory: of episode bags, or one bag.
        out: where the new bags go; ``<directory>/recovered`` by default.

    Returns:
        One report for each broken recording that was not recovered by an earlier run.
    """
    directory = Path(directory)
    out = directory / RECOVERED if out is None else Path(out)
    found, family = broken(directory), _family(directory)
    done = recovered(out)
    return [_attempt(source, symptom, out, family) for source, symptom in found if source.name not in done]


def recovered(out: Path) -> dict[str, Path]:
    """The bags in `out` that earlier runs made of broken recordings, by the names of those."""
    bags = bag_paths(out) if out.is_dir() else []
    sources = ((custom_data(bag).get(FROM), bag) for bag in bags)
    return {source: bag for source, bag in sources if source}


def broken(directory: Path) -> list[tuple[Path, str]]:
    """The recordings that were never closed or do not read, and what is wrong with each."""
    bags = bag_paths(directory)
    found = [(path, "never closed") for path in unfinished_paths(directory)]
    for bag in bags:
        try:
            with open_bag(bag) as opened:
                if damaged := opened.damaged_topics():
                    found.append((bag, f"damaged: {', '.join(damaged)}"))
                elif sum(1 for _ in opened.messages()) != sum(opened.counts.values()):
                    found.append((bag, "messages are missing"))
        except UnusableEpisode as error:
            found.append((bag, str(error.value)))
    return found


def _family(directory: Path) -> EpisodeInfo | None:
    """What a whole bag of the same directory says of itself, for a broken one that cannot say it any more."""
    for bag in bag_paths(directory):
        try:
            return EpisodeInfo.from_custom(custom_data(bag), bag.name)
        except BadInput:
            continue
    return None


def _attempt(source: Path, symptom: str, out: Path, family: EpisodeInfo | None) -> Salvage:
    """One recording that cannot be salvaged does not stand in the way of the others."""
    try:
        return _salvage(source, symptom, out, family)
    except BadInput as error:
        return Salvage(source, None, 0, 0, symptom=f"{symptom}; {error}")


def _salvage(source: Path, symptom: str, out: Path, family: EpisodeInfo | None) -> Salvage:
    bag = next((p for p in sorted(source.iterdir()) if p.is_dir()), source)  # unfinished bags lie one level deeper
    files = [file for file in storage_files(bag) if file.suffix == ".mcap"]
    messages = (message for file in files for message in complete_messages(file))
    first = next(messages, None)
    if first is None:
        return Salvage(source, None, 0, 0, symptom=f"{symptom}; {_why_nothing(bag, files)}")
    dropped: set[str] = set()
    with EpisodeWriter(out, _free_index(bag, out), _info(source, bag, family)) as writer:
        for message in chain([first], messages):
            name, kind = _written_name(message.topic), message.type_name
            if is_known(kind):
                writer.write_raw(name, kind, message.cdr, message.log_ns, latched=message.latched)
            else:
                dropped.add(message.topic)
        count = writer.message_count
        target = writer.close({FROM: source.name})
    steps = writer.last_outcome.step if writer.last_outcome is not None else 0
    return Salvage(source, target, count, steps, tuple(sorted(dropped)), symptom)


def _why_nothing(bag: Path, files: list[Path]) -> str:
    if files:
        return "no complete message"
    kinds = {file.suffix for file in storage_files(bag)}
    if not kinds:
        return "it ended before anything was written, and may be deleted"
    if kinds == {".db3"}:
        return "sqlite3 keeps nothing of an open recording; if it was closed, `ros2 bag reindex` may read it"
    return "only MCAP files that are not compressed as a whole are salvaged; `ros2 bag reindex` may read it"


def _written_name(topic: str) -> str:
    """The table's name of a topic of ours, else the topic."""
    return topic[1:] if topic[1:] in RECORDED and bag_topic(topic[1:]) == topic else topic


def _free_index(bag: Path, out: Path) -> int:
    """The episode's own number where that is free."""
    number = bag.name.rpartition("_")[2]
    if number.isdigit() and not (out / episode_name(int(number))).exists():
        return int(number)
    return next_index(out)


def _info(source: Path, bag: Path, family: EpisodeInfo | None) -> EpisodeInfo | None:
    """What the recording was: from beside it, from its own metadata, or from its neighbours."""
    try:
        return build(EpisodeInfo, load_yaml(source / INFO_FILE), INFO_FILE)  # JSON is YAML
    except BadInput:
        pass
    try:
        return EpisodeInfo.from_custom(custom_data(bag), bag.name)
    except BadInput:
        return family


def complete_messages(file: Path) -> Iterator[RawMessage]:
    """Every whole message of an MCAP file, however it ends; damaged chunks are passed over."""
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    with open(file, "rb") as stream:
        for record in _whole_records(stream):
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message) and record.channel_id in channels:
                channel = channels[record.channel_id]
                kind, latched = schemas.get(channel.schema_id, ""), _is_latched(channel)
                yield RawMessage(channel.topic, kind, record.log_time, record.data, latched)


def _is_latched(channel: Channel) -> bool:
    """Whether the QoS that rosbag2 keeps with a channel is transient local: 1 up to version 8, in words after it."""
    durability = re.search(r"durability: *(\w+)", channel.metadata.get("offered_qos_profiles", ""))
    return durability is not None and durability.group(1) in ("1", "transient_local")


def _whole_records(stream: BinaryIO) -> Iterator[Any]:
    if stream.read(len(MAGIC)) != MAGIC:
        return
    while len(head := stream.read(_RECORD_HEAD)) == _RECORD_HEAD and head[0] != _DATA_END:
        length = int.from_bytes(head[1:], "little")
        body = stream.read(min(length, MAX_CHUNK_BYTES))
        if head[0] == _CHUNK:
            yield from _parsed(_unpacked(body))
        elif len(body) == length:
            yield from _parsed(head + body)
        if len(body) < length:
            return


def _parsed(data: bytes) -> Iterator[Any]:
    """Records in `data` up to the first one that is cut off or damaged."""
    try:
        yield from StreamReader(BytesIO(data), skip_magic=True, record_size_limit=MAX_CHUNK_BYTES).records
    except Exception:  # mcap raises McapError, EndOfFile, struct.error or UnicodeDecodeError there: the rest is lost
        return


def _unpacked(body: bytes) -> bytes:
    """The records of a chunk, of which the end may be missing: as much as its compression gives back."""
    if len(body) < _CHUNK_HEAD:
        return b""
    size, name_end = int.from_bytes(body[16:24], "little"), _CHUNK_HEAD + int.from_bytes(body[28:32], "little")
    compression, packed = body[_CHUNK_HEAD:name_end], body[name_end + 8 :]
    limit = min(size, MAX_CHUNK_BYTES)
    if compression == b"zstd":
        return _prefix(zstandard.ZstdDecompressor().stream_reader(BytesIO(packed)), limit)
    if compression == b"lz4":
        return _prefix(lz4.frame.open(BytesIO(packed)), limit)
    return packed if compression == b"" else b""


def _prefix(stream: Any, limit: int) -> bytes:
    """What a decompressor gives before it meets the end or damage, at most `limit` bytes."""
    out = bytearray()
    try:
        while len(out) < limit and (piece := stream.read(min(1 << 16, limit - len(out)))):
            out += piece
    except (zstandard.ZstdError, RuntimeError, EOFError, OSError):
        pass
    return bytes(out)


def figures(salvages: list[Salvage]) -> dict[str, Any]:
    """For scripts."""
    return {
        "broken": len(salvages),
        "recovered": sum(s.target is not None for s in salvages),
        "messages": sum(s.messages for s in salvages),
        "steps": sum(s.steps for s in salvages),
        "recordings": [json.loads(json.dumps(s.__dict__, default=str)) for s in salvages],
    }


def describe(salvages: list[Salvage]) -> str:
    """For people: a line a recording."""
    lines = []
    for s in salvages:
        what = f"{s.messages} messages, {s.steps} steps -> {s.target}" if s.target else "nothing to save"
        dropped = f"; left out, of unknown type: {', '.join(s.topics_dropped)}" if s.topics_dropped else ""
        lines.append(f"{s.source.name}: {s.symptom}: {what}{dropped}")
    return "\n".join(lines) or "nothing to recover"
