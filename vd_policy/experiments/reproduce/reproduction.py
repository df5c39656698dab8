"""The paper's experiments as one command: demonstrate, clone, improve, over methods and seeds; then judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.files import write_json
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.experiments.evaluate import Request, carry_out
from vd_policy.experiments.reproduce.chain import EVALUATION_SEED, check_same, done
from vd_policy.experiments.reproduce.figure_report import FigureReport, write_report
from vd_policy.experiments.reproduce.forecast import Forecast
from vd_policy.experiments.reproduce.jobs import GRASP, REACH, CloneJob, Job
from vd_policy.experiments.reproduce.plan import OUR_EXPERT, Plan, shows_ours
from vd_policy.experiments.reproduce.pool import run_jobs

EXPERTS = {REACH: ("expert-literal", "expert"), GRASP: ("expert",)}
"""Lines of a task's figures; eq. 10 as printed is no expert at grasping."""
EPISODES = "episodes"
"""In the file of the experts' figures: how many starts they are of."""
EXPERT_IMAGE_SIZE = 8
"""The experts do not look; small images are quick."""


class Watcher(Protocol):
    """Is told how far things are; for people."""

    def begin(self, what: str, total_s: float, left_s: float) -> None:
        """A phase begins: `total_s` seconds of one core's work, `left_s` of wall time."""

    def advance(self, done_s: float, left_s: float, finished: str = "") -> None:
        """`done_s` of the phase's work are done; `finished` names a job that has just ended."""


def reproduce(plan: Plan, out: Path, *, workers: int, watcher: Watcher) -> FigureReport:
    """Run what is not yet done of a figure and write its CSV, plot and verdicts into `out`.

    Demonstrations come first, then all clones, then all trainings. Everything that was done by an earlier, interrupted
    call is kept; unfinished jobs go on from their last checkpoint, to the same result.

    Raises:
        BadInput: `out` holds jobs that were begun with other settings.
        VdPolicyError: a job failed; the others are complete, and the files are not written.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_same(plan, out)
    experts = _experts(plan, out, workers)
    _demonstrate([job for job in plan.clones if done(job, out) is None], out, workers, watcher)
    _phase("clones", plan.clones, out, workers, watcher)
    _phase("trainings", plan.trainings, out, workers, watcher)
    return write_report(plan, experts, out)


def report(plan: Plan, out: Path) -> FigureReport:
    """Write the files from what is complete, and run nothing.

    Raises:
        BadInput: there is no directory `out`, it holds jobs that were begun with other settings, or none is complete.
    """
    if not out.is_dir():
        raise Missing("--out", str(out), "the directory of a figure", "check the path, or leave out --report")
    _check_same(plan, out)
    if all(done(job, out) is None for job in plan.clones):
        raise BadInput("--out", str(out), "a directory with a complete job of this figure at these settings",
                       "repeat the --set and --seeds of the first command, or leave out --report")  # fmt: skip
    return write_report(plan, _of_figure(plan, _known_experts(plan, out)), out)


def _check_same(plan: Plan, out: Path) -> None:
    jobs: tuple[Job, ...] = (*plan.clones, *plan.trainings)
    for job in jobs:
        check_same(job, out)


def _experts(plan: Plan, out: Path, workers: int) -> dict[str, float]:
    """The figure's measure of the experts, noiseless, measured once."""
    known = _known_experts(plan, out)
    missing = {line: subject for line, subject in expert_lines(plan).items() if plan.trainings and line not in known}
    for line, (name, task) in missing.items():
        request = Request(name, EVALUATION_SEED, image_size=EXPERT_IMAGE_SIZE, env_options={"task": task})
        found = carry_out(request, plan.scale.expert_episodes, workers=workers)
        known[line] = found.figures()[plan.contents.measure.evaluated]
    if missing:
        write_json(_experts_file(plan, out), {EPISODES: plan.scale.expert_episodes, **known})
    return _of_figure(plan, known)


def _of_figure(plan: Plan, known: dict[str, float]) -> dict[str, float]:
    """The lines of this figure; another one in the same directory may have more."""
    return {line: known[line] for line in expert_lines(plan) if line in known}


def expert_lines(plan: Plan) -> dict[str, tuple[str, str]]:
    """The baseline and the task behind each of the experts' lines."""
    lines = {name: (name, plan.task) for name in EXPERTS[plan.contents.task]}
    for clone in plan.clones:
        if shows_ours(clone) and clone.task != plan.task:
            lines[OUR_EXPERT] = ("expert", clone.task)
    return lines


def _known_experts(plan: Plan, out: Path) -> dict[str, float]:
    """Those of as many starts as the scale says; an older file does not say how many it took."""
    file = _experts_file(plan, out)
    known = json.loads(file.read_text()) if file.is_file() else {}
    return known if known.pop(EPISODES, plan.scale.expert_episodes) == plan.scale.expert_episodes else {}


def _experts_file(plan: Plan, out: Path) -> Path:
    return out / ("experts.json" if plan.task == REACH else f"experts_{Path(plan.task).stem}.json")


def _demonstrate(clones: Sequence[CloneJob], out: Path, workers: int, watcher: Watcher) -> None:
    """Bags and arrays of every data set that a clone still needs, methods sharing them."""
    needed = {job.demonstrations: job for job in clones}
    for name, job in needed.items():
        place, finished = out / "demonstrations" / name, out / "demonstrations" / f"{name}.done"
        if finished.is_file():
            continue
        watcher.begin(f"demonstrations {name}", 0.0, 0.0)
        demonstrate(job.demonstration(), job.samples, place, seed=job.seed, workers=workers, existing="resume")
        write_json(finished, {"samples": len(Dataset(place))})


def _phase(what: str, jobs: Sequence[Job], out: Path, workers: int, watcher: Watcher) -> None:
    """All jobs of one kind that are not done."""
    left = [job for job in jobs if done(job, out) is None]
    if not left:
        return
    forecast = Forecast(left, jobs, out, workers)
    watcher.begin(what, forecast.total_s, forecast.left_s())
    run_jobs(left, out, workers=workers, progress=_follow(forecast, watcher))


def _follow(forecast: Forecast, watcher: Watcher) -> Callable[[Job, float, bool], None]:
    def progress(job: Job, share: float, ended: bool) -> None:
        forecast.update(job, min(share, 1.0))
        watcher.advance(forecast.done_s, forecast.left_s(), job.name if ended else "")

    return progress
