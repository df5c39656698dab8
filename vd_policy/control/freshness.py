"""Whether what arrives is new: receipt-time freshness, plausible stamps, and a camera that repeats one picture."""

from __future__ import annotations

import numpy as np


class Freshness:
    """One input's freshness by receipt time (monotonic), with a count of samples before it is trusted again.

    Args:
        timeout_s: older than this is stale.
        fresh_needed: samples in a row, each within `timeout_s` of the one before, that end a stale period; also at
            the start.
    """

    def __init__(self, timeout_s: float, fresh_needed: int = 1) -> None:
        self.timeout_s, self.fresh_needed = timeout_s, fresh_needed
        self.received_s: float | None = None
        self.in_a_row = 0

    def seen(self, received_s: float) -> None:
        """A good sample came."""
        if self._stale(received_s):
            self.in_a_row = 0
        self.received_s = received_s
        self.in_a_row += 1

    def age_s(self, now_s: float) -> float:
        """Seconds since the last good sample; infinity before the first."""
        return np.inf if self.received_s is None else now_s - self.received_s

    def ok(self, now_s: float) -> bool:
        """Fresh now, and for long enough to be trusted."""
        return not self._stale(now_s) and self.in_a_row >= self.fresh_needed

    def reset(self) -> None:
        """Trust nothing until fresh samples came again."""
        self.received_s, self.in_a_row = None, 0

    def _stale(self, now_s: float) -> bool:
        return self.age_s(now_s) > self.timeout_s


PAST_S = 3600.0
"""A stamp this old is of another clock altogether: simulated against wall time, or a bag replayed without its clock."""
OTHER_CLOCK = "is use_sim_time set on one side only?"


class StampGuard:
    """Refuses stamps that cannot be: zero, of another clock, or before the last one (a clock jump, a bag looping).

    Args:
        future_s: how far a stamp may run ahead of the reader's clock (clocks of two machines differ a little).
    """

    def __init__(self, future_s: float = 0.1) -> None:
        self.future_s = future_s
        self.last_ns: int | None = None
        self.jumped = False
        """The stamp checked last was refused because it lay before the one before it."""

    def check(self, stamp_ns: int, clock_ns: int | None = None) -> str:
        """Why the stamp is refused, or ``""``. Repeats of the last stamp pass. `clock_ns` None: do not compare.

        After a backward jump the new time is taken as the reference: exactly one sample reports the jump.
        """
        self.jumped = False
        if stamp_ns <= 0:
            return "stamp is 0"
        ahead_s = 0.0 if clock_ns is None else (stamp_ns - clock_ns) / 1e9
        if ahead_s > self.future_s:
            return f"stamp lies {ahead_s:.3f} s in the future" + (f"; {OTHER_CLOCK}" if ahead_s > PAST_S else "")
        if ahead_s < -PAST_S:
            return f"stamp lies {-ahead_s:.0f} s in the past; {OTHER_CLOCK}"
        before, self.last_ns = self.last_ns, stamp_ns
        if before is not None and stamp_ns < before:
            self.jumped = True
            return f"stamp jumped back by {(before - stamp_ns) / 1e9:.3f} s"
        return ""


class FrozenImage:
    """Finds a camera that sends one and the same picture under new stamps while the arm moves.

    Args:
        frames: identical pictures in a row that make it frozen.
        motion_rad: the arm must have moved at least this far (largest joint) meanwhile; a still arm proves nothing.
    """

    def __init__(self, frames: int, motion_rad: float) -> None:
        self.frames, self.motion_rad = frames, motion_rad
        self.same = 0
        self._picture: np.ndarray | None = None
        self._q = np.zeros(0)
        self._moved = 0.0

    def add(self, image: np.ndarray, q: np.ndarray) -> bool:
        """Look at the next picture, any shape, and the joints it was taken at [rad], (J,); True while frozen."""
        if self._picture is not None and np.array_equal(image, self._picture):
            self.same += 1
        else:
            self._picture, self._q, self.same, self._moved = image, q, 1, 0.0
        self._moved = max(self._moved, float(np.abs(q - self._q).max()))
        return self.same >= self.frames and self._moved >= self.motion_rad

    def reset(self) -> None:
        """Forget the last picture."""
        self._picture, self.same = None, 0
