"""Carries out one job in a directory of its own, resumably: whatever kills it, the same call goes on."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.base.files import in_turn, write_bytes, write_json
from vd_policy.base.seeds import NETWORK, ROLLOUTS, Seeds
from vd_policy.base.settings import as_dict, build
from vd_policy.demos.dataset import Dataset
from vd_policy.experiments.evaluate import evaluate
from vd_policy.experiments.reproduce.jobs import REACH, UNTRAINED, CloneJob, Job, TrainJob
from vd_policy.learning.collector import ProcessCollector
from vd_policy.learning.pretrain import PretrainSettings, observation_spec, pretrain
from vd_policy.learning.pruning import uncertain
from vd_policy.learning.recipe import build_learner, load_recipe
from vd_policy.learning.train import EARLIER_TASK, Training
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import MANIFEST, Run, load_run, save_run
from vd_policy.policy.gaussian import GaussianPolicy, exploring, new_policy
from vd_policy.policy.layers import regularised_layers
from vd_policy.policy.prune import prune, prune_by_magnitude
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.tasks import ASKED_APART, load_task

JOB_FILE, DONE_FILE, EVALUATIONS_FILE = "job.json", "done.json", "evaluations.csv"
EVALUATION_SEED = 0
"""Of the fixed starts, the same ones for all methods and seeds; no demonstration or rollout draws from them."""
RECIPE_SETTINGS = "recipe_settings"
"""Of a job's file: what its recipe says, which somebody may edit later."""
TASK_SETTINGS = "task_settings"
"""Of a job's file: what its task says, likewise."""
LATER = ("steps",)
"""A field that a repeated command may change: a training goes on to more steps."""

Report = Callable[[float], None]
"""Called with the share of the job that is done."""


def done(job: Job, root: Path) -> dict[str, Any] | None:
    """What a finished job left, or None if it has still to be done, or to go on to more steps."""
    found = begun(job, root)
    return found if found.get("units", 0) >= job.units else None


def begun(job: Job, root: Path) -> dict[str, Any]:
    """What a job left when it was last finished, perhaps after fewer steps than it is to take now; empty if never."""
    file = job.place(root) / DONE_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def check_same(job: Job, root: Path) -> None:
    """Refuse a directory in which a job of this name was begun with other settings."""
    file = job.place(root) / JOB_FILE
    if not file.is_file():
        return
    here, there = _plain(job), _completed(json.loads(file.read_text()))
    _check_same_task(job, here.pop(TASK_SETTINGS), there.pop(TASK_SETTINGS, {}), root)
    for name, value in here.items():
        if name == RECIPE_SETTINGS and name not in there:  # a job from before they were written down
            continue
        if there.get(name) != value:
            raise BadInput(f"{job.name}: {name}", value, f"{there.get(name)!r}, as it was begun in {root}",
                           "repeat the first command, or choose another --out")  # fmt: skip


def _check_same_task(job: Job, here: dict[str, Any], there: dict[str, Any], root: Path) -> None:
    """What an older job does not say was as it is now, or as before there was a choice."""
    for name, value in {**here, **EARLIER_TASK, **there}.items():
        if here.get(name) != value:
            raise BadInput(f"{job.name}: {name} of the task", here.get(name), f"{value!r}, as it was begun in {root}",
                           "choose another --out, or --set task=... as it was")  # fmt: skip


def carry_out_job(job: Job, root: Path, report: Report = lambda share: None) -> None:
    """Begin or go on with a job until its done-file is there."""
    place = job.place(root)
    with in_turn(place / ".lock"):  # a process of an earlier, killed command lives until its next report
        began = time.monotonic()
        check_same(job, root)
        write_json(place / JOB_FILE, _plain(job))
        figures = _clone(job, root, report) if isinstance(job, CloneJob) else _Course(job, root).run(report)
        seconds = time.monotonic() - began + begun(job, root).get("seconds", 0.0)
        write_json(place / DONE_FILE, {"units": job.units, "seconds": seconds, **figures})


def run_of(job: Job, root: Path) -> Path:
    """Where the policy of a job lies, that of the RL phase with its curve."""
    return job.place(root) / "run"


def _plain(job: Job) -> dict[str, Any]:
    values = asdict(job)
    return {**{name: value for name, value in values.items() if name not in LATER},
            RECIPE_SETTINGS: load_recipe(job.recipe).settings, TASK_SETTINGS: _task_settings(job)}  # fmt: skip


def _task_settings(job: Job) -> dict[str, Any]:
    """What its task says, but for what the job says itself."""
    task = load_task(job.task if isinstance(job, CloneJob) else job.clone.task)
    return {name: value for name, value in as_dict(task).items() if name not in ASKED_APART}


def _completed(begun: dict[str, Any]) -> dict[str, Any]:
    """What a job file says; one from before jobs knew their task is of reaching."""
    as_they_are = (RECIPE_SETTINGS, TASK_SETTINGS)
    values = {name: _completed(value) if isinstance(value, dict) and name not in as_they_are else value
              for name, value in begun.items()}  # fmt: skip
    return {"task": REACH, **values} if "method" in values else values


