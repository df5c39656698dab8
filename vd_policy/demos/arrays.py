"""Episode bags made into arrays: a file for each kind of value, and a ledger of the bags whose rows are in them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.errors import VdPolicyError
from vd_policy.base.files import in_turn, storage_errors, write_bytes, write_json
from vd_policy.demos.foreign import ForeignMap, read_bag
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import UnusableEpisode
from vd_policy.demos.storage import storage_files

LEDGER = "episodes.jsonl"
COMMIT_BYTES = 256 << 20
"""What a crash may cost of a conversion; syncing each episode takes three times as long."""
LATER = {"task_changes": "", "goals": "found"}
"""Values of what older arrays do not say: left out of the hashes, which stay the same."""
CACHE_SCHEMA = 2
"""Rises when the arrays change their meaning; an older cache is then converted anew."""


@dataclass(frozen=True)
class Shape:
    """What all episodes of one dataset have in common."""

    image_height: int
    image_width: int
    joints: tuple[str, ...]
    max_step_rad: float
    period_s: float
    task: str
    robot: str
    task_changes: str = ""
    """Where the task had other settings than the one of its name: which."""
    goals: str = "found"
    """Which goals the expert chose among."""

    @classmethod
    def of(cls, info: EpisodeInfo, height: int, width: int) -> Shape:
        """What an episode with pictures of this size [pixels] has in common with others."""
        return cls(height, width, info.joints, info.max_step_rad, info.period_s, info.task, info.robot,
                   info.task_changes, info.goals)  # fmt: skip

    def difference(self, other: Shape) -> tuple[str, str]:
        """The first thing that another episode has otherwise, and why it is left out; two empty texts where none is."""
        for key, value in asdict(self).items():
            if getattr(other, key) != value:
                return key, "another " + key.removesuffix("_rad").removesuffix("_s").replace("_", " ")
        return "", ""

    def check_like(self, other: Shape, name: str) -> None:
        """Refuse another episode, of this name, that differs: `UnusableEpisode`, by the first thing that does."""
        key, reason = self.difference(other)
        if key:
            allowed = f"{getattr(self, key)!r}, as in the first episode"
            raise UnusableEpisode(reason, f"{name}: {key}", getattr(other, key), allowed)

    def arrays(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Array name to type and shape of one row."""
        size, joints = (self.image_height, self.image_width), (len(self.joints),)
        return {
            "rgb": (np.dtype("u1"), (*size, 3)),
            "depth": (np.dtype("<u2"), size),
            "q": (np.dtype("<f4"), joints),
            "label": (np.dtype("<f4"), joints),
        }


@dataclass(frozen=True)
class Entry:
    """One bag in the ledger: what it was when it was read, and what came of it."""

    name: str
    fingerprint: list[list[Any]]
    """Name, size and modification time [ns] of each file of the bag."""
    rows: int
    """Pairs taken; 0 for a bag that was left out."""
    skipped: str = ""
    """Why it was left out, in a few words."""
    detail: str = ""
    steps_dropped: int = 0
    """Steps of a used bag that lack an image, joint angles or a label."""
    success: bool = False
    sha256: str = ""
    """Of its rows in all arrays, and of the shape they were read with."""


@dataclass(frozen=True)
class Source:
    """The bags to convert, and how to read them."""

    bags: list[Path]
    mapping: ForeignMap | None

    def head(self) -> str:
        """The first line of the ledger: rows read in another way are of no use."""
        return json.dumps({"schema": CACHE_SCHEMA, "map": asdict(self.mapping) if self.mapping else None})


def convert(source: Source, cache: Path, progress: Callable[[int, int], None] | None) -> list[Entry]:
    """Bring the cache up to date with the bags; returns the ledger."""
    bags, prints = source.bags, [fingerprint(bag) for bag in source.bags]
    done = _ledger(cache, source)
    if _is_prefix(done, bags, prints) and len(done) == len(bags):
        return done
    with storage_errors("converting demonstrations (--arrays puts them elsewhere)", cache), in_turn(cache / "lock"):
        done = _ledger(cache, source)  # another process may have converted them while this one waited
        if not _is_prefix(done, bags, prints):
            done = []
        if not done:
            for file in (*cache.glob("*.bin"), cache / LEDGER, cache / "shape.json"):
                file.unlink(missing_ok=True)
        with _Arrays(cache, source, done) as arrays:
            for bag, printed in zip(bags[len(done) :], prints[len(done) :]):
                done.append(arrays.add(bag, printed))
                if progress is not None:
                    progress(len(done), len(bags))
    return done


def fingerprint(bag: Path) -> list[list[Any]]:
    """Name, size and modification time of the files of a bag: says whether it is still the bag that was read."""
    files = [f for f in (bag / "metadata.yaml", *storage_files(bag)) if f.is_file()]
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]


