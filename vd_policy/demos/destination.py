"""The directory that demonstrations go to: which commands recorded in it, and what another one may do there.

``demonstration.json`` holds the settings, the seed and the number of samples of the command that began the directory,
and under `APPENDED` the same of each command that added to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.files import DirectoryInUse, lock_directory, storage_errors, write_json
from vd_policy.base.settings import as_dict
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.demos.episode_report import recorded
from vd_policy.demos.foreign import MAP_FILE
from vd_policy.demos.reader import UnusableEpisode
from vd_policy.demos.recording import Recording, read_recording
from vd_policy.demos.storage import episode_paths, next_index, unfinished_paths
from vd_policy.sim.tasks import TaskSettings, changes_of, load_task

SETTINGS_FILE = "demonstration.json"
APPENDED, FIRST = "appended", "first"
"""In `SETTINGS_FILE`: what was appended, and the number of the first episode of each."""
EXISTING = ("refuse", "append", "resume", "overwrite")
RUN_MANIFEST = "manifest.json"
"""Of `policy/checkpoint.py`, which costs seconds to load."""


@contextmanager
def destination(out: Path, settings: DemonstrationSettings, samples: int, seed: int, existing: str) -> Iterator[int]:
    """Ready the directory as `existing` says, and keep other commands out of it; gives the first episode to make.

    Args:
        out: the directory.
        settings, samples, seed: what will be recorded; the settings are whole.
        existing: what to do with episodes that are there: ``refuse``, ``append``, ``resume`` the command that recorded
            last, or ``overwrite``.

    Raises:
        BadInput: `out` is no directory, is a run, holds another robot's bags, is being recorded in, or holds what
            `existing` does not allow.
    """
    if existing not in EXISTING:
        raise BadInput("existing", existing, "one of " + ", ".join(EXISTING), "choose one of them")
    if out.exists() and not out.is_dir():
        raise BadInput("--out", str(out), "a directory", "choose another one")
    check_fit(out)
    with storage_errors("recording", out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with lock_directory(out):
            yield _prepared(out, {"seed": seed, **as_dict(settings), "samples": samples}, existing)
    except DirectoryInUse:
        raise BadInput("--out", str(out), "a directory that no other command records in",
                       "wait for that one, or choose another directory") from None  # fmt: skip


def is_begun(out: Path) -> bool:
    """Whether a command began to record there, be it that it was killed before its first episode."""
    return out.is_dir() and (next_index(out) > 0 or _noted(out) is not None)


def check_mixes(out: Path, task: TaskSettings, robot: str, image_size: tuple[int, int]) -> None:
    """Refuse to add episodes to a directory whose own no dataset would mix with them; an empty one takes any.

    Args:
        out: the directory.
        task, robot, image_size: the task, the robot's name, and rows and columns of what will be recorded.

    Raises:
        BadInput: it is a run, holds another robot's bags, or its first whole episode is of another task or robot, or
            has images of another size.
    """
    check_fit(out)
    recording = _first_whole(out)
    if recording is None:
        return
    info, pictures = recording.info, list(recording.rgb.values())
    there = {"task": _described(info.task, info.task_changes), "robot": info.robot}
    mine = {"task": _described(task.task, changes_of(task)), "robot": robot}
    if recording.label:
        there["goals of the task"], mine["goals of the task"] = info.goals, task.goals
    if pictures:
        there["image size"], mine["image size"] = ("{}x{}".format(*s) for s in (pictures[0].shape[:2], image_size))
    for what, value in mine.items():
        if there[what] != value:
            raise BadInput(what, value, f"{there[what]}, as {out} holds", "record in another directory")


def check_fit(out: Path, option: str = "--out") -> None:
    """Refuse a run, which can no longer be loaded once it holds anything else, and bags that are read through a map."""
    for name, owner in ((RUN_MANIFEST, "a run has"), (MAP_FILE, "another robot's bags have")):
        if (out / name).exists():
            raise BadInput(option, str(out), f"one without {name}, which {owner}", "choose another one")


def _first_whole(out: Path) -> Recording | None:
    """The first episode that a dataset can read; None where there is none."""
    for bag in episode_paths(out).values() if out.is_dir() else ():
        with suppress(UnusableEpisode):
            return read_recording(bag)
    return None


def _described(task: str, changes: str) -> str:
    return f"{task} with {changes}" if changes else task


def remove_beyond(out: Path, last: int) -> None:
    """Remove the episodes after `last`: what a killed run of more workers had made ahead."""
    for index, bag in episode_paths(out).items():
        if index > last:
            shutil.rmtree(bag)


def _prepared(out: Path, mine: dict[str, Any], existing: str) -> int:
    there = next_index(out)
    if there and existing == "refuse":
        raise BadInput("--out", str(out), "a directory without episodes",
                       "choose another one, or pass --append, --resume or --overwrite")  # fmt: skip
    first = _resumed(out, mine) if there and existing == "resume" else 0
    if there and existing in ("append", "resume"):
        size = mine["image_height"], mine["image_width"]
        check_mixes(out, load_task(mine["task"]), load_robot(mine["robot"]).name, size)
    if there and existing == "append":
        _note_appended(out, mine, there)
        return there
    if existing in ("resume", "overwrite"):
        for leftover in unfinished_paths(out):
            shutil.rmtree(leftover)
    if existing == "overwrite":
        for bag in episode_paths(out).values():
            shutil.rmtree(bag)
    if not (there and existing == "resume"):
        write_json(out / SETTINGS_FILE, mine)
    return first


def _noted(out: Path) -> dict[str, Any] | None:
    """What `SETTINGS_FILE` says; None where there is none that can be read."""
    try:
        noted = json.loads((out / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def _note_appended(out: Path, mine: dict[str, Any], first: int) -> None:
    """Remember what is added from episode `first` on, where the directory says what it began with."""
    if (theirs := _noted(out)) is not None:
        write_json(out / SETTINGS_FILE, {**theirs, APPENDED: [*theirs.get(APPENDED, []), {FIRST: first, **mine}]})


def _resumed(out: Path, mine: dict[str, Any]) -> int:
    """Check that the command which recorded last in `out` was this one; returns where it began.

    It may ask for more samples than it did.
    """
    noted = _noted(out)
    if noted is None:
        raise BadInput("--resume", str(out), f"a directory with a readable {SETTINGS_FILE}",
                       "use --append or --overwrite")  # fmt: skip
    appended = noted.get(APPENDED, [])
    theirs = appended[-1] if appended else noted
    what = f"what was appended last, from episode {theirs[FIRST]} on" if appended else "the run"
    if differing := [k for k in mine if k != "samples" and theirs.get(k) != mine[k]]:
        key = differing[0]
        raise BadInput(f"--resume: {key}", mine[key], f"{theirs.get(key)!r}, as {what} was begun",
                       "repeat that command, or use --append or --overwrite")  # fmt: skip
    first, samples = theirs.get(FIRST, 0), mine["samples"]
    made = sum(report.samples for report in recorded(out, first))
    if made > samples and theirs.get("samples") != samples:  # a killed run may have made more than it was asked for
        raise BadInput("--samples", samples, f"at least the {made} that {out} holds", "ask for as many or more")
    now = {FIRST: first, **mine}
    write_json(out / SETTINGS_FILE, {**noted, APPENDED: [*appended[:-1], now]} if appended else mine)
    return int(first)
