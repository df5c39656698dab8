"""Rollouts from the ROS graph: the `Collector` of the learner node."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vd_policy.base.episode import Episode
from vd_policy.policy.actor import Actor

LIFE = "#"
"""Between a source's name and the number of its life."""


class Stopped(Exception):
    """The collector was closed while somebody waited for episodes."""


class Sessions:
    """Tells the lives of a source apart, whose sequence numbers begin at 0 again when its process is restarted.

    A source that does not name its life is in another one when its first episode is another one.

    Args:
        first: number of this learner's own life, so that a resumed one takes no episode for one it has seen.
    """

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._life: dict[str, int] = {}
        self._opening: dict[str, tuple[int, int, bytes]] = {}

    def named(self, episode: Episode) -> Episode:
        """The episode with the life of its source in the source's name."""
        source = episode.source
        if episode.life:
            return replace(episode, source=f"{source}{LIFE}{self._first}.{episode.life}")
        if episode.sequence == 0:
            opening = (episode.seed, len(episode), episode.action.tobytes())
            if self._opening.setdefault(source, opening) != opening:
                self._opening[source] = opening
                self._life[source] = self._life.get(source, 0) + 1
        return replace(episode, source=f"{source}{LIFE}{self._first}.{self._life.get(source, 0)}")


class GraphCollector:
    """Hands on what policy nodes sent, after telling them the weights to act with.

    Args:
        publish: called with the actor and its weight version before each collection.
        working: held by the training thread except while it waits here, so that another thread can save.

    Attributes:
        collected: steps handed on, by source.
    """

    def __init__(self, publish: Callable[[Actor, int], None], working: threading.Lock) -> None:
        self.next_episode = 0
        self.collected: Counter[str] = Counter()
        self._publish, self._working = publish, working
        self._episodes: queue.SimpleQueue[Episode | None] = queue.SimpleQueue()
        self._closed = False

    def put(self, episode: Episode) -> None:
        """Take an episode in; called by the thread that hears it."""
        self._episodes.put(episode)

    @property
    def waiting(self) -> int:
        """Episodes that nobody has collected yet."""
        return self._episodes.qsize()

    def collect(self, actor: Actor, steps: int, *, weight_version: int = 0) -> list[Episode]:
        """Whole episodes in the order of arrival, at least `steps` environment steps in all.

        Raises:
            Stopped: the collector was closed.
        """
        self._publish(actor, weight_version)
        episodes: list[Episode] = []
        while sum(map(len, episodes)) < steps:
            with self._resting():
                episode = self._episodes.get()
            if episode is None or self._closed:
                raise Stopped
            episodes.append(episode)
        self.next_episode += len(episodes)
        for episode in episodes:
            self.collected[episode.source.partition(LIFE)[0]] += len(episode)
        return episodes

    def close(self) -> None:
        """End the waiting; episodes that were not collected are dropped."""
        self._closed = True
        self._episodes.put(None)

    @contextmanager
    def _resting(self) -> Iterator[None]:
        self._working.release()
        try:
            yield
        finally:
            self._working.acquire()
