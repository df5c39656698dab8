"""What a task is: its settings, its judgement of a step, and how a task is found by name."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.base.extends import load_extended
from vd_policy.base.resources import named_or_path
from vd_policy.base.settings import as_dict, build, setting
from vd_policy.sim.camera import CameraSettings

MAX_REWARD = 1e5
"""Of each term; a learner takes rewards of a million and more for damage."""


@dataclass(frozen=True)
class TaskSettings:
    """What every task has, from ``config/tasks/<name>.yaml``. A task with more has a subclass of its own."""

    task: str = setting(help="name of the task: that of its file in config/tasks")
    rules: str = setting("", "its rules, the module vd_policy.sim.<rules>; empty: those of its name")
    camera: CameraSettings = setting(factory=CameraSettings, help="where the camera stands")
    image_size: int = setting(128, "rows of the images, unless asked otherwise", minimum=8, maximum=4096)
    noise_rad: float = setting(0.5, "the expert's noise in demonstrations, unless asked otherwise [rad]", minimum=0.0)
    horizon: int = setting(25, "steps after which an episode is truncated (H)", minimum=1, maximum=100_000)
    max_step_rad: float = setting(math.pi / 5, "joint change of an action of 1 [rad]", minimum=1e-6, maximum=math.pi)
    period_s: float = setting(1.1, "time of one decision [s]", minimum=1e-3, maximum=60.0)
    tolerance_m: float = setting(0.06, "success is a distance of at most this [m]", minimum=0.0)
    success_reward: float = setting(20.0, "c1 of eq. 11", minimum=0.0, maximum=MAX_REWARD)
    failure_cost: float = setting(50.0, "c2 of eq. 11", minimum=0.0, maximum=MAX_REWARD)
    reward: str = setting("dense", "eq. 11 | its success and failure terms | zero", choices=("dense", "sparse", "none"))
    end_on_success: bool = setting(True, "terminate in a goal state")
    end_on_contact: bool = setting(True, "terminate at a failure: a touch of the table, itself or a solid cup")
    cup_region_m: tuple[tuple[float, float], tuple[float, float]] = setting(
        ((0.30, 0.65), (-0.35, 0.35)), "where cups are put: ((x0, x1), (y0, y1)) [m]"
    )
    goals: str = setting(
        "found", "the expert's eq. 9 takes the nearest of the goals that inverse kinematics found, hand pointing down; "
        "or of all of those; or of all that put the end effector there, hand turned any way",
        choices=("found", "all", "free"),
    )  # fmt: skip
    target_height_m: float = setting(0.18, "height of the target over the cup's foot [m]")

    @property
    def rules_name(self) -> str:
        """The module of its rules; tasks that share one differ in settings alone."""
        return self.rules or self.task

    def image(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """Rows and columns of the images where these are asked for: as the task says, and of the camera's aspect."""
        height = self.image_size if height is None else height
        return height, round(height * self.camera.aspect) if width is None else width

    def noise(self, asked_rad: float | None) -> float:
        """The noise on the expert where this much is asked for: as the task says where none is [rad]."""
        return self.noise_rad if asked_rad is None else asked_rad


@dataclass(frozen=True)
class Situation:
    """What a task knows when it judges a step."""

    effector: np.ndarray
    """Pose of the end effector in the base frame, (4, 4)."""
    target_m: np.ndarray
    """Where it shall go, (3,)."""
    asked_rad: np.ndarray
    """Change of the joint angles that the step asked for, within the largest step, (J,)."""
    contact: str | None
    """What stopped the motion, as ``link:other``, or None."""
    finger_on_cup: bool
    """Whether that is a touch of a finger and the cup."""
    cup: np.ndarray
    """Pose of the cup, its origin in the centre of the foot, (4, 4)."""
    grip: Callable[[], bool]
    """Close the gripper here: whether it holds the cup."""
    grip_moves: bool
    """Whether `grip` moves the world: then a cup that it does not hold is dropped."""

    @property
    def effector_m(self) -> np.ndarray:
        """Position of the end effector, (3,)."""
        return self.effector[:3, 3]


