"""Which rollouts a learner may use: sound ones, each once, and none from weights that are too old."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from vd_policy.base.episode import Episode

REMEMBERED = 4096
"""Sequence numbers kept per source; one that lies further back counts as a duplicate."""
REWARD_LIMIT = 1e6
"""Far beyond any task's reward; one such number would spoil the critic for good."""


class Intake:
    """Sorts arriving episodes by source and sequence number, and counts what it refuses.

    Counts: ``used``, ``unusable`` (no step, impossible numbers, or images of another size), ``duplicate`` (the same
    source and sequence again), ``stale`` (weights more than `max_weight_lag` versions old, or newer than the
    learner's), ``reordered`` (late, but used) and ``lost`` (numbers that never came). A source that starts its numbers
    again at 0 needs another name, or its episodes count as duplicates.

    Args:
        max_weight_lag: see ``stale``.
        shapes: of one step's observation by key; empty accepts any.
    """

    def __init__(self, max_weight_lag: int, shapes: dict[str, tuple[int, ...]] | None = None) -> None:
        self.max_weight_lag = max_weight_lag
        self.shapes = shapes or {}
        self.counts: Counter[str] = Counter()
        self._seen: dict[str, set[int]] = {}
        self._last: dict[str, int] = {}

    def admit(self, episode: Episode, version: int) -> bool:
        """Whether to use this episode, given the learner's present weight `version`."""
        if not self._is_sound(episode):
            self.counts["unusable"] += 1
            return False
        if not self._is_new(episode.source, episode.sequence):
            self.counts["duplicate"] += 1
            return False
        if not self.is_fresh(episode, version):
            self.counts["stale"] += 1
            return False
        self.counts["used"] += 1
        return True

    def is_fresh(self, episode: Episode, version: int) -> bool:
        """Whether the weights that acted are at most `max_weight_lag` versions behind, and not from the future."""
        return 0 <= version - episode.weight_version <= self.max_weight_lag

    def _is_sound(self, episode: Episode) -> bool:
        numbers = (episode.action, episode.reward, episode.log_prob)
        fits = all(np.shape(episode.obs[key])[1:] == shape for key, shape in self.shapes.items())
        finite = all(np.isfinite(array).all() for array in numbers)
        return len(episode) > 0 and fits and finite and bool((np.abs(episode.reward) < REWARD_LIMIT).all())

    def _is_new(self, source: str, sequence: int) -> bool:
        seen = self._seen.setdefault(source, set())
        last = self._last.get(source)
        if sequence in seen or (last is not None and sequence <= last - REMEMBERED):
            return False
        seen.add(sequence)
        if last is None:
            self._last[source] = sequence
        elif sequence < last:
            self.counts["reordered"] += 1
            self.counts["lost"] = max(0, self.counts["lost"] - 1)
        else:
            self.counts["lost"] += sequence - last - 1
            self._last[source] = sequence
            self._seen[source] = {s for s in seen if s > sequence - REMEMBERED}
        return True

    def state(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        seen = {source: sorted(numbers) for source, numbers in self._seen.items()}
        return {"counts": dict(self.counts), "seen": seen, "last": dict(self._last)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.counts = Counter(state["counts"])
        self._seen = {source: set(numbers) for source, numbers in state["seen"].items()}
        self._last = dict(state["last"])
