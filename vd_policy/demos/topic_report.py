"""Counts, rates and gaps of each topic in a bag, and which of them came too rarely."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from vd_policy.demos.factory import has_header, stamp_in_front
from vd_policy.demos.reader import Bag

SPARSE = 0.2
"""A topic is named whose rate falls below this share of its usual one, or that is there for less of the bag's time."""


@dataclass
class TopicReport:
    """One topic of one bag."""

    topic: str
    type: str
    count: int = 0
    promised: int = 0
    """Messages that the metadata speaks of."""
    rate_hz: float = 0.0
    """Mean from the first message to the last."""
    longest_gap_s: float = 0.0
    span_s: float = 0.0
    """From the first message to the last."""
    stamps_backwards: int = 0
    """Messages whose header stamp lies before that of the message before."""


@dataclass
class _Times:
    """When the messages of a topic came, by one clock [ns]."""

    first: int | None = None
    last: int = 0
    gap: int = 0
    valid: bool = True
    """False once the clock had no time for a message."""
    backwards: int = 0

    def add(self, t_ns: int) -> None:
        self.valid = self.valid and t_ns > 0
        if self.first is None:
            self.first = t_ns
        else:
            self.gap = max(self.gap, t_ns - self.last)
            self.backwards += t_ns < self.last
        self.last = t_ns


def topic_reports(bag: Bag) -> list[TopicReport]:
    """Count and time the messages of every topic in one pass.

    A bag of ours is timed by header stamps: in lockstep the time of receipt says only how busy the machine was. Another
    robot's bag, and whatever carries no stamp, is timed by receipt: its sensors may not share a clock.
    """
    ours = "schema" in bag.custom
    headed = {topic for topic, kind in bag.types.items() if has_header(kind)}
    counts = dict.fromkeys(bag.types, 0)
    received = {topic: _Times() for topic in bag.types}
    stamped = {topic: _Times() for topic in bag.types}
    for message in bag.messages():
        topic = message.topic
        counts[topic] += 1
        received[topic].add(message.log_ns)
        stamped[topic].add(stamp_in_front(message.cdr) if topic in headed else 0)
    return [
        _report(TopicReport(t, kind, counts[t], bag.counts[t], stamps_backwards=stamped[t].backwards),
                stamped[t] if ours and stamped[t].valid else received[t])
        for t, kind in bag.types.items()
    ]  # fmt: skip


def _report(report: TopicReport, times: _Times) -> TopicReport:
    report.longest_gap_s = times.gap / 1e9
    report.span_s = (times.last - (times.first or 0)) / 1e9
    if report.count > 1 and report.span_s > 0:
        report.rate_hz = (report.count - 1) / report.span_s
    return report


def usual_rates(bags: Iterable[list[TopicReport]]) -> dict[str, float]:
    """Topic to its median rate [Hz] over these bags."""
    rates: dict[str, list[float]] = {}
    for topic in (t for topics in bags for t in topics if t.rate_hz):
        rates.setdefault(topic.topic, []).append(topic.rate_hz)
    return {topic: median(values) for topic, values in rates.items()}


def too_rare(topics: list[TopicReport], usual: dict[str, float], judged: Callable[[str], bool]) -> list[str]:
    """A line for each judged topic that is far slower than usual, or stops long before the bag does."""
    problems = []
    longest_s = max((t.span_s for t in topics if judged(t.topic)), default=0.0)
    for t in (t for t in topics if t.rate_hz and judged(t.topic)):
        if t.rate_hz < SPARSE * usual[t.topic]:
            problems.append(f"{t.topic}: {t.rate_hz:.3g} Hz, where {usual[t.topic]:.3g} Hz is usual")
        elif t.span_s < SPARSE * longest_s:
            problems.append(f"{t.topic}: there for {t.span_s:.3g} of {longest_s:.3g} s only")
    return problems
