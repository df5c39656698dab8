"""One commander at a time: whoever commands first keeps the arm until it falls silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

LOST_IN_A_ROW = 10
"""Commands of one node that may be lost between two that arrive."""


class Commanders:
    """Arbitration by the sender's name, and between two nodes of one name by their middleware sequence numbers.

    Args:
        release_s: silence [s] after which another sender may take over.
    """

    def __init__(self, release_s: float) -> None:
        self.release_s = release_s
        self.refused: Counter[str] = Counter()
        self.owner, self._heard_s, self._sequence = "", -float("inf"), -1
        self._refused_s: dict[str, float] = {}

    def admit(self, sender: str, now_s: float, sequence: int | None = None) -> str:
        """Why `sender` may not command now, naming both, or ``""``; it then holds the arm.

        `sequence` is the publisher's own running number of the message where the middleware tells it; it never falls
        within one publisher's life and rises by as many as are lost, so one that falls or leaps comes from a second
        publisher of the same name.
        """
        if not sender:
            self.refused["(unnamed)"] += 1
            return "command without a sender; put the node's name in header.frame_id"
        busy = bool(self.owner) and now_s - self._heard_s <= self.release_s
        if busy and sender != self.owner:
            return self._refuse(sender, f"command of {sender} refused: {self.owner} is commanding", now_s)
        if busy and sequence is not None and not self._follows(sequence):
            return self._refuse(sender, f"command of a second node named {sender} refused", now_s)
        self.owner, self._heard_s = sender, now_s
        self._sequence = -1 if sequence is None else sequence
        return ""

    def _follows(self, sequence: int) -> bool:
        return self._sequence < 0 or 0 < sequence - self._sequence <= LOST_IN_A_ROW

    def _refuse(self, sender: str, reason: str, now_s: float) -> str:
        self.refused[sender] += 1
        self._refused_s[sender] = now_s
        return reason

    def contending(self, now_s: float) -> tuple[str, ...]:
        """Senders that were refused within the last `release_s`."""
        return tuple(sorted(s for s, at in self._refused_s.items() if now_s - at <= self.release_s))

    def release(self) -> None:
        """Nobody commands any more."""
        self.owner, self._heard_s, self._sequence = "", -float("inf"), -1
        self._refused_s.clear()


def twins(names: Iterable[str]) -> tuple[str, ...]:
    """Names that occur more than once: two nodes of one name cannot be told apart by their sender."""
    return tuple(sorted(name for name, count in Counter(names).items() if count > 1))
