"""Where episode bags lie in a directory of demonstrations, and what a crash leaves there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vd_policy.base.errors import BadInput, Missing, VdPolicyError
from vd_policy.base.files import TEMPORARY_PREFIX
from vd_policy.demos.metadata import Qos
from vd_policy.messages.topics import RECORDED, TOPICS

MIN_FREE_BYTES = 64 << 20
"""No new episode is begun on a disk with less than this left."""
STORAGE_FILES = ("*.mcap", "*.db3", "*.mcap.zstd", "*.db3.zstd")
_EPISODE = re.compile(r"episode_(\d{6,})")


def episode_name(index: int) -> str:
    """``episode_000042``."""
    return f"episode_{index:06d}"


def bag_paths(directory: Path) -> list[Path]:
    """Every bag directly under `directory`, or the directory itself when it is one, in the order of their names.

    A bag is a directory named as one, or one that holds ``metadata.yaml`` or a storage file: a broken bag is listed
    too, so that whoever reads it can say what is wrong.
    """
    directory = Path(directory)
    with _readable(directory):
        if not directory.is_dir():
            raise Missing("directory of demonstrations", str(directory), "a directory that exists", "check the path")
        if is_bag(directory):
            return [directory]
        found = [p for p in directory.iterdir() if p.is_dir() and not p.name.startswith(".")]
        return sorted((p for p in found if episode_index(p) is not None or is_bag(p)), key=_order)


def episode_paths(directory: Path) -> dict[int, Path]:
    """The numbered bags under `directory`, which recordings of ours make, in order; other bags are somebody's own."""
    numbered = {episode_index(bag): bag for bag in bag_paths(directory) if bag != directory}
    return {index: bag for index, bag in numbered.items() if index is not None}


def episode_index(bag: Path) -> int | None:
    """The number of a bag that is named as an episode of ours; None of another one."""
    match = _EPISODE.fullmatch(bag.name)
    return int(match.group(1)) if match else None


def unfinished_paths(directory: Path) -> list[Path]:
    """The temporary directories of recordings that were never closed."""
    return sorted(p for p in Path(directory).glob(f"{TEMPORARY_PREFIX}episode_*") if p.is_dir())


def storage_files(bag: Path) -> list[Path]:
    """The MCAP and sqlite3 files of a bag."""
    return sorted(file for pattern in STORAGE_FILES for file in bag.glob(pattern))


def next_index(directory: Path) -> int:
    """One more than the highest episode number in `directory`, whole or unfinished; 0 where there is none."""
    with _readable(directory):
        if not Path(directory).is_dir():
            return 0
        names = [p.name.removeprefix(TEMPORARY_PREFIX) for p in Path(directory).iterdir()]
    return max((int(m.group(1)) + 1 for m in map(_EPISODE.match, names) if m), default=0)


def check_space(directory: Path, needed_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse to begin what the disk cannot hold, instead of failing in the middle of it."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise VdPolicyError(
            f"recording: {free / 1e6:.0f} MB are free at {directory}, {needed_bytes / 1e6:.0f} MB are needed; what was "
            "saved before is intact; free space or choose another directory"
        )


def offered_qos(topic: str, latched: bool = False) -> Qos:
    """The QoS a replay offers: that of the topic table, else reliable with depth 10, latched or volatile."""
    known = TOPICS.get(topic)
    return Qos(known.depth, known.reliable, known.latched) if known else Qos(10, True, latched)


def bag_topic(name: str) -> str:
    """The name in the bag: absolute, as rosbag2 has it. The table's relative names stand in the root namespace."""
    return name if name.startswith("/") else f"/{name}"


def table_name(topic: str, among: Sequence[str] = ()) -> str | None:
    """The name in the topic table of a bag's topic: the same name, or one in a namespace when no other fits it."""
    for name in RECORDED:
        if topic == bag_topic(name):
            return name
        if topic.endswith(bag_topic(name)):
            rivals = [t for t in among if t.endswith(bag_topic(name))]
            return name if rivals in ([], [topic]) else None
    return None


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise BadInput(
            "directory", str(directory), "one that you may read", f"{error.strerror}: {error.filename}"
        ) from None


def _order(path: Path) -> tuple[int, int | str]:
    index = episode_index(path)
    return (1, path.name) if index is None else (0, index)


def is_bag(path: Path) -> bool:
    return (path / "metadata.yaml").is_file() or bool(storage_files(path))
