"""Named children of one seed, so that adding a consumer does not move the others' random numbers."""

from __future__ import annotations

import zlib

import numpy as np

from vd_policy.base.errors import BadInput

MAX_SEED = 2**31 - 1

EPISODE = "episode"
"""Of a run's seed, by the episode's number: the episode's own, which its start and whoever acts in it draw from."""
EXPERT = "expert"
"""Of an episode's seed: the noise on the expert's actions."""
POLICY = "policy"
"""Of an episode's seed: what an exploring policy draws. In real time, which has no episodes, of the node's."""
ROLLOUTS = "rollouts"
"""Of a run's seed: that of a policy's episodes, so that their cups are not those of demonstrations of the same seed."""
NETWORK = "network"
"""Of a run's seed: the weights that a network begins with."""


class Seeds:
    """One root seed and its named children.

    ``Seeds(7).rng("scene", 3)`` is the same generator in every process and version, whatever other children exist.
    """

    def __init__(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= int(seed) <= MAX_SEED:
            raise BadInput("seed", seed, f"a whole number from 0 to {MAX_SEED}", "pass for example --seed 0")
        self.seed = int(seed)

    def sequence(self, name: str, index: int = 0) -> np.random.SeedSequence:
        """The child's `SeedSequence`; `name` says who draws, `index` which of many."""
        return np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()), int(index)))

    def rng(self, name: str, index: int = 0) -> np.random.Generator:
        """A NumPy generator seeded from the child."""
        return np.random.default_rng(self.sequence(name, index))

    def integer(self, name: str, index: int = 0) -> int:
        """A 31-bit integer seed for libraries that take one."""
        return int(self.sequence(name, index).generate_state(1)[0] & MAX_SEED)
