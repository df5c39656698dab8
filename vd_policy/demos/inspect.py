"""Says what is in a directory of episode bags, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from vd_policy.demos.arrays import Shape
from vd_policy.demos.foreign import ForeignMap, find_map, read_bag
from vd_policy.demos.reader import Bag, UnusableEpisode, open_bag
from vd_policy.demos.recording import MIN_STEPS, Recording
from vd_policy.demos.recover import RECOVERED, recovered
from vd_policy.demos.storage import bag_paths, unfinished_paths
from vd_policy.demos.topic_report import TopicReport, too_rare, topic_reports, usual_rates
from vd_policy.messages.outcome import UNFINISHED
from vd_policy.messages.topics import EXPERT_ACTION, GRIPPER_COMMAND, GRIPPER_TRAJECTORY, RECORDED

FROZEN_MOTION_RAD = 0.02
"""A camera that sees the arm must change its picture when a joint moves farther than this."""
FROZEN_STEPS = 2
"""Unchanged pictures in a row, the arm moving, that make a frozen camera."""
MIN_DEPTH_VALID = 0.05
"""Least share of pixels with a depth; a simulated table fills 0.7 of the picture, the sky above it has none."""
SHOWN = 30
TEACHER = "expert"
"""The source whose episodes must have labels; those of any other may be rollouts."""


@dataclass
class BagReport:
    """One bag."""

    name: str
    source: str = ""
    """Who acted, as the bag says."""
    storage: str = ""
    bytes_on_disk: int = 0
    topics: list[TopicReport] = field(default_factory=list)
    steps: int = 0
    outcome: str = ""
    samples: int = 0
    """Steps with a whole observation and a label."""
    label_coverage: float = 0.0
    """Share of the steps that have a label."""
    rollout_steps: int = 0
    """Steps with a whole observation, where nobody but an expert acted and nobody labelled it."""
    shape: Shape | None = None
    """What it has in common with the other episodes of a dataset."""
    differs: bool = False
    """From the first usable episode, so that a dataset leaves it out."""
    frozen_images: int = 0
    """Steps whose picture is that of the step before although the arm moved."""
    depth_valid_mean: float = 0.0
    depth_valid_min: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Worth knowing, and no fault."""

    @property
    def usable(self) -> bool:
        """Whether it holds a demonstration that a dataset can read."""
        return self.samples > 0 and self.steps >= MIN_STEPS


@dataclass
class Inspection:
    """A whole directory."""

    directory: Path
    episodes: list[BagReport]
    problems: list[str]
    """Of the directory as a whole; those of an episode are in its report."""
    notes: list[str] = field(default_factory=list)
    """Of the directory, worth knowing and no fault."""

    @property
    def all_problems(self) -> list[str]:
        """Every problem with the bag that it is in."""
        return self.problems + [f"{e.name}: {p}" for e in self.episodes for p in e.problems]

    def figures(self) -> dict[str, Any]:
        """For scripts."""
        used = [e for e in self.episodes if e.usable and not e.differs]
        rollouts = [e for e in self.episodes if e.rollout_steps]
        return {
            "episodes": len(self.episodes),
            "usable_episodes": len(used),
            "samples": sum(e.samples for e in used),
            "rollouts": len(rollouts),
            "rollout_steps": sum(e.rollout_steps for e in rollouts),
            "successes": sum(e.outcome == "success" for e in self.episodes),
            "bytes": sum(e.bytes_on_disk for e in self.episodes),
            "problems": self.all_problems,
            "notes": self.notes,
            "per_episode": [asdict(e) for e in self.episodes],
        }


