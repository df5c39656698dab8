"""Expert demonstrations as episode bags, made in-process over several workers.

Episode `i` depends on the seed and on `i` alone, so the bags are the same for any number of workers, and those of an
interrupted run are completed by making the ones that are missing.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.workers import serve_parent, start_all
from vd_policy.demos.demonstrator import DemonstrationSettings, Demonstrator
from vd_policy.demos.destination import destination, remove_beyond
from vd_policy.demos.episode_report import DemonstrationSummary, EpisodeReport, summary
from vd_policy.demos.recording import MIN_STEPS
from vd_policy.demos.storage import episode_name
from vd_policy.sim.tasks import load_task

FRUITLESS_EPISODES = 200
"""So many in a row without a pair, and there will be none."""


def demonstrate(
    settings: DemonstrationSettings,
    samples: int,
    out: str | Path,
    *,
    seed: int = 0,
    workers: int = 1,
    existing: str = "refuse",
    progress: Callable[[int], None] | None = None,
) -> DemonstrationSummary:
    """Make exactly `samples` state-label pairs.

    Args:
        settings: task, robot, camera and expert.
        samples: pairs wanted, at least 2.
        out: directory of episode bags.
        seed: of the run.
        workers: processes.
        existing: what to do when `out` holds episodes: ``refuse``, ``append`` as many again, ``resume`` the command
            that recorded last up to `samples`, or ``overwrite`` them.
        progress: called with the number of pairs that each episode added.

    Raises:
        BadInput: a bad setting, or episodes in `out` that `existing` does not allow.
        VdPolicyError: the disk is full, or a worker died; the episodes made so far can be resumed. Or episode after
            episode is too short to give a pair.
    """
    began, out = time.monotonic(), Path(out)
    if samples < MIN_STEPS:
        raise BadInput("samples", samples, f"at least {MIN_STEPS}", "ask for more")
    if workers < 1:
        raise BadInput("workers", workers, "at least 1", "use 1")
    settings = settings.whole()
    Demonstrator(settings, out, seed).env.close()  # refuses bad settings before anything is touched
    with destination(out, settings, samples, seed, existing) as first:
        with _crew(settings, out, seed, workers) as crew:
            reports = _collect(crew, settings, out, first, samples, progress)
        if existing == "resume":
            remove_beyond(out, reports[-1].index)
    return summary(out, reports, time.monotonic() - began)


@contextmanager
def _crew(settings: DemonstrationSettings, out: Path, seed: int, workers: int) -> Iterator[list[Executor]]:
    """An executor for each worker, which makes every `workers`-th episode and so knows those that follow.

    Processes that each have an environment; a single worker is a thread, which saves starting a process.
    """
    arguments = (settings, out, seed, workers)
    crew: list[Executor]
    if workers == 1:
        crew = [ThreadPoolExecutor(1, initializer=_start_worker, initargs=arguments)]
    else:
        context = multiprocessing.get_context("spawn")
        crew = [ProcessPoolExecutor(1, context, _start_process, arguments) for _ in range(workers)]
        for executor in crew:
            start_all(executor, 1)
    try:
        yield crew
    except BrokenProcessPool as error:
        raise VdPolicyError(
            f"recording: a worker process died; whole episodes are intact in {out}; use fewer workers, and --resume"
        ) from error
    finally:
        for executor in crew:
            executor.shutdown(cancel_futures=True)


def _collect(
    crew: list[Executor],
    settings: DemonstrationSettings,
    out: Path,
    first: int,
    samples: int,
    progress: Callable[[int], None] | None,
) -> list[EpisodeReport]:
    """Episodes in order until there are enough pairs, the last one cut so that there are just as many."""
    reports: list[EpisodeReport] = []
    total = fruitless = 0
    with closing(_in_order(crew, out, first)) as episodes:
        while total < samples:
            report = next(episodes)
            reports.append(report)
            total += report.samples
            fruitless = 0 if report.samples else fruitless + 1
            if fruitless == FRUITLESS_EPISODES:
                raise VdPolicyError(_why_fruitless(settings, out))
            if progress is not None:
                progress(min(report.samples, samples - (total - report.samples)))
    for position, steps in cuts([r.steps for r in reports], total - samples).items():
        index = reports[position].index
        reports[position] = crew[index % len(crew)].submit(_record, index, steps).result()
    return reports


def _why_fruitless(settings: DemonstrationSettings, out: Path) -> str:
    task, robot = load_task(settings.task), load_robot(settings.robot)
    home = ", ".join(f"{angle:g}" for angle in robot.home_rad)
    return (
        f"recording: {FRUITLESS_EPISODES} episodes in a row gave no sample, for they ended before step {MIN_STEPS}; "
        f"look at tolerance_m {task.tolerance_m:g} and horizon {task.horizon} of the task {task.task}, and at home_rad "
        f"[{home}] of {robot.name}, which may be at the goal or touch something; the episodes are in {out}"
    )


def cuts(steps: list[int], excess: int) -> dict[int, int]:
    """Which episodes to shorten to how many steps, to be rid of `excess` pairs; the last one has more steps than that.

    The last episode is shortened; where it would be left with one step, which is no usable episode, it keeps two and
    another one gives the step.
    """
    if excess == 0:
        return {}
    last, left = len(steps) - 1, steps[-1] - excess
    if left >= MIN_STEPS:
        return {last: left}
    giver = next((i for i in reversed(range(last)) if steps[i] > MIN_STEPS), None)
    return {last: MIN_STEPS} if giver is None else {giver: steps[giver] - 1, last: MIN_STEPS}


def _in_order(crew: list[Executor], out: Path, first: int) -> Generator[EpisodeReport, None, None]:
    """Reports of episodes `first`, `first` + 1, ...; those begun beyond the last one taken are removed on close."""
    pending: deque[Future[EpisodeReport]] = deque()
    following = first
    try:
        while True:
            while len(pending) < 2 * len(crew):
                pending.append(crew[following % len(crew)].submit(_record, following))
                following += 1
            report = pending[0].result()
            pending.popleft()
            first += 1
            yield report
    finally:
        for future in pending:
            if not future.cancel():
                future.exception()
        for index in range(first, following):
            shutil.rmtree(out / episode_name(index), ignore_errors=True)


_worker: dict[str, Demonstrator] = {}
"""This process' demonstrator: an environment cannot travel between processes."""


def _start_worker(settings: DemonstrationSettings, out: Path, seed: int, workers: int) -> None:
    _worker["demonstrator"] = Demonstrator(settings, out, seed, stride=workers)


def _start_process(settings: DemonstrationSettings, out: Path, seed: int, workers: int) -> None:
    serve_parent()  # which lets the open episodes finish
    _start_worker(settings, out, seed, workers)


def _record(index: int, max_steps: int | None = None) -> EpisodeReport:
    return _worker["demonstrator"].record(index, max_steps)
