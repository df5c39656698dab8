"""Episode bags as memory-mapped arrays of state-label pairs: batches come faster than a network eats them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import Seeds
from vd_policy.demos.arrays import Source, convert, map_arrays, read_shape
from vd_policy.demos.foreign import find_map
from vd_policy.demos.storage import bag_paths

CACHE_NAME = ".dataset"


class Dataset:
    """State-label pairs of all usable episodes in a directory.

    Converts what is not yet converted, resumably: bags are entered in the ledger once their rows are durable. Then maps
    the arrays. A bag that changed, or one that was put in before others, has everything converted anew.

    Args:
        directory: of episode bags, or of another robot's bags with a ``foreign.yaml`` beside them.
        cache: where the arrays lie; ``<directory>/.dataset`` by default.
        progress: called with (bags done, bags in all) while converting.

    Attributes:
        shape: what all episodes have in common.
        episodes: number of episodes used.
        skipped: reason -> number of bags left out for it.
        steps_dropped: steps of used episodes that lack an image, joint angles or a label.

    Raises:
        BadInput: there is no usable episode; the message says why.
        VdPolicyError: the cache cannot be written.
    """

    def __init__(
        self,
        directory: str | Path,
        cache: str | Path | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.cache = self.directory / CACHE_NAME if cache is None else Path(cache)
        bags = bag_paths(self.directory)
        entries = convert(Source(bags, find_map(self.directory)), self.cache, progress)
        self.skipped = dict(Counter(e.skipped for e in entries if e.skipped))
        self.steps_dropped = sum(e.steps_dropped for e in entries)
        self._used = [e for e in entries if e.rows]
        if not self._used:
            why = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items()) or "no bags"
            raise BadInput("demonstrations", str(self.directory), "at least one usable episode bag",
                           f"it holds: {why}; see `vd_policy inspect`")  # fmt: skip
        self.shape = read_shape(self.cache)
        self.episodes = len(self._used)
        self._rows = sum(e.rows for e in self._used)
        self._arrays = map_arrays(self.cache, self.shape, self._rows)

    def __len__(self) -> int:
        return self._rows

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of all rows and what they mean; where the files lie and when they were written do not matter."""
        return hashlib.sha256("".join(e.sha256 for e in self._used).encode()).hexdigest()

    @property
    def rgb(self) -> np.ndarray:
        """Read-only memory map, u8 (N, H, W, 3)."""
        return self._arrays["rgb"]

    @property
    def depth(self) -> np.ndarray:
        """Read-only memory map, u16 [mm] (N, H, W), 0 where invalid."""
        return self._arrays["depth"]

    @property
    def q(self) -> np.ndarray:
        """Read-only memory map, f32 [rad] (N, J)."""
        return self._arrays["q"]

    @property
    def label(self) -> np.ndarray:
        """Read-only memory map, f32 (N, A): the expert's noiseless action in [-1, 1]."""
        return self._arrays["label"]

    @property
    def successes(self) -> int:
        """Episodes used that ended in success."""
        return sum(e.success for e in self._used)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Obs, np.ndarray]:
        """Observations (B, ...) and labels (B, A) of these samples, copied out of the map.

        Args:
            indices: of samples, (B,), in any order.
        """
        rows = np.asarray(indices, dtype=np.intp)
        return {key: self._arrays[key][rows] for key in ("rgb", "depth", "q")}, self._arrays["label"][rows]

    def split(self, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample indices for training and for validation, split by episode.

        An episode that was recorded or copied twice lies whole on one side, copies included.

        Args:
            fraction: of the episodes that go to validation, 0 to below 1.
            seed: chooses them.

        Returns:
            Two sorted index arrays. For a fraction above 0 and two different episodes or more, neither is empty.
        """
        if not 0.0 <= fraction < 1.0:
            raise BadInput("validation fraction", fraction, "0 to below 1", "use for example 0.1")
        contents = sorted({e.sha256 for e in self._used})
        count = round(fraction * len(contents))
        if fraction > 0.0 and len(contents) > 1:
            count = min(max(count, 1), len(contents) - 1)
        chosen = {contents[i] for i in Seeds(seed).rng("validation split").permutation(len(contents))[:count]}
        held_out = np.repeat([e.sha256 in chosen for e in self._used], [e.rows for e in self._used])
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)
