"""What became of recorded demonstrations, one by one and all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vd_policy.demos.reader import custom_data
from vd_policy.demos.recording import MIN_STEPS
from vd_policy.demos.storage import episode_name, episode_paths


@dataclass(frozen=True)
class EpisodeReport:
    """What became of one episode."""

    index: int
    steps: int
    success: bool
    failure: bool

    @property
    def samples(self) -> int:
        """State-label pairs that a dataset takes from it: none from an episode of 0 or 1 step."""
        return self.steps if self.steps >= MIN_STEPS else 0

    @classmethod
    def of(cls, index: int, custom: Mapping[str, str]) -> EpisodeReport:
        """What the bag of that number says of itself in its ``custom_data``."""
        how = custom.get("outcome")
        return cls(index, int(custom.get("steps", 0)), how == "success", how == "failure")


@dataclass(frozen=True)
class DemonstrationSummary:
    """Figures of one run; an appending run counts what it added."""

    samples: int
    episodes: int
    successes: int
    failures: int
    too_short: int
    """Episodes of 0 or 1 step: recorded, but not counted as samples."""
    wall_s: float
    bytes_on_disk: int


def recorded(out: Path, first: int = 0) -> list[EpisodeReport]:
    """What lies in a directory, from episode `first` on, by what the bags say of themselves; others' bags are none."""
    return Tally(out, first).reports()


class Tally:
    """`recorded` again and again while somebody records there, each bag read once.

    Args:
        out: the directory.
        first: number of the first episode that counts.
    """

    def __init__(self, out: Path, first: int = 0) -> None:
        self._out, self._first = out, first
        self._known: dict[int, EpisodeReport] = {}

    def reports(self) -> list[EpisodeReport]:
        """All that are there now, in order."""
        there = {index: bag for index, bag in episode_paths(self._out).items() if index >= self._first}
        self._known |= {
            index: EpisodeReport.of(index, custom_data(bag)) for index, bag in there.items() if index not in self._known
        }
        return [self._known[index] for index in there]


def summary(out: Path, reports: list[EpisodeReport], wall_s: float) -> DemonstrationSummary:
    """Figures of these episodes."""
    usable = [r for r in reports if r.samples]
    size = sum(f.stat().st_size for r in reports for f in (out / episode_name(r.index)).iterdir())
    return DemonstrationSummary(
        samples=sum(r.samples for r in usable),
        episodes=len(reports),
        successes=sum(r.success for r in reports),
        failures=sum(r.failure for r in reports),
        too_short=len(reports) - len(usable),
        wall_s=wall_s,
        bytes_on_disk=size,
    )