@dataclass(frozen=True)
class Judgement:
    """What a task thinks of a situation."""

    distance_m: float
    success: bool
    failure: bool
    reward: float
    reason: str = ""
    """What failed, where it was not a contact; or what is to be known of a step that neither failed nor succeeded."""


class Task(Protocol):
    """The rules of one task; the environment asks, the task never touches the scene."""

    cup_is_solid: bool
    """Whether the arm can touch the cup."""
    hand: str
    """Posture of the gripper while the arm moves: ``travel`` or ``open``."""
    lift_m: float
    """How far a gripped cup is lifted in position control [m]; 0 where nothing is gripped."""

    def target_m(self, cup_m: np.ndarray) -> np.ndarray:
        """Where the end effector shall go for a cup whose foot is at `cup_m`, (3,) [m]."""

    def goal_m(self, cup_m: np.ndarray) -> np.ndarray:
        """Where the expert's goal set G puts the end effector, (3,) [m]: the target, or where the approach begins."""

    def near(self, effector: np.ndarray, cup_m: np.ndarray) -> bool:
        """Whether the expert's final approach begins at a pose of the end effector, (4, 4)."""

    def judge(self, situation: Situation) -> Judgement:
        """Distance, success, failure and reward of a step."""


def load_task(name_or_path: str) -> TaskSettings:
    """The task of ``config/tasks/<name>.yaml``, or of a YAML file by path, as the settings of its rules."""
    path = named_or_path("tasks", name_or_path)
    values = load_extended("tasks", path)
    settings_class = _module(values.get("rules") or values["task"]).Settings if "task" in values else TaskSettings
    return checked(build(settings_class, values, str(path)), str(path))


ASKED_APART = ("image_size", "noise_rad")
"""Settings that are only defaults of what is asked for elsewhere."""


def changes_of(settings: TaskSettings) -> str:
    """How a task differs from the one of its name in ``config/tasks``: ``name value, ...``; empty where it does not.

    One that has no file there is compared with the one that its rules are named after.
    """
    stock = known_task(settings.task) or known_task(settings.rules_name)
    if stock is None:
        return ""
    mine, theirs = (as_dict(task) | {"rules": task.rules_name} for task in (settings, stock))
    return ", ".join(f"{name} {value}" for name, value in sorted(mine.items())
                     if name not in ASKED_APART and theirs[name] != value)  # fmt: skip


def known_task(name_or_path: str) -> TaskSettings | None:
    """`load_task`; None where there is no such task. One that is there and malformed is refused."""
    try:
        path = named_or_path("tasks", name_or_path)
    except BadInput:  # what is no name of a file names no task either
        return None
    return load_task(str(path))


def checked(settings: TaskSettings, where: str) -> TaskSettings:
    """The settings, or `BadInput` where two of them contradict each other."""
    for low, high in settings.cup_region_m:
        if not low <= high:
            raise BadInput(f"{where}: cup_region_m", (low, high), "lower bound first on each axis", "swap them")
    return settings


def grips(settings: TaskSettings) -> bool:
    """Whether the hand has something to do in a task."""
    return rules(settings).lift_m > 0.0


def rules(settings: TaskSettings) -> Task:
    """The rules of a task."""
    return _module(settings.rules_name).build(settings)


def _module(rules_name: object) -> ModuleType:
    """The rules' module: one of this room with a class ``Settings`` and a function ``build(settings)``."""
    name = f"vd_policy.sim.{rules_name}"
    found = isinstance(rules_name, str) and rules_name.isidentifier() and importlib.util.find_spec(name) is not None
    module = importlib.import_module(name) if found else None
    if module is None or not (hasattr(module, "build") and hasattr(module, "Settings")):
        raise BadInput("rules of a task", rules_name, "a module of vd_policy.sim with Settings and build(settings)",
                       "write rules: reach or rules: grasp")  # fmt: skip
    return module
