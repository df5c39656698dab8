"""Expert demonstrations as episode bags, made in-process over several workers.

Episode `i` depends on the seed and on `i` alone, so the bags are the same for any number of workers, and those of an
interrupted run are completed by making the ones that are missing.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vd_policy.arm.expert import ExpertSettings
from vd_policy.arm.hand import hand_of
from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.files import storage_errors, write_json
from vd_policy.base.seeds import Seeds
from vd_policy.base.settings import as_dict, setting
from vd_policy.base.workers import serve_parent, start_all
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import custom_data
from vd_policy.demos.recording import MIN_STEPS
from vd_policy.demos.steps import StepWriter
from vd_policy.demos.storage import bag_paths, episode_name, episode_paths, next_index, unfinished_paths
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.outcome import Outcome, outcome_of
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.tasks import changes_of, load_task

if TYPE_CHECKING:
    from vd_policy.demos.dagger import ActingPolicy

SETTINGS_FILE = "demonstration.json"
APPENDED = "appended_from"
"""In `SETTINGS_FILE`: numbers of the episodes from which on other commands recorded."""
EXISTING = ("refuse", "append", "resume", "overwrite")
CUT = "samples"
"""Reason of the last episode of a run, when it was ended because enough samples had been made."""


@dataclass(frozen=True)
class DemonstrationSettings:
    """What is demonstrated, and how."""

    task: str = setting("reach", "a name in config/tasks or a YAML file")
    robot: str = setting("j2n6s300", "a name in config/robots or a YAML file")
    image_height: int | None = setting(None, "[px]; None: the task's", minimum=1)
    image_width: int | None = setting(None, "[px]; None: the task's", minimum=1)
    motion: str = setting("kinematic", "how the arm moves", choices=("kinematic", "position"))
    rule: str = setting("clipped", "the expert's eq. 10", choices=("clipped", "literal"))
    noise_std_rad: float | None = setting(
        None, "standard deviation of the noise on the expert's action [rad]; None: the task's", minimum=0.0
    )
    clip_noise: bool = setting(True, "clip the noisy action to the largest step, beyond which nothing moves")
    end_on_contact: bool | None = setting(None, "end a demonstration at a contact; None leaves it to the task")
    actor: str = setting("", "directory of a run whose policy acts, so that the expert only labels; empty: the expert")

    def whole(self) -> DemonstrationSettings:
        """The same with the task's image size and noise where none were asked for."""
        task = load_task(self.task)
        height, width = (task.image_size if n is None else n for n in (self.image_height, self.image_width))
        noise = task.noise_rad if self.noise_std_rad is None else self.noise_std_rad
        return replace(self, image_height=height, image_width=width, noise_std_rad=noise)


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
        existing: what to do when `out` holds episodes: ``refuse``, ``append`` as many again, ``resume`` the same run up
            to `samples`, or ``overwrite`` them.
        progress: called with the number of pairs that each episode added.

    Raises:
        BadInput: a bad setting, or episodes in `out` that `existing` does not allow.
        VdPolicyError: the disk is full, or a worker died; the episodes made so far can be resumed.
    """
    began, out = time.monotonic(), Path(out)
    if samples < MIN_STEPS:
        raise BadInput("samples", samples, f"at least {MIN_STEPS}", "ask for more")
    if workers < 1:
        raise BadInput("workers", workers, "at least 1", "use 1")
    settings = settings.whole()
    Demonstrator(settings, out, seed).env.close()  # refuses bad settings before anything is touched
    first = prepare(out, settings, samples, seed, existing)
    with _pool(settings, out, seed, workers) as executor:
        reports = _collect(executor, out, first, samples, window=2 * workers, progress=progress)
    if existing == "resume":
        _remove_beyond(out, reports[-1].index)
    return summary(out, reports, time.monotonic() - began)


def recorded(out: Path, first: int = 0) -> list[EpisodeReport]:
    """What lies in a directory, from episode `first` on, by what the bags say of themselves."""
    numbered = [bag for bag in bag_paths(out) if bag.name >= episode_name(first)]
    return [_report(int(bag.name.rpartition("_")[2]), custom_data(bag)) for bag in numbered]


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


def prepare(out: Path, settings: DemonstrationSettings, samples: int, seed: int, existing: str) -> int:
    """Ready the directory as `existing` says; returns the number of the first episode to make.

    Raises:
        BadInput: `out` is no directory, or holds what `existing` does not allow.
    """
    if existing not in EXISTING:
        raise BadInput("existing", existing, "one of " + ", ".join(EXISTING), "choose one of them")
    if out.exists() and not out.is_dir():
        raise BadInput("--out", str(out), "a directory", "choose another one")
    there = next_index(out)
    if there and existing == "refuse":
        raise BadInput("--out", str(out), "a directory without episodes",
                       "choose another one, or pass --append, --resume or --overwrite")  # fmt: skip
    mine = {"seed": seed, **as_dict(settings.whole()), "samples": samples}
    if existing == "resume" and there:
        _check_same_run(out, mine, samples)
    if existing == "append" and there:
        _note_appended(out, mine, there)
    if existing in ("resume", "overwrite"):
        for leftover in unfinished_paths(out) if out.is_dir() else ():
            shutil.rmtree(leftover)
    if existing == "overwrite" and there:
        for bag in episode_paths(out):
            shutil.rmtree(bag)
    with storage_errors("recording", out):
        out.mkdir(parents=True, exist_ok=True)
    if existing != "append" or not there:
        write_json(out / SETTINGS_FILE, mine)
        return 0
    return there


def _note_appended(out: Path, mine: dict[str, Any], first: int) -> None:
    """Remember that from episode `first` on another command recorded; refuse pairs that no dataset would mix."""
    try:
        theirs = json.loads((out / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return
    for key in ("image_height", "image_width"):
        if theirs.get(key, mine[key]) != mine[key]:
            raise BadInput(f"--append: {key}", mine[key], f"{theirs[key]}, as {out} holds",
                           "record in another directory, or with --image-size as before")  # fmt: skip
    if _names(theirs) != _names(mine):
        raise BadInput("--append", " ".join(_names(mine)), f"{' '.join(_names(theirs))}, as {out} holds",
                       "record in another directory")  # fmt: skip
    write_json(out / SETTINGS_FILE, {**theirs, APPENDED: [*theirs.get(APPENDED, []), first]})


def _names(settings: dict[str, Any]) -> tuple[str, str]:
    """Task and robot, whether they were given by name or as files; as they were given where that is gone."""
    try:
        return load_task(settings["task"]).task, load_robot(settings["robot"]).name
    except (BadInput, KeyError):
        return str(settings.get("task")), str(settings.get("robot"))


def _check_same_run(out: Path, mine: dict[str, Any], samples: int) -> None:
    try:
        theirs = json.loads((out / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        raise BadInput("--resume", str(out), f"a directory with a readable {SETTINGS_FILE}",
                       "use --append or --overwrite") from None  # fmt: skip
    if appended := theirs.get(APPENDED):
        raise BadInput("--resume", str(out), f"the recording of one command; episodes from {appended[0]} on were "
                       "appended by another", "use --append")  # fmt: skip
    if differing := [k for k in mine if k != "samples" and theirs.get(k) != mine[k]]:
        key = differing[0]
        raise BadInput(f"--resume: {key}", mine[key], f"{theirs.get(key)!r}, as the run was begun",
                       "repeat the first command, or use --append or --overwrite")  # fmt: skip
    made = sum(report.samples for report in recorded(out))
    if made > samples and theirs.get("samples") != samples:  # a killed run may have made more than it was asked for
        raise BadInput("--samples", samples, f"at least the {made} that {out} holds", "ask for as many or more")


@contextmanager
def _pool(settings: DemonstrationSettings, out: Path, seed: int, workers: int) -> Iterator[Executor]:
    """Processes that each have an environment; a single worker is a thread, which saves starting a process."""
    arguments = (settings, out, seed)
    if workers == 1:
        executor: Executor = ThreadPoolExecutor(1, initializer=_start_worker, initargs=arguments)
    else:
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(workers, context, initializer=_start_process, initargs=arguments)
        start_all(executor, workers)
    try:
        yield executor
    except BrokenProcessPool as error:
        raise VdPolicyError(
            f"recording: a worker process died; whole episodes are intact in {out}; use fewer workers, and --resume"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _collect(
    executor: Executor, out: Path, first: int, samples: int, window: int, progress: Callable[[int], None] | None
) -> list[EpisodeReport]:
    """Episodes in order until there are enough pairs, the last one cut so that there are just as many."""
    reports: list[EpisodeReport] = []
    total = 0
    with closing(_in_order(executor, out, first, window)) as episodes:
        while total < samples:
            report = next(episodes)
            reports.append(report)
            total += report.samples
            if progress is not None:
                progress(min(report.samples, samples - (total - report.samples)))
    for position, steps in cuts([r.steps for r in reports], total - samples).items():
        index = reports[position].index
        reports[position] = executor.submit(_record, index, steps).result()
    return reports


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


def _in_order(executor: Executor, out: Path, first: int, window: int) -> Generator[EpisodeReport, None, None]:
    """Reports of episodes `first`, `first` + 1, ...; those begun beyond the last one taken are removed on close."""
    pending: deque[Future[EpisodeReport]] = deque()
    following = first
    try:
        while True:
            while len(pending) < window:
                pending.append(executor.submit(_record, following))
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


def _remove_beyond(out: Path, last: int) -> None:
    """Remove what a killed run of more workers had made ahead."""
    for bag in episode_paths(out):
        if bag.name > episode_name(last):
            shutil.rmtree(bag)


class Demonstrator:
    """An environment, an expert for each of its episodes, and the directory they are recorded in."""

    def __init__(self, settings: DemonstrationSettings, out: Path, seed: int) -> None:
        self._settings, self._out, self._seeds = settings, out, Seeds(seed)
        self.env = make_env(settings)
        self._hand = hand_of(self.env.robot) if self.env.grips else None
        task, asked = self.env.settings, settings.noise_std_rad
        noise_rad = task.noise_rad if asked is None else asked
        self._expert = ExpertSettings(settings.rule, noise_rad, settings.clip_noise, task.max_step_rad)
        self._actor = _acting_policy(settings.actor, self.env) if settings.actor else None
        self._task_changes = changes_of(load_task(settings.task))

    def record(self, index: int, max_steps: int | None = None) -> EpisodeReport:
        """Demonstrate episode `index` and record it; one that is already there is kept.

        Args:
            max_steps: record it again, ended after that many steps.
        """
        path = self._out / episode_name(index)
        if path.exists() and max_steps is None and (custom := custom_data(path)).get("reason") != CUT:
            return _report(index, custom)
        shutil.rmtree(path, ignore_errors=True)
        info = self._info(index)
        with EpisodeWriter(self._out, index, info) as writer:
            outcome = self._demonstrate(index, StepWriter(writer, info, self.env.camera, self._hand), max_steps)
        return EpisodeReport(index, outcome.step, outcome.success, outcome.failure)

    def _demonstrate(self, index: int, steps: StepWriter, max_steps: int | None) -> Outcome:
        env, seed = self.env, self._seeds.integer("episode", index)
        obs, info = env.reset(seed=seed)
        expert = env.expert(self._expert)
        rng = Seeds(seed).rng("expert")
        outcome = self._outcome(index, seed, 0, 0.0, False, False, info)
        steps.observation(obs, env.q, outcome)
        while not outcome.last:
            q = env.q
            label = expert.decide(q)
            noisy = expert.with_noise(label if self._actor is None else self._actor.decide(obs), rng)
            obs, reward, terminated, truncated, info = env.step_to(q + noisy)
            steps.answer(outcome.step, q + label, q + noisy, self._limited(q, noisy))
            step = outcome.step + 1
            if step == max_steps and not terminated:
                truncated, info = True, {**info, "reason": info["reason"] or CUT}
            outcome = self._outcome(index, seed, step, reward, terminated, truncated, info)
            steps.observation(obs, env.q, outcome)
        return outcome

    def _limited(self, q: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """The target within the largest step and the joint limits: what the safety node lets through."""
        robot, largest = self.env.robot, self.env.settings.max_step_rad
        return np.clip(q + np.clip(delta, -largest, largest), robot.lower_rad, robot.upper_rad)

    def _outcome(
        self, index: int, seed: int, step: int, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> Outcome:
        return outcome_of(self.env.settings.task, index, step, seed, reward, terminated, truncated, info)

    def _info(self, index: int) -> EpisodeInfo:
        env, expert = self.env, self._expert
        return EpisodeInfo(
            task=env.settings.task,
            robot=env.robot.name,
            joints=env.robot.joints,
            max_step_rad=env.settings.max_step_rad,
            period_s=env.settings.period_s,
            horizon=env.settings.horizon,
            source="expert" if self._actor is None else "policy",
            task_changes=self._task_changes,
            sequence=index,
            expert_rule=expert.rule,
            expert_noise_rad=expert.noise_std_rad,
        )


def make_env(settings: DemonstrationSettings) -> ArmEnv:
    """The environment of the demonstrations."""
    overrides = {} if settings.end_on_contact is None else {"end_on_contact": settings.end_on_contact}
    return ArmEnv(settings.task, settings.robot, image_height=settings.image_height, image_width=settings.image_width,
                  motion=settings.motion, overrides=overrides)  # fmt: skip


def _acting_policy(run: str, env: ArmEnv) -> ActingPolicy:
    from vd_policy.demos.dagger import ActingPolicy  # not at the top: it brings torch, a second of start-up

    return ActingPolicy(run, env)


def _report(index: int, custom: dict[str, str]) -> EpisodeReport:
    how = custom.get("outcome")
    return EpisodeReport(index, int(custom.get("steps", 0)), how == "success", how == "failure")


_worker: dict[str, Demonstrator] = {}
"""This process' demonstrator: an environment cannot travel between processes."""


def _start_worker(settings: DemonstrationSettings, out: Path, seed: int) -> None:
    _worker["demonstrator"] = Demonstrator(settings, out, seed)


def _start_process(settings: DemonstrationSettings, out: Path, seed: int) -> None:
    serve_parent()  # which lets the open episodes finish
    _start_worker(settings, out, seed)


def _record(index: int, max_steps: int | None = None) -> EpisodeReport:
    return _worker["demonstrator"].record(index, max_steps)