def _clone(job: CloneJob, root: Path, report: Report) -> dict[str, Any]:
    dataset = Dataset(root / "demonstrations" / job.demonstrations)
    settings, out = pretrain_settings(job), run_of(job, root)
    there = (out / MANIFEST).is_file()
    if job.method == UNTRAINED:
        if not there:
            spec = observation_spec(dataset, dataset.split(settings.validation_fraction, job.seed)[0])
            save_run(out, new_policy(spec, settings.policy, seed=Seeds(job.seed).integer(NETWORK)), config={})
        return {}
    pretrain(dataset, settings, out, seed=job.seed, resume=there,
             progress=lambda step, steps, _: report(step / steps))  # fmt: skip
    return _sparsity(load_run(out).policy)


def pretrain_settings(job: CloneJob) -> PretrainSettings:
    """What the job clones with."""
    changes: dict[str, Any] = {} if job.method == UNTRAINED else {"epochs": job.epochs}
    if job.l2_weight is not None:
        changes["l2_weight"] = job.l2_weight
    return build(PretrainSettings, load_recipe(job.recipe, changes).settings, f"recipe {job.recipe}")


def _sparsity(policy: GaussianPolicy) -> dict[str, Any]:
    """What the threshold would drop, and what is left; nothing for a network without dropout rates."""
    if not regularised_layers(policy):
        return {}
    report = prune(policy)[1]
    return {"weight_sparsity": report.weight_sparsity, "unit_sparsity": report.unit_sparsity,
            "parameters_before": report.parameters_before, "parameters_after": report.parameters_after,
            "flops_before": report.flops_before, "flops_after": report.flops_after}  # fmt: skip


class _Course:
    """RL from a cloned policy, the mean policy evaluated at each point before the training goes on."""

    def __init__(self, job: TrainJob, root: Path) -> None:
        self.job, self.root, self.place = job, root, job.place(root)
        self.make_env = partial(ArmEnv, job.clone.task, image_height=job.clone.image_size)

    def run(self, report: Report) -> dict[str, Any]:
        job = self.job
        recipe, start = load_recipe(job.recipe), self._start()
        learner = build_learner(recipe, start.policy, seed=job.seed, version=start.manifest["weight_version"] + 1)
        seed = Seeds(job.seed).integer(ROLLOUTS)
        begun_with = {"method": recipe.method, "settings": recipe.settings, "seed": job.seed}
        with ProcessCollector(self.make_env, seed=seed, task=load_task(job.clone.task).task) as collector:
            training = Training(learner, collector, start, run_of(job, self.root), begun_with=begun_with)
            if (training.out / MANIFEST).is_file():
                training.restore()
            for point in job.points():
                training.run(point, lambda steps, row: report(steps / job.steps))
                self._evaluate(point, training)
        return {}

    def _start(self) -> Run:
        """The cloned policy without what is pruned before RL (section IV), exploring as the job says."""
        path = self.place / "start"
        if not (path / MANIFEST).is_file():
            source = load_run(run_of(self.job.clone, self.root))
            policy = self._exploring(self._pruned(source.policy), source)
            kept = {name: source.manifest[name] for name in ("env_steps", "weight_version")}
            save_run(path, policy, config=source.config,
                     manifest_extra={**kept, "parents": {"init": source.as_parent()}})  # fmt: skip
        return load_run(path)

    def _exploring(self, policy: GaussianPolicy, source: Run) -> GaussianPolicy:
        """With the standard deviation that RL starts from."""
        if self.job.initial_std is not None:
            return exploring(policy, self.job.initial_std)
        dataset = Dataset(self.root / "demonstrations" / self.job.clone.demonstrations)
        return uncertain(policy, source, dataset, seed=self.job.seed)

    def _pruned(self, policy: GaussianPolicy) -> GaussianPolicy:
        """By dropout rates where it has them, by magnitude where the job says so, else whole."""
        if self.job.like is not None:
            densities = prune(load_run(run_of(self.job.like, self.root)).policy)[1].densities()
            return prune_by_magnitude(policy, densities)[0]
        return prune(policy)[0] if regularised_layers(policy) else policy

    def _evaluate(self, point: int, training: Training) -> None:
        """Append one row to the evaluations, unless an earlier attempt did.

        The policy is that after the iteration which came to the point: ``reached`` says where it ended.
        """
        rows = read_evaluations(self.place)
        if any(row["env_steps"] == point for row in rows):
            return
        env = self.make_env()
        try:
            actor = GaussianActor(training.learner.product())
            found = evaluate(env, actor, episodes=self.job.episodes, seed=EVALUATION_SEED)
        finally:
            env.close()
        low, high = found.interval_95
        rows.append({"env_steps": point, "reached": training.rl_steps, "episodes": found.episodes,
                     "successes": found.successes, "success_rate": found.success_rate, "low_95": low, "high_95": high,
                     "successes_per_200_steps": found.successes_per_200_steps,
                     "mean_return": found.mean_return})  # fmt: skip
        write_bytes(self.place / EVALUATIONS_FILE, csv_text(rows).encode())


def read_evaluations(place: Path) -> list[dict[str, float]]:
    """Rows of a training's evaluations of the mean policy, in the order they were made."""
    file = place / EVALUATIONS_FILE
    if not file.is_file():
        return []
    return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(io.StringIO(file.read_text()))]


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV, what one lacks left empty; floats as short as they can be read back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for row in rows for k in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()} for row in rows)
    return text.getvalue()
