"""Export of episode bags to Minari, Farama's format for offline reinforcement learning (the extra ``minari``)."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from vd_policy import __version__
from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput
from vd_policy.base.files import TEMPORARY_PREFIX, storage_errors
from vd_policy.demos.arrays import Shape
from vd_policy.demos.foreign import find_map, read_bag
from vd_policy.demos.reader import UnusableEpisode
from vd_policy.demos.storage import bag_paths

ROOT_VARIABLE = "MINARI_DATASETS_PATH"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*-v\d+")


@dataclass
class Exported:
    """What became of a directory of bags."""

    path: Path
    name: str
    episodes: int = 0
    steps: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> bags left out for it."""


def export_minari(
    directory: str | Path, root: str | Path, name: str, progress: Callable[[int, int], None] | None = None
) -> Exported:
    """Write the whole episodes in `directory` to the Minari dataset `name` under `root`; lossless, images included.

    Of another arm, task or image size than the first one none is taken, as by `Dataset`.

    Observations are ``rgb``, ``depth`` [mm] and ``q`` [rad]; actions are what was asked for, in units of the largest
    step; ``infos`` hold ``applied`` and, where the bag has them, the expert's noiseless ``label``.

    Args:
        directory: of episode bags, or of another robot's bags with a ``foreign.yaml``.
        root: where Minari keeps its datasets (``MINARI_DATASETS_PATH``).
        name: such as ``reach-v0``.
        progress: called with (bags done, bags in all).

    Raises:
        BadInput: Minari is not installed, the name is no name or taken, or there is no usable episode.
    """
    minari = _minari()
    if not _NAME.fullmatch(name):
        raise BadInput("name", name, "letters, digits, _ . - and a version, as in reach-v0", "choose another")
    out = Exported(Path(root) / name, name)
    if out.path.exists():
        raise BadInput("dataset", str(out.path), "a name that is not taken", "raise its version, or remove it")
    bags = bag_paths(Path(directory))
    with storage_errors("export", out.path), _root_beside(Path(root)) as place:
        dataset: Any = None
        for done, episode in enumerate(_episodes(Path(directory), bags, out.skipped), 1):
            if episode is not None:
                buffer = _buffer(episode, out.episodes)
                if dataset is None:
                    dataset = _new(minari, name, episode, buffer)
                else:
                    dataset.update_dataset_from_buffer([buffer])
                out.episodes, out.steps = out.episodes + 1, out.steps + len(episode)
            if progress is not None:
                progress(done, len(bags))
        if dataset is None:
            raise BadInput("demonstrations", str(directory), "at least one whole episode",
                           f"it holds: {dict(out.skipped) or 'no bags'}; see `vd_policy inspect`")  # fmt: skip
        os.rename(place / name, out.path)
    return out


def _minari() -> Any:
    try:
        import h5py  # noqa: F401  what Minari stores with
        import minari
    except ImportError as error:
        raise BadInput("Minari", str(error), "minari and h5py installed", "pip install 'vd_policy[minari]'") from None
    return minari


@contextmanager
def _root_beside(root: Path) -> Iterator[Path]:
    """A temporary root for Minari on the same disk, so that a dataset gets its name when it is whole."""
    root = root.absolute()  # Minari takes another directory for its own
    root.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=root))
    before = os.environ.get(ROOT_VARIABLE)
    os.environ[ROOT_VARIABLE] = str(place)
    try:
        yield place
    finally:
        if before is None:
            del os.environ[ROOT_VARIABLE]
        else:
            os.environ[ROOT_VARIABLE] = before
        shutil.rmtree(place, ignore_errors=True)


def _episodes(directory: Path, bags: list[Path], skipped: Counter[str]) -> Iterator[Episode | None]:
    """Each bag as an episode, or None for one that was left out and counted."""
    mapping, first = find_map(directory), None
    for path in bags:
        try:
            recording = read_bag(path, mapping)
            episode = recording.episode()
            shape = Shape.of(recording.info, *episode.obs["depth"].shape[1:])
            first = first or shape
            first.check_like(shape, path.name)
            yield episode
        except UnusableEpisode as error:
            skipped[error.reason] += 1
            yield None


def _buffer(episode: Episode, index: int) -> Any:
    ends = np.zeros(len(episode), bool)
    ends[-1] = True
    infos = {"applied": episode.applied, **({} if episode.label is None else {"label": episode.label})}
    from minari.data_collector import EpisodeBuffer

    return EpisodeBuffer(
        id=index,
        seed=episode.seed,
        observations=dict(episode.obs),
        actions=episode.action,
        rewards=list(episode.reward),
        terminations=list(ends & episode.terminated),
        truncations=list(ends & episode.truncated),
        infos=infos,
    )


def _new(minari: Any, name: str, episode: Episode, buffer: Any) -> Any:
    height, width = episode.obs["rgb"].shape[1:3]
    joints = episode.obs["q"].shape[1]
    observation = spaces.Dict({
        "rgb": spaces.Box(0, 255, (height, width, 3), np.uint8),
        "depth": spaces.Box(0, 65535, (height, width), np.uint16),
        "q": spaces.Box(-np.inf, np.inf, (joints,), np.float32),
    })  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for an author and a Gymnasium id
        return minari.create_dataset_from_buffers(
            dataset_id=name,
            buffer=[buffer],
            observation_space=observation,
            action_space=spaces.Box(-np.inf, np.inf, (joints,), np.float32),
            algorithm_name=episode.source,
            description=f"task {episode.task}; exported by vd_policy {__version__}",
            data_format="hdf5",
            jpeg_encoding=False,  # its default is lossy
        )
