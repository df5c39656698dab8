"""Learning curves of the RL phase: a measure of the exploring policy, against environment steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vd_policy.experiments.reproduce.chain import read_evaluations, run_of
from vd_policy.experiments.reproduce.jobs import TrainJob
from vd_policy.experiments.reproduce.measure import Measure
from vd_policy.learning.metrics import STEP, read_csv
from vd_policy.policy.checkpoint import MANIFEST, load_manifest, load_metrics

SUCCESS, LENGTH = "rollout/success_rate", "rollout/length"
FINAL_SHARE = 0.1
"""The final level is the mean over this last part of the steps."""


@dataclass(frozen=True)
class Curve:
    """One training's rollouts, iteration by iteration."""

    steps: np.ndarray
    """Environment steps of RL at the end of each iteration, (K,)."""
    values: np.ndarray
    """The measure in each iteration, (K,)."""

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each iteration, (K,)."""
        return np.diff(self.steps, prepend=0)

    def until(self, steps: int) -> Curve:
        """The iterations up to the first that ends at or beyond `steps`."""
        count = int(np.searchsorted(self.steps, steps)) + 1
        return Curve(self.steps[:count], self.values[:count])

    def smoothed(self, window: int) -> np.ndarray:
        """Mean over the last `window` iterations, or as many as there were, (K,)."""
        sums = np.concatenate([[0.0], np.cumsum(self.values * self.lengths)])
        steps = np.concatenate([[0], self.steps])
        ends = np.arange(1, len(steps))
        begins = np.maximum(0, ends - window)
        return (sums[ends] - sums[begins]) / (steps[ends] - steps[begins])

    def steps_to(self, level: float, window: int) -> float | None:
        """Environment steps after which the mean over a whole window is first at `level`; None if never."""
        reached = self.smoothed(window)[window - 1 :] >= level
        return float(self.steps[window - 1 :][reached.argmax()]) if reached.any() else None

    def area(self) -> float:
        """Area under the curve divided by the steps: the mean."""
        return float((self.values * self.lengths).sum() / self.steps[-1])

    def final(self) -> float:
        """Mean over the last tenth of the steps."""
        last = self.steps > (1 - FINAL_SHARE) * self.steps[-1]
        return float((self.values * self.lengths)[last].sum() / self.lengths[last].sum())


@dataclass(frozen=True)
class Trained:
    """A training that got as far as it was asked to."""

    job: TrainJob
    curve: Curve
    evaluations: list[dict[str, float]]
    """Of the mean policy, on fixed starts."""
    successes: int = 0
    """Successful trajectories in all its iterations."""

    @property
    def at_end(self) -> dict[str, float] | None:
        """The evaluation after its last step; None where a training went on for longer and was not evaluated there."""
        last = self.evaluations[-1] if self.evaluations else None
        return last if last is not None and last["env_steps"] == self.job.steps else None


def read_trained(job: TrainJob, root: Path, measure: Measure) -> Trained | None:
    """A training's curve up to the steps that the job asks for; None where it has not got there."""
    run = run_of(job, root)
    text = load_metrics(run) if (run / MANIFEST).is_file() else None
    rows = read_csv(text) if text else []
    if not rows:
        return None
    before = load_manifest(run)["env_steps"]["pretraining"]
    curve = Curve(np.array([row[STEP] - before for row in rows], int),
                  np.array([row[measure.column] for row in rows], float)).until(job.steps)  # fmt: skip
    if curve.steps[-1] < job.steps:
        return None
    played = zip(curve.lengths, rows)
    successes = round(sum(row[SUCCESS] * steps / row[LENGTH] for steps, row in played))
    evaluations = [row for row in read_evaluations(job.place(root)) if row["env_steps"] <= job.steps]
    return Trained(job, curve, evaluations, successes)
