"""One observation out of several topics, matched by header stamps."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vd_policy.control.freshness import StampGuard

DEPTH = {"q": 512}
"""Samples remembered per kind: a second of joint states at 500 Hz; a few pictures."""
PICTURES = 8


@dataclass(frozen=True)
class Assembled:
    """Samples of every needed kind that belong together."""

    stamp_ns: int
    """The stamp of the anchor, the colour image."""
    values: dict[str, Any]
    received_s: float
    """When the last part arrived (monotonic)."""


@dataclass(frozen=True)
class _Sample:
    stamp_ns: int
    value: Any
    received_s: float


class ObservationAssembler:
    """Collects samples and hands out each complete observation once, newest first.

    The first kind of `need` is the anchor. For every other kind the sample nearest in stamp is taken; further away than
    the tolerance it does not belong. Older anchors that never found their partners are dropped and counted.

    Args:
        tolerance_s: largest distance of a part's stamp to the anchor's; 0: stamps must be equal (lockstep).
        need: the kinds of one observation.
        future_s: see `StampGuard`.
    """

    def __init__(self, tolerance_s: float, need: Sequence[str] = ("rgb", "depth", "q", "outcome"),
                 future_s: float = 0.1) -> None:  # fmt: skip
        self.tolerance_ns = int(tolerance_s * 1e9)
        self.need, self.future_s = tuple(need), future_s
        self.unpaired = 0
        self.refused: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self.jumps = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything received; nothing is combined across a clock jump."""
        self._samples: dict[str, list[_Sample]] = {kind: [] for kind in self.need}
        self._guards = {kind: StampGuard(self.future_s) for kind in self.need}
        self._emitted_ns = -1

    def add(self, kind: str, stamp_ns: int, value: Any, received_s: float,
            clock_ns: int | None = None) -> Assembled | None:  # fmt: skip
        """`admit` and `take` one sample; the observation it completes, if any."""
        return self.take(kind, stamp_ns, value, received_s) if self.admit(kind, stamp_ns, clock_ns) else None

    def admit(self, kind: str, stamp_ns: int, clock_ns: int | None = None) -> bool:
        """Whether a sample of this stamp may be taken.

        A stamp of zero or of another clock is refused and counted in `refused`; `refusals` says why until a good sample
        of that kind comes. A stamp before the last of its kind resets the buffers and is counted in `jumps`.
        """
        guard = self._guards[kind]
        wrong = guard.check(stamp_ns, clock_ns)
        self.refusals.pop(kind, None)
        if guard.jumped:
            self.jumps += 1
            self.reset()
            self._guards[kind].check(stamp_ns)
        elif wrong:
            self.refused[kind] += 1
            self.refusals[kind] = wrong
            return False
        return True

    def take(self, kind: str, stamp_ns: int, value: Any, received_s: float) -> Assembled | None:
        """Take a sample that was admitted; the observation it completes, if any.

        A repeated stamp replaces its sample and completes nothing twice.
        """
        self._remember(kind, _Sample(stamp_ns, value, received_s))
        return self._complete()

    def _remember(self, kind: str, sample: _Sample) -> None:
        samples = self._samples[kind]
        if samples and samples[-1].stamp_ns == sample.stamp_ns:
            samples[-1] = sample
            return
        samples.append(sample)
        if len(samples) > DEPTH.get(kind, PICTURES):
            dropped = samples.pop(0)
            self.unpaired += kind == self.need[0] and dropped.stamp_ns > self._emitted_ns

    def _complete(self) -> Assembled | None:
        anchors = self._samples[self.need[0]]
        for index in reversed(range(len(anchors))):
            anchor = anchors[index]
            if anchor.stamp_ns <= self._emitted_ns:
                return None
            parts = self._partners(anchor.stamp_ns)
            if parts is not None:
                return self._emit(index, anchor, parts)
        return None

    def _partners(self, stamp_ns: int) -> dict[str, _Sample] | None:
        parts: dict[str, _Sample] = {}
        for kind in self.need[1:]:
            part = self._nearest(kind, stamp_ns)
            if part is None:
                return None
            parts[kind] = part
        return parts

    def _nearest(self, kind: str, stamp_ns: int) -> _Sample | None:
        samples = self._samples[kind]  # in the order of their stamps
        after = bisect_left(samples, stamp_ns, key=lambda s: s.stamp_ns)
        best = min(samples[max(after - 1, 0) : after + 1], key=lambda s: abs(s.stamp_ns - stamp_ns), default=None)
        return best if best is not None and abs(best.stamp_ns - stamp_ns) <= self.tolerance_ns else None

    def _emit(self, index: int, anchor: _Sample, parts: dict[str, _Sample]) -> Assembled:
        anchors = self._samples[self.need[0]]
        self.unpaired += sum(a.stamp_ns > self._emitted_ns for a in anchors[:index])
        del anchors[: index + 1]
        self._emitted_ns = anchor.stamp_ns
        for kind in self.need[1:]:
            kept = [s for s in self._samples[kind] if s.stamp_ns >= anchor.stamp_ns - self.tolerance_ns]
            self._samples[kind] = kept
        samples = {self.need[0]: anchor, **parts}
        return Assembled(anchor.stamp_ns, {k: s.value for k, s in samples.items()},
                         max(s.received_s for s in samples.values()))  # fmt: skip
