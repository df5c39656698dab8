"""How far a policy may run ahead of its learner."""

from __future__ import annotations

import threading


class Lead:
    """Counts the steps of rollouts that a policy has sent and its learner has not collected yet.

    Rollouts from weights that are long outdated are dropped by the learner, so a policy in lockstep waits when it is
    too far ahead. Safe to use from two threads.

    Args:
        limit_steps: from so many steps on, `exhausted`; 0: never.
    """

    def __init__(self, limit_steps: int) -> None:
        self._least = self._limit = limit_steps
        self._life = ""
        self._lock = threading.Lock()
        self._sent = 0
        self._origin: int | None = None
        self._collected = 0

    def send(self, steps: int) -> None:
        """So many more steps went out."""
        with self._lock:
            self._sent += steps

    def collect(self, total: int, life: str = "", batch_steps: int = 0) -> None:
        """The learner says how many of this policy's steps it has collected in its life.

        Its first word, and that of another life, count from here: what went out before is either collected or lost.

        Args:
            life: names the learner's process; where it does not say, a smaller total is another life.
            batch_steps: how many it learns from at once: the policy may be ahead by twice as many, or it would wait for
                an update that waits for it.
        """
        with self._lock:
            if self._origin is None or life != self._life or total < self._collected:
                self._origin = self._sent - total
            self._collected, self._life = total, life
            self._limit = max(self._least, 2 * batch_steps) if self._least else 0

    @property
    def steps(self) -> int:
        """Steps ahead, never below 0."""
        with self._lock:
            return max(0, self._sent - (self._origin or 0) - self._collected)

    @property
    def exhausted(self) -> bool:
        """As far ahead as may be."""
        return 0 < self._limit <= self.steps
