"""How punctual a loop is: latency percentiles, missed periods, and where the time went."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

WINDOW = 2048
"""Cycles the percentiles look back on; counts are over the whole life."""


class DeadlineMeter:
    """Measures one loop.

    Args:
        period_s: a cycle that takes longer missed its deadline.
        clock: seconds, monotonic.

    One cycle: any number of ``with meter.section("infer"):`` blocks, then ``tick()``. One thread runs the loop; another
    may call `reset`, `pause` and `summary`.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.period_s, self._clock = period_s, clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything, for example the warm-up."""
        with self._lock:
            self.cycles = 0
            self.misses = 0
            self._latency: deque[float] = deque(maxlen=WINDOW)
            self._interval: deque[float] = deque(maxlen=WINDOW)
            self._sections: dict[str, deque[float]] = {}
            self._spent = 0.0
            self._ticked: float | None = None

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Time one part of the cycle."""
        start = self._clock()
        try:
            yield
        finally:
            spent = self._clock() - start
            with self._lock:
                self._spent += spent
                self._sections.setdefault(name, deque(maxlen=WINDOW)).append(spent)

    def tick(self, started_s: float | None = None) -> bool:
        """End a cycle; True when it missed its period.

        Args:
            started_s: when the cycle's input arrived, on this meter's clock; by default the sections' sum counts.
        """
        now = self._clock()
        with self._lock:
            latency = self._spent if started_s is None else now - started_s
            missed = latency > self.period_s
            self._latency.append(latency)
            if self._ticked is not None:
                self._interval.append(now - self._ticked)
            self._ticked, self._spent = now, 0.0
            self.cycles += 1
            self.misses += missed
        return missed

    def pause(self) -> None:
        """The loop stands still on purpose: the gap is not an interval."""
        with self._lock:
            self._ticked = None

    def summary(self) -> dict[str, float]:
        """Figures in milliseconds: p50_ms, p95_ms, p99_ms, interval_p99_ms, sections `<name>_p50_ms` and `_p99_ms`.

        Also the counts `cycles` and `misses`. Percentiles are 0 before the first cycle.
        """
        with self._lock:
            figures: dict[str, float] = {"cycles": self.cycles, "misses": self.misses}
            latency, interval = list(self._latency), list(self._interval)
            sections = {name: list(spent) for name, spent in self._sections.items()}
        figures |= _percentiles_ms("", latency, (50, 95, 99))
        figures |= _percentiles_ms("interval_", interval, (50, 99))
        for name, spent in sections.items():
            figures |= _percentiles_ms(f"{name}_", spent, (50, 99))
        return figures


def _percentiles_ms(prefix: str, seconds: list[float], percents: tuple[int, ...]) -> dict[str, float]:
    values = np.percentile(seconds, percents) * 1e3 if seconds else np.zeros(len(percents))
    return {f"{prefix}p{percent}_ms": round(float(value), 4) for percent, value in zip(percents, values)}
