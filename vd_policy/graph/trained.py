"""Which task and robot a run is driven with: those that it was trained on, unless others are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.resources import is_path, named_or_path
from vd_policy.base.settings import as_dict, load_yaml
from vd_policy.sim.tasks import known_task, load_task

CONFIG = "config.yaml"
"""The resolved settings in a run directory; cloning writes the demonstrations' task and robot there."""
TASK, ROBOT = "reach", "j2n6s300"
"""Where neither the user nor the run names one."""


def task_and_robot(
    run: str | Path | None, task: str | None = None, robot: str | None = None, *, allow_changed: bool = False
) -> tuple[str, str]:
    """The task and the robot to act with, as names or YAML files.

    Args:
        run: a run directory; None for a subject that was trained on nothing.
        task, robot: what is asked for; empty: the run's.
        allow_changed: take another task than the run's.

    Raises:
        BadInput: the task asked for has other rules than the one that the run was trained on; or none is asked for, and
            the run was trained on a task or robot file of its own, which is not there.
    """
    config = {} if run is None else _config(Path(run))
    history = [name for name in (_of_training(config, "task"), str(config.get("task") or "")) if name]
    if history and not task and not allow_changed:
        _check_is_there(run, config, history[0])
    if task and not allow_changed:
        rules = _noted_rules(config) or _rules_of(_known(history))
        if rules and load_task(task).rules_name != rules:
            raise BadInput("task", task, f"{history[0]}, which {run} was trained on",
                           "leave it out; where it is meant, evaluate and train take --allow-changed")  # fmt: skip
    return task or _known(history) or TASK, robot or _robot_of(run, config)


def _robot_of(run: str | Path | None, config: Mapping[str, Any]) -> str:
    """The robot that a run was trained with."""
    robot = _of_training(config, "robot") or str(config.get("robot") or ROBOT)
    try:
        named_or_path("robots", robot)
    except BadInput:
        raise BadInput("robot", "", f"the file of {robot}, which {run} was trained with",
                       "give it with --robot or robot:=") from None  # fmt: skip
    return robot


def world(task: str, robot: str) -> dict[str, Any]:
    """What a training notes of where it goes on: task and robot, found from anywhere, and what the task's file says."""
    names = {what: str(Path(name).resolve()) if is_path(name) else name
             for what, name in (("task", task), ("robot", robot))}  # fmt: skip
    return {**names, "task_settings": as_dict(load_task(task))}


def _check_is_there(run: str | Path | None, config: Mapping[str, Any], learned: str) -> None:
    """Refuse to take the stock task for one that a run learned from a file; demonstrations may come from elsewhere."""
    changes = config.get("task_changes") if learned == config.get("task") else None
    if changes or (learned != config.get("task") and not known_task(learned)):
        file = f"{learned} with {changes}" if changes else learned
        raise BadInput("task", "", f"the file that {run} was trained on: {file}", "give it with --task or task:=")


def _known(history: list[str]) -> str:
    """The first of these tasks that there is; empty where there is none."""
    return next((name for name in history if known_task(name)), "")


def _rules_of(task: str) -> str:
    return load_task(task).rules_name if task else ""


def _config(run: Path) -> dict[str, Any]:
    if not (run / CONFIG).is_file():
        raise Missing("run", str(run), "a run directory", "check the path")
    return load_yaml(run / CONFIG)


def _noted_rules(config: Mapping[str, Any]) -> str:
    """The rules of the last training's task, wherever its file is now; older runs did not note them."""
    noted = (config.get("train") or {}).get("task_settings") or {}
    return str(noted.get("rules") or noted.get("task") or "")


def _of_training(config: Mapping[str, Any], name: str) -> str:
    return str((config.get("train") or {}).get(name) or "")
