"""Records whatever comes between a start and a stop into one bag: for robots on which no task judges episodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from vd_policy.base.errors import VdPolicyError
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.storage import check_space, next_index
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.nodes.raw import Latched, Raw, write

CHECK_BYTES, CHECK_NS = 64e6, 1_000_000_000
"""How much is written, and the time that passes, between two looks at the free space."""


class SessionRecorder:
    """One bag from start to stop, every message as it came.

    Args:
        directory: where the bags go; numbering goes on after those that are there.
        info: what each bag says of itself; the sequence number is filled in.
        episodes: close no more bags than this; 0 = no target.
        min_free_bytes: a disk with less space ends the recording; what is open is closed and kept.
        compress: as for `EpisodeWriter`.

    Raises:
        VdPolicyError: the disk is full or cannot be written; closed bags are intact.
    """

    def __init__(
        self, directory: Path, info: EpisodeInfo, *, episodes: int = 0, min_free_bytes: int = 0, compress: bool = True
    ) -> None:
        self.counts: Counter[str] = Counter(samples=0, episodes=0, messages=0, ignored=0)
        self.recording = True
        self._directory, self._info, self._min_free_bytes, self._compress = directory, info, min_free_bytes, compress
        self._target_episodes = episodes
        self._writer: EpisodeWriter | None = None
        self._unchecked, self._checked_ns = 0, 0
        self._latched = Latched()

    @property
    def target_reached(self) -> bool:
        return 0 < self._target_episodes <= self.counts["episodes"]

    def take(self, message: Raw, _ready: bool = True) -> None:
        """One message, in the order of arrival; a bag is opened for the first."""
        self._latched.hear(message)
        if not self.recording or self.target_reached:
            self.counts["ignored"] += 1
            return
        if self._writer is None:
            self._begin(message.received_ns)
            if message.latched:
                return  # written with the other latched ones
        self._write(message)
        self.counts["messages"] += 1
        self._check_space(len(message.cdr), message.received_ns)

    def stop(self) -> None:
        """Close the open bag and keep it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            self.counts["episodes"] += 1

    def _write(self, message: Raw) -> None:
        assert self._writer is not None
        try:
            write(self._writer, message)
        except VdPolicyError:
            self._writer = None  # what it wrote is left to `recover`
            raise

    def _begin(self, received_ns: int) -> None:
        check_space(self._directory, self._min_free_bytes)
        index = next_index(self._directory)
        info = replace(self._info, sequence=index)
        self._writer = EpisodeWriter(self._directory, index, info, compress=self._compress, keep=True)
        self._latched.repeat(self._writer, received_ns)

    def _check_space(self, written: int, now_ns: int) -> None:
        self._unchecked += written
        if self._unchecked < CHECK_BYTES and now_ns - self._checked_ns < CHECK_NS:
            return
        self._unchecked, self._checked_ns = 0, now_ns
        try:
            check_space(self._directory, self._min_free_bytes)
        except VdPolicyError:
            self.stop()
            raise
