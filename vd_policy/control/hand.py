"""When a hand closes and opens."""

from __future__ import annotations

from typing import Protocol

HAND_MOVING_S = 1.5
"""How long a hand may take to open or close [s]."""


class Judged(Protocol):
    """What `messages.outcome.decode_outcome` returns."""

    @property
    def episode(self) -> int: ...
    @property
    def in_hand(self) -> bool: ...


class Hand:
    """Wanted posture of one hand.

    Open from the beginning of each episode, closed from the moment on that the cup stands between the fingers. A hand
    that closed does not open again before the next episode, however the cup stands then: it may hold something. An
    operator's word counts until the next episode or grasp; the first episode that is heard of may have begun before it.

    Attributes:
        closed: None while nobody has said anything; then the hand is left as it is.
    """

    def __init__(self) -> None:
        self.closed: bool | None = None
        self._episode: int | None = None

    def hear(self, outcome: Judged) -> bool:
        """Whether the hand shall be closed after this outcome."""
        begins = outcome.episode != self._episode and (self._episode is not None or self.closed is None)
        self._episode = outcome.episode
        if begins:
            self.closed = False
        self.closed = outcome.in_hand or bool(self.closed)
        return self.closed
