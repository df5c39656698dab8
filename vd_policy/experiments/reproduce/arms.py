"""Trainings that differ in their seed alone, together: what a figure draws as one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vd_policy.experiments.interval import Mean, mean_of
from vd_policy.experiments.reproduce.curves import Curve, Trained
from vd_policy.experiments.reproduce.jobs import FILTERS, MAGNITUDE, UNCERTAINTY, TrainJob

TITLES = {
    "vd": "VD",
    FILTERS: "VD of filters, too",
    UNCERTAINTY: "VD, exploring by its uncertainty",
    "l2": "L2",
    MAGNITUDE: "L2, pruned by magnitude like VD",
    "none": "cloned, no regulariser",
    "random": "no pre-training",
}

Key = tuple[str, int, float, str, str, str]


@dataclass(frozen=True)
class Arm:
    """One setting over its seeds."""

    trainings: tuple[Trained, ...]

    @property
    def job(self) -> TrainJob:
        """Any of its jobs; they differ in the seed."""
        return self.trainings[0].job

    @property
    def key(self) -> Key:
        """What a figure tells apart: method, demonstrations, noise, expert's rule, task, recipe; a sweep shares one."""
        clone = self.job.clone
        return self.job.method, clone.samples, clone.noise_std_rad, clone.rule, clone.task, self.job.recipe

    def by_seed(self, measure: Callable[[Curve], float | None]) -> dict[int, float | None]:
        """A number of each seed's curve."""
        return {t.job.seed: measure(t.curve) for t in self.trainings}

    def mean(self, measure: Callable[[Curve], float]) -> Mean:
        """The same over the seeds."""
        return mean_of([measure(t.curve) for t in self.trainings])

    def band(self, grid: np.ndarray, window: int) -> list[Mean]:
        """Smoothed curve over the seeds at each of the steps in `grid`."""
        lines = [np.interp(grid, t.curve.steps, t.curve.smoothed(window)) for t in self.trainings]
        return [mean_of(list(column)) for column in np.array(lines).T]


def arms_of(trainings: Sequence[Trained]) -> list[Arm]:
    """The arms, in the order of their first training."""
    names = dict.fromkeys(t.job.arm for t in trainings)
    return [Arm(tuple(t for t in trainings if t.job.arm == name)) for name in names]


def best_of(arms: Sequence[Arm]) -> list[Arm]:
    """Of each method and data the setting with the largest mean area: every method is tuned alike."""
    best: dict[Key, Arm] = {}
    for arm in arms:
        held = best.get(arm.key)
        if held is None or arm.mean(Curve.area).mean > held.mean(Curve.area).mean:
            best[arm.key] = arm
    return list(best.values())


def titles(arms: Sequence[Arm]) -> list[str]:
    """A name for each arm, with the settings in which the arms differ."""
    clones = [arm.job.clone for arm in arms]
    several = {
        "samples": len({c.samples for c in clones}) > 1,
        "noise": len({c.noise_std_rad for c in clones}) > 1,
        "weight": len({c.l2_weight for c in clones if c.l2_weight is not None}) > 1,
        "rule": len({c.rule for c in clones}) > 1,
        "recipe": len({arm.job.recipe for arm in arms}) > 1,
        "task": len({c.task for c in clones}) > 1,
        "std": len({arm.job.initial_std for arm in arms} - {None}) > 1,
    }
    return [_title(arm.job, several) for arm in arms]


def _title(job: TrainJob, several: dict[str, bool]) -> str:
    clone = job.clone
    parts = [TITLES[job.method]]
    if several["weight"] and clone.l2_weight is not None:
        parts.append(f"weight {clone.l2_weight:g}")
    if several["samples"]:
        parts.append(f"{clone.samples} demonstrations")
    if several["noise"]:
        parts.append(f"noise {clone.noise_std_rad:g}")
    if several["rule"]:
        parts.append(f"{clone.rule} expert")
    if several["task"]:
        parts.append(f"task {Path(clone.task).stem}")
    if several["std"] and job.initial_std is not None:
        parts.append(f"initial std {job.initial_std:g}")
    if several["recipe"]:
        parts.append(f"recipe {Path(job.recipe).stem}")
    return ", ".join(parts)
