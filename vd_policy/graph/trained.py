"""Which task and robot a run is driven with: those that it was trained on, unless others are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import load_yaml
from vd_policy.sim.tasks import load_task

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
            the run was trained on a task file of its own, which is not there.
    """
    config = {} if run is None else load_yaml(Path(run) / CONFIG)
    learned = _learned_task(config)
    if not task and not allow_changed and learned == config.get("task") and (changes := config.get("task_changes")):
        raise BadInput("task", task, f"the file of {run}'s demonstrations: {learned} with {changes}",
                       "give it with --task or task:=")  # fmt: skip
    if task and learned and not allow_changed and load_task(task).rules_name != load_task(learned).rules_name:
        raise BadInput("task", task, f"{learned}, which {run} was trained on", "leave it out, or choose another run")
    return task or learned or TASK, robot or str(config.get("robot") or ROBOT)


def _learned_task(config: Mapping[str, Any]) -> str:
    """The last task of a run's history that this simulator knows; demonstrations may come from elsewhere."""
    rl = config.get("train")
    for name in ((rl or {}).get("task"), config.get("task")):
        if isinstance(name, str) and name and _is_known(name):
            return name
    return ""


def _is_known(task: str) -> bool:
    try:
        load_task(task)
    except BadInput:
        return False
    return True
