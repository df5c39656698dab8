"""How long jobs will take: from jobs that are done, else from a short measurement; refined while they run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from vd_policy.experiments.reproduce.chain import begun, pretrain_settings
from vd_policy.experiments.reproduce.jobs import CloneJob, Job, TrainJob
from vd_policy.experiments.subject import spec_of
from vd_policy.learning.cloning import Cloning
from vd_policy.learning.collector import ProcessCollector
from vd_policy.learning.recipe import build_learner, load_recipe
from vd_policy.policy.export import random_observation
from vd_policy.policy.gaussian import new_policy
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

BATCH = 100
PROBES = 3


class Forecast:
    """Seconds of work in all, and what is left of it.

    Args:
        jobs: those that have still to be done, some perhaps begun: a figure may be asked for more steps.
        known: all of the figure, those of `jobs` too: the times of what was finished tell how long the rest takes.
        root: the figure's directory.
        workers: how many run at a time.
    """

    def __init__(self, jobs: Sequence[Job], known: Iterable[Job], root: Path, workers: int) -> None:
        rates = _rates(known, root)
        for job in jobs:
            if job.kind not in rates:
                rates[job.kind] = _measure(job)
        self._seconds = {job.name: rates[job.kind] * job.units for job in jobs}
        self._first = {job.name: begun(job, root).get("units", 0) / job.units for job in jobs}
        self._shares = dict(self._first)
        self._reported: set[str] = set()
        self._workers = min(workers, max(1, len(jobs)))
        self._began = time.monotonic()

    @property
    def total_s(self) -> float:
        """One core's work in all."""
        return sum(self._seconds.values())

    @property
    def done_s(self) -> float:
        """How much of it is done, by the forecast's own measure."""
        return sum(self._seconds[name] * share for name, share in self._shares.items())

    def update(self, job: Job, share: float) -> None:
        """A job has got that far; where its first report says that an earlier attempt did part of it, that counts."""
        if job.name not in self._reported:
            self._reported.add(job.name)
            self._first[job.name] = share
        self._shares[job.name] = share

    def left_s(self) -> float:
        """Wall time to the end, by the speed so far; before anything is done, by the forecast."""
        before = sum(self._seconds[name] * share for name, share in self._first.items())
        made, elapsed = self.done_s - before, time.monotonic() - self._began
        speed = made / elapsed if made > 0.02 * self.total_s else self._workers
        return max(0.0, self.total_s - self.done_s) / speed


def _rates(jobs: Iterable[Job], root: Path) -> dict[str, float]:
    """Seconds for a unit of work of each kind, the median over jobs that were finished, after however few."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        if figures := begun(job, root):
            found.setdefault(job.kind, []).append(figures["seconds"] / figures["units"])
    return {kind: statistics.median(values) for kind, values in found.items()}


def _measure(job: Job) -> float:
    """Seconds for a unit of a job's work, from a few steps of it."""
    return _clone_step_s(job) / BATCH if isinstance(job, CloneJob) else _env_step_s(job)


def _clone_step_s(job: CloneJob) -> float:
    if not job.epochs:
        return 0.0
    settings = pretrain_settings(job)
    policy = new_policy(_spec(job), settings.cloned, seed=0)
    cloning = Cloning(policy, settings, samples=job.samples, steps=PROBES, seed=0)
    obs, labels = random_observation(policy.spec, BATCH, seed=0), torch.zeros(BATCH, policy.spec.action_size)
    times = []
    for _ in range(PROBES):
        began = time.monotonic()
        cloning.step(obs, labels)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def _env_step_s(job: TrainJob) -> float:
    """Of rollouts and update of an untrained dense network; evaluations, which come on top, are few."""
    recipe = load_recipe(job.recipe, {"critic.warmup_batches": 0})
    learner = build_learner(recipe, new_policy(_spec(job.clone), seed=0))
    with ProcessCollector(lambda: _env(job.clone), seed=0) as collector:
        for _ in range(2):  # the first starts what the second finds ready
            began = time.monotonic()
            episodes = collector.collect(learner.actor(), learner.collect_steps)
            learner.observe(episodes)
            learner.update()
    return (time.monotonic() - began) / sum(map(len, episodes))


def _env(job: CloneJob) -> ArmEnv:
    return ArmEnv(job.task, image_height=job.image_size)


def _spec(job: CloneJob) -> ObservationSpec:
    env = _env(job)
    env.close()
    return spec_of(env)
