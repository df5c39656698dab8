"""Which observations are due for a decision when they come faster than decisions are wanted."""

from __future__ import annotations


class Pacer:
    """Picks observations by their stamps so that decisions come at a steady rate.

    Args:
        rate_hz: decisions a second; never more than observations come.
    """

    SLACK = 0.25
    """Share of the period by which an observation may be early: cameras jitter."""

    def __init__(self, rate_hz: float) -> None:
        self.period_ns = int(1e9 / rate_hz)
        self.reset()

    def reset(self) -> None:
        """The next observation is due."""
        self._next_ns: int | None = None

    def due(self, stamp_ns: int) -> bool:
        """Whether to decide on the observation of this stamp; after a jump of the clock the rhythm starts anew."""
        planned_ns = stamp_ns if self._next_ns is None else self._next_ns
        early_ns = planned_ns - stamp_ns
        if self.SLACK * self.period_ns < early_ns <= 2 * self.period_ns:
            return False
        jumped = abs(early_ns) > self.period_ns
        self._next_ns = (stamp_ns if jumped else planned_ns) + self.period_ns
        return True
