"""Writes one episode bag so that it is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.files import TEMPORARY_PREFIX, fsync_directory, fsync_file, storage_errors, write_json
from vd_policy.base.settings import as_dict
from vd_policy.demos.factory import from_cdr, is_known, to_cdr
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.mcap_bag import McapBag
from vd_policy.demos.storage import bag_topic, check_space, episode_name, offered_qos
from vd_policy.messages.outcome import UNFINISHED, Outcome, decode_outcome
from vd_policy.messages.topics import OUTCOME, RECORDED, TOPICS

INFO_FILE = "info.json"
"""Lies beside an unfinished bag, so that a recording whose metadata was never written can be recovered."""


class EpisodeWriter:
    """One episode bag: open on construction, then `write` or `write_raw`, then `close` or `abort`.

    Until `close` returns, everything lies in a temporary directory; `close` fsyncs and renames. As a context manager it
    closes on success and aborts on an exception. Not thread-safe: one thread writes.

    Args:
        directory: where the episodes lie; made when missing.
        index: number of the episode; an existing bag of that number is never overwritten.
        info: what the bag says of itself; None for a recording of which that is not known.
        compress: zstd chunks (lossless).
        keep: after a write error leave what is on the disk for `recover`, as is right for a long session.
    """

    def __init__(
        self, directory: str | Path, index: int, info: EpisodeInfo | None, *, compress: bool = True, keep: bool = False
    ) -> None:
        self.path = Path(directory) / episode_name(index)
        self.info = info
        self.last_outcome: Outcome | None = None
        """The latest outcome written; its `last` says that the episode is over."""
        name = f"{TEMPORARY_PREFIX}{self.path.name}-{uuid.uuid4().hex[:8]}"
        self._temporary = self.path.with_name(name)
        self._channels: dict[str, tuple[int, str]] = {}
        self._checksums: Counter[str] = Counter()
        self._closed, self._given_up, self._keep = False, False, keep
        with storage_errors("recording", self.path):
            _check_free(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_space(self.path.parent)
            self._temporary.mkdir()
        self._bag = McapBag(self._temporary / self.path.name, compress=compress)
        with self._storage():
            if info is not None:
                write_json(self._temporary / INFO_FILE, as_dict(info))
            self._bag.open()
            for topic in RECORDED if info is not None else ():  # in every bag, silent or not: its count then says 0
                self._connect(topic, TOPICS[topic].type)

    @property
    def message_count(self) -> int:
        """Messages written so far."""
        return self._bag.message_count

    def write(self, topic: str, msg: Any, t_ns: int) -> None:
        """One rosbags message, received at `t_ns` [ns]."""
        self.write_raw(topic, msg.__msgtype__, to_cdr(msg), t_ns)

    def write_raw(
        self, topic: str, type_name: str, cdr: bytes | memoryview, t_ns: int, *, latched: bool = False
    ) -> None:
        """One serialised message, as a ``raw=True`` subscription hands it over; it is not decoded.

        Args:
            topic: the name in the topic table (or an absolute name for a topic outside it).
            type_name: for example ``"sensor_msgs/msg/Image"``.
            cdr: the message.
            t_ns: when it was received [ns].
            latched: for a topic outside the table: a replay shall latch it.

        Raises:
            BadInput: the topic has another type than before, or the type is unknown.
            VdPolicyError: the disk is full or cannot be written; the open episode is lost, earlier ones are not.
        """
        if topic not in self._channels:
            with self._storage():
                self._connect(topic, type_name, latched)
        channel, type_before = self._channels[topic]
        if type_before != type_name:
            raise BadInput(f"type of {topic}", type_name, type_before, "one topic has one type")
        if topic == OUTCOME:
            with suppress(BadInput):  # a session and a recovered bag keep what came, readable or not
                self.last_outcome = decode_outcome(from_cdr(cdr, type_name))
        with self._storage():
            self._bag.write(channel, t_ns, cdr)
        self._checksums[topic] += zlib.crc32(cdr)

    def close(self, extra: Mapping[str, str] | None = None) -> Path:
        """Finish the bag, make it durable and give it its name; returns its path. A second call does nothing.

        Args:
            extra: more ``custom_data``.
        """
        if self._closed:
            return self.path
        if self._given_up:
            raise VdPolicyError(f"recording: {self.path} was given up at an earlier error")
        custom = {**(self.info.to_custom() if self.info else {}), **closing_data(self.last_outcome), **(extra or {})}
        custom["checksums"] = json.dumps({bag_topic(t): total & (2**64 - 1) for t, total in self._checksums.items()})
        with self._storage():
            self._bag.close(custom)
            publish(self._temporary / self.path.name, self.path)
            shutil.rmtree(self._temporary)
        self._closed = True
        return self.path

    def abort(self) -> None:
        """Drop the open episode."""
        self._let_go()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _let_go(self) -> None:
        self._given_up = True
        with suppress(OSError):  # a full disk refuses the last buffer too
            self._bag.abort()

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _connect(self, topic: str, type_name: str, latched: bool = False) -> None:
        if not is_known(type_name):
            raise BadInput(f"type of {topic}", type_name, "a standard ROS 2 Jazzy message", "leave the topic out")
        self._channels[topic] = self._bag.add_topic(bag_topic(topic), type_name, offered_qos(topic, latched)), type_name

    @contextmanager
    def _storage(self) -> Iterator[None]:
        """Turn a failing disk into one clear error, and take the half-written episode off it, or keep it."""
        try:
            with storage_errors("recording", self.path):
                yield
        except BadInput:
            raise
        except VdPolicyError as error:
            if not self._keep:
                self.abort()
                raise
            self._let_go()
            saved = f"what had reached the disk is kept: `vd_policy recover {self.path.parent}`"
            raise VdPolicyError(f"{error}; {saved}") from error


def closing_data(outcome: Outcome | None) -> dict[str, str]:
    """The part of ``custom_data`` that is known when the episode is over."""
    if outcome is None:
        return {"outcome": UNFINISHED}
    return {
        "outcome": outcome.ending,
        "reason": outcome.reason,
        "steps": str(outcome.step),
        "seed": str(outcome.seed),
        "scene": json.dumps(outcome.scene),
    }


def publish(source: Path, target: Path) -> None:
    """Make a finished bag durable and give it its final name, which must be free."""
    for file in source.iterdir():
        fsync_file(file)
    fsync_directory(source)
    _check_free(target)
    os.rename(source, target)
    fsync_directory(target.parent)


def _check_free(target: Path) -> None:
    if target.exists():
        raise BadInput("episode bag", str(target), "a number that is not taken", "use next_index(directory)")
