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
    def step(self) -> int: ...
    @property
    def in_hand(self) -> bool: ...


class Hand:
    """Wanted posture of one hand.

    Open from the beginning of each episode, closed from the moment on that the cup stands between the fingers. A hand
    that closed does not open again before the next episode, however the cup stands then: it may hold something. An
    operator's word counts until the next episode or grasp. An episode that is first heard of in the middle, as by a
    node that was started again, leaves the hand as it is: it may hold something there, too.

    Attributes:
        closed: None while nobody has said anything; then the hand is left as it is.
    """

    def __init__(self) -> None:
        self.closed: bool | None = None
        self._episode: int | None = None
        self._step = 0

    def hear(self, outcome: Judged) -> bool | None:
        """Whether the hand shall be closed after this outcome; None: as it is."""
        is_again = outcome.step == 0 < self._step  # a simulator that was started again counts from the first one
        is_next = self._episode is not None and (outcome.episode != self._episode or is_again)
        is_first = self._episode is None and outcome.step == 0 and self.closed is None
        self._episode, self._step = outcome.episode, outcome.step
        if is_next or is_first:
            self.closed = False
        if outcome.in_hand:
            self.closed = True
        return self.closed