def _is_prefix(done: list[Entry], bags: list[Path], prints: list[list[list[Any]]]) -> bool:
    expected = [(bag.name, printed) for bag, printed in zip(bags, prints)]
    return [(e.name, e.fingerprint) for e in done] == expected[: len(done)] and len(done) <= len(bags)


def _ledger(cache: Path, source: Source) -> list[Entry]:
    """The entries of whole lines; a line that a crash cut short is ignored, as is a ledger of rows read otherwise."""
    entries = []
    try:
        lines = (cache / LEDGER).read_text().splitlines()
        if not lines or lines[0] != source.head():
            return []
        for line in lines[1:]:
            entries.append(Entry(**json.loads(line)))
    except (OSError, ValueError, TypeError):
        pass
    return entries if _files_hold(cache, sum(e.rows for e in entries)) else []


def _files_hold(cache: Path, rows: int) -> bool:
    """Whether the arrays are as long as the ledger says."""
    if rows == 0:
        return True
    try:
        arrays = read_shape(cache).arrays()
        return all(_file(cache, n).stat().st_size >= rows * _row_bytes(*kind) for n, kind in arrays.items())
    except (OSError, ValueError, TypeError):
        return False


class _Arrays:
    """The array files and the ledger, open for appending."""

    def __init__(self, cache: Path, source: Source, done: list[Entry]) -> None:
        self._cache, self._source, self._done = cache, source, list(done)
        self._rows = sum(e.rows for e in done)
        self._shape = read_shape(cache) if self._rows else None
        self._files: dict[str, Any] = {}
        self._pending: list[Entry] = []
        self._pending_bytes = 0

    def __enter__(self) -> _Arrays:
        path = self._cache / LEDGER
        whole = [self._source.head(), *(json.dumps(asdict(e)) for e in self._done)]
        write_bytes(path, "".join(line + "\n" for line in whole).encode())  # without the line a crash cut short
        self._ledger = open(path, "a")
        if self._shape is not None:
            self._open_files(self._shape)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._commit()
        finally:
            for file in (*self._files.values(), self._ledger):
                file.close()

    def add(self, bag: Path, printed: list[list[Any]]) -> Entry:
        """Append the pairs of a bag, or say why it is left out."""
        try:
            entry = self._append(bag, printed)
        except UnusableEpisode as error:
            entry = Entry(bag.name, printed, 0, error.reason, str(error))
        self._pending.append(entry)
        if self._pending_bytes > COMMIT_BYTES:
            self._commit()
        return entry

    def _append(self, bag: Path, printed: list[list[Any]]) -> Entry:
        recording = read_bag(bag, self._source.mapping)
        obs, label, dropped = recording.pairs()
        shape = Shape.of(recording.info, *obs["depth"].shape[1:])
        if self._shape is None:
            write_json(self._cache / "shape.json", asdict(shape))
            self._shape = shape
            self._open_files(shape)
        else:
            self._shape.check_like(shape, bag.name)
        told = {key: value for key, value in asdict(shape).items() if value != LATER.get(key)}
        digest = hashlib.sha256(json.dumps(told).encode())
        for name, (dtype, _) in shape.arrays().items():
            rows = np.ascontiguousarray(label if name == "label" else obs[name], dtype)
            self._files[name].write(rows.data)
            self._pending_bytes += rows.nbytes
            digest.update(rows.data)
        self._rows += len(label)
        success = recording.steps()[-1][1].success
        return Entry(bag.name, printed, len(label), "", "", dropped, success, digest.hexdigest())

    def _open_files(self, shape: Shape) -> None:
        """Open the arrays behind their last entered row; what a crash wrote beyond it is overwritten."""
        for name, kind in shape.arrays().items():
            path = _file(self._cache, name)
            path.touch()
            os.truncate(path, self._rows * _row_bytes(*kind))
            self._files[name] = open(path, "ab")

    def _commit(self) -> None:
        """Make the rows durable first, then enter their bags in the ledger."""
        for file in self._files.values():
            _sync(file)
        self._ledger.write("".join(json.dumps(asdict(entry)) + "\n" for entry in self._pending))
        _sync(self._ledger)
        self._pending, self._pending_bytes = [], 0


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def read_shape(cache: Path) -> Shape:
    values = json.loads((cache / "shape.json").read_text())
    return Shape(**{**values, "joints": tuple(values["joints"])})


def _file(cache: Path, name: str) -> Path:
    return cache / f"{name}.bin"


def _row_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * int(np.prod(shape))


def map_arrays(cache: Path, shape: Shape, rows: int) -> dict[str, np.ndarray]:
    """The arrays, read-only. As plain ndarrays: indexing an `np.memmap` makes a subclass each time."""
    try:
        return {
            name: np.memmap(_file(cache, name), dtype, mode="r", shape=(rows, *row)).view(np.ndarray)
            for name, (dtype, row) in shape.arrays().items()
        }
    except (OSError, ValueError) as error:
        raise VdPolicyError(f"dataset cache {cache}: {error}; remove the directory and convert again") from error
