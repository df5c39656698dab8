"""Plausibility of joint samples: a value that the arm cannot have reached is not a measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

SLACK_RAD = 0.02
"""Encoder noise and stamp jitter that no speed explains."""
MARGIN = 1.5
"""A driver's speed limit is nominal: real joints overshoot it a little."""


class JointFilter:
    """Rejects NaN, Inf and jumps that the speed limit does not allow.

    An arm that really stands elsewhere (moved by hand while the driver was off, a simulator reset) must be believed
    in the end: after `settle` samples in a row, over at least `settle_s`, that agree with one another, the new place is
    taken and reported.

    Args:
        names: joint names, J of them.
        speed_rad_s: (J,); continuous: (J,) bool, joints whose reading may wrap by a turn.
        settle, settle_s: samples that agree, and the time [s] between the first and the last of them, before a jump is
            believed.
    """

    def __init__(self, names: Sequence[str], speed_rad_s: np.ndarray, continuous: np.ndarray, settle: int = 5,
                 settle_s: float = 0.1) -> None:  # fmt: skip
        self.names, self.speed, self.continuous = tuple(names), speed_rad_s, continuous
        self.settle, self.settle_s = settle, settle_s
        self.rejected: Counter[str] = Counter()
        self.relocations = 0
        self._q: np.ndarray | None = None
        self._stamp_s = 0.0
        self._other: np.ndarray | None = None
        self._other_s = self._jumped_s = 0.0
        self._agreeing = 0

    def check(self, q: np.ndarray, stamp_s: float) -> str:
        """Why the sample q [rad], (J,), taken at `stamp_s`, is rejected, or ``""``."""
        bad = self._first(~np.isfinite(q))
        if bad:
            return self._reject("nan", bad)
        jumped = self._first(self._too_fast(q, stamp_s, self._q, self._stamp_s))
        if jumped and not self._settled(q, stamp_s):
            return self._reject("jump", jumped)
        if jumped:
            self.relocations += 1
        self._q, self._stamp_s, self._agreeing, self._other = q, stamp_s, 0, None
        return ""

    def reset(self) -> None:
        """Take the next finite sample as it is."""
        self._q = self._other = None
        self._agreeing = 0

    def _settled(self, q: np.ndarray, stamp_s: float) -> bool:
        """True when the last `settle` rejected samples and this one follow one another plausibly."""
        agrees = self._other is not None and not self._too_fast(q, stamp_s, self._other, self._other_s).any()
        self._agreeing = self._agreeing + 1 if agrees else 1
        if not agrees:
            self._jumped_s = stamp_s
        self._other, self._other_s = q, stamp_s
        return self._agreeing >= self.settle and stamp_s - self._jumped_s >= self.settle_s

    def _too_fast(self, q: np.ndarray, stamp_s: float, before: np.ndarray | None, before_s: float) -> np.ndarray:
        if before is None:
            return np.zeros(len(q), dtype=bool)
        moved = q - before
        moved = np.where(self.continuous, moved - 2 * np.pi * np.round(moved / (2 * np.pi)), moved)
        return np.abs(moved) > MARGIN * self.speed * max(stamp_s - before_s, 0.0) + SLACK_RAD

    def _first(self, bad: np.ndarray) -> str:
        return self.names[int(np.argmax(bad))] if bad.any() else ""

    def _reject(self, kind: str, joint: str) -> str:
        self.rejected[f"{kind}:{joint}"] += 1
        return f"{joint} is NaN or Inf" if kind == "nan" else f"{joint} jumped further than its speed limit allows"