def inspect(directory: str | Path, progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Read every bag in `directory` (or the one bag that it is) from end to end.

    Args:
        progress: called with (bags done, bags in all).

    Raises:
        Missing: there is no such directory.
    """
    directory = Path(directory)
    bags = bag_paths(directory)
    episodes = []
    mapping = find_map(directory)
    for index, bag in enumerate(bags):
        episodes.append(inspect_bag(bag, mapping))
        if progress is not None:
            progress(index + 1, len(bags))
    saved, unfinished = recovered(directory / RECOVERED), unfinished_paths(directory)
    notes = [f"{p.name}: recovered to {saved[p.name]}: move that beside the others, and delete this"
             for p in unfinished if p.name in saved]  # fmt: skip
    problems = [f"{p.name}: a recording that was never closed; run `vd_policy recover {directory}`"
                for p in unfinished if p.name not in saved]  # fmt: skip
    if not bags:
        problems.append(f"{directory}: no episode bags")
    _judge_rates(episodes, mapping)
    _judge_differences(episodes)
    return Inspection(directory, episodes, problems, notes)


def inspect_bag(path: Path, mapping: ForeignMap | None = None) -> BagReport:
    """One bag; whatever is wrong with it ends up in `problems`. Another robot's bag is judged through its map."""
    report = BagReport(path.name, bytes_on_disk=sum(f.stat().st_size for f in path.iterdir() if f.is_file()))
    try:
        with open_bag(path) as bag:
            report.storage = bag.storage
            report.source = bag.custom.get("source", "")
            report.topics = topic_reports(bag)
            report.problems += _storage_problems(bag, report)
            if mapping is None:
                report.problems += _missing_topics(bag, report)
        recording = read_bag(path, mapping)
        _judge(recording, report)
    except UnusableEpisode as error:
        (report.notes if error.reason == "too short" else report.problems).append(f"{error.reason}: {error}")
    return report


def _storage_problems(bag: Bag, report: BagReport) -> list[str]:
    problems = [
        f"{t.topic}: {t.count} of {t.promised} messages are there" for t in report.topics if t.count != t.promised
    ]
    problems += [f"{topic}: damaged: the bytes are not those that were written" for topic in bag.damaged_topics()]
    problems += [f"{t.topic}: {t.stamps_backwards} stamps run backwards" for t in report.topics if t.stamps_backwards]
    return problems


def _missing_topics(bag: Bag, report: BagReport) -> list[str]:
    counts = {name: bag.counts[topic] for topic, name in bag.table_names().items()}
    optional = {GRIPPER_COMMAND, GRIPPER_TRAJECTORY} | (set() if report.source in ("", TEACHER) else {EXPERT_ACTION})
    needed = (name for name in RECORDED if name not in optional)
    return [f"{name}: no messages" for name in needed if not counts.get(name)]


def _judge_rates(episodes: list[BagReport], mapping: ForeignMap | None) -> None:
    """Name topics that came far more rarely than in the other bags; of another robot's only those we take."""
    taken = {mapping.joint_states, mapping.color, mapping.depth} if mapping else None
    usual = usual_rates(e.topics for e in episodes)
    for episode in episodes:
        episode.problems += too_rare(episode.topics, usual, lambda topic: taken is None or topic in taken)


def _judge(recording: Recording, report: BagReport) -> None:
    """Steps, outcome, labels and pictures."""
    stamps = sorted(recording.outcome)
    if stamps:
        last = recording.outcome[stamps[-1]]
        report.steps = last.step
        report.outcome = last.ending
    acted = [s for s, _ in recording.steps()[:-1]]
    whole = [s for s in stamps if recording.has_observation(s)]
    report.samples = sum(s in recording.label and recording.has_observation(s) for s in acted)
    report.label_coverage = sum(s in recording.label for s in acted) / len(acted)
    if not recording.label and report.source not in ("", TEACHER):
        report.rollout_steps = sum(map(recording.has_observation, acted))
    if report.outcome == UNFINISHED:
        report.problems.append("unfinished: its last outcome neither terminates nor truncates the episode")
    if len(whole) < len(stamps):
        lacking = {k: sum(s not in v for s in stamps) for k, v in
                   (("joint states", recording.q), ("colour", recording.rgb), ("depth", recording.depth))}  # fmt: skip
        named = ", ".join(f"{kind} at {n}" for kind, n in lacking.items() if n)
        report.problems.append(f"observations missing: of {len(stamps)} steps {named}")
    if 0 < report.label_coverage < 1:
        report.problems.append(f"{EXPERT_ACTION}: only {report.label_coverage:.0%} of the steps have a label")
    if whole:
        _judge_images(recording, whole, report)


def _judge_images(recording: Recording, stamps: list[int], report: BagReport) -> None:
    """Sizes, frozen pictures and holes in the depth."""
    report.shape = Shape.of(recording.info, *recording.rgb[stamps[0]].shape[:2])
    valid = [float((recording.depth[s] > 0).mean()) for s in stamps]
    report.depth_valid_mean, report.depth_valid_min = float(np.mean(valid)), float(np.min(valid))
    in_a_row = longest = 0
    for before, now in zip(stamps, stamps[1:]):
        moved = np.abs(recording.q[now] - recording.q[before]).max() > FROZEN_MOTION_RAD
        frozen = bool(moved) and np.array_equal(recording.rgb[now], recording.rgb[before])
        report.frozen_images += frozen
        in_a_row = in_a_row + 1 if frozen else 0
        longest = max(longest, in_a_row)
    if longest >= FROZEN_STEPS:
        report.problems.append(f"frozen camera: the picture stayed the same for {longest} steps while the arm moved")
    if report.depth_valid_min < MIN_DEPTH_VALID:
        report.problems.append(f"depth: only {report.depth_valid_min:.1%} of the pixels are valid in the worst step")


def _judge_differences(episodes: list[BagReport]) -> None:
    """Name what no dataset would mix with the first usable episode."""
    usable = [(e, e.shape) for e in episodes if e.usable and e.shape is not None]
    for episode, shape in usable[1:]:
        first, like = usable[0]
        key, reason = like.difference(shape)
        if key:
            episode.differs = True
            was, now = getattr(like, key), getattr(shape, key)
            episode.problems.append(f"{reason}: {key} is {now!r}, and {was!r} in {first.name}; a dataset leaves it out")


def table(inspection: Inspection) -> str:
    """For people: a line for each of the first episodes and each with a problem, one a topic, then the problems."""
    lines = [f"{'episode':<18}{'steps':>6}{'samples':>8}  {'outcome':<11}{'MB':>7}  {'depth valid':>11}  {'frozen':>6}"]
    shown = [e for i, e in enumerate(inspection.episodes) if i < SHOWN or e.problems]
    for e in shown:
        lines.append(f"{e.name:<18}{e.steps:>6}{e.samples:>8}  {e.outcome or '-':<11}{e.bytes_on_disk / 1e6:>7.2f}"
                     f"  {e.depth_valid_mean:>11.0%}  {e.frozen_images:>6}")  # fmt: skip
    if hidden := len(inspection.episodes) - len(shown):
        lines.append(f"... and {hidden} more without a problem")
    lines += ["", *_topic_table(inspection.episodes)]
    reasons = Counter(note.partition(":")[0] for e in inspection.episodes for note in e.notes)
    notes = [f"note: {note}" for note in inspection.notes]
    notes += [f"note: {count} episodes are {reason} and of no use to a dataset" for reason, count in reasons.items()]
    problems = [f"problem: {p}" for p in inspection.all_problems]
    return "\n".join([*lines, "", *notes, *problems, f"{_total(inspection)}, {len(problems)} problems"])


def _total(inspection: Inspection) -> str:
    """Demonstrations and rollouts, each where there are any."""
    figures = inspection.figures()
    rollouts, others = figures["rollouts"], figures["episodes"] - figures["rollouts"]
    parts = []
    if others or not rollouts:
        parts.append(f"{figures['usable_episodes']} of {others} episodes usable, {figures['samples']} samples")
    if rollouts:
        parts.append(f"{rollouts} rollouts without labels, {figures['rollout_steps']} steps")
    return "; ".join(parts)


def _topic_table(episodes: list[BagReport]) -> list[str]:
    """Each topic over all episodes."""
    merged: dict[str, list[TopicReport]] = {}
    for topic in (t for e in episodes for t in e.topics):
        merged.setdefault(topic.topic, []).append(replace(topic))
    lines = [f"{'topic':<48}{'messages':>9}{'Hz':>9}{'longest gap s':>15}{'backwards':>11}"]
    for name, reports in merged.items():
        rates = [r.rate_hz for r in reports if r.rate_hz]
        count, backwards = sum(r.count for r in reports), sum(r.stamps_backwards for r in reports)
        rate, gap = median(rates) if rates else 0.0, max(r.longest_gap_s for r in reports)
        lines.append(f"{name:<48}{count:>9}{rate:>9.3g}{gap:>15.3g}{backwards:>11}")
    return lines if merged else []
