"""Every option of every graph, once: its name, default, help and range.

The launch files declare them as launch arguments, ``vd_policy up`` as command-line options.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import MAX_SEED
from vd_policy.base.settings import as_dict, at_home, build, parse_yaml, setting
from vd_policy.messages.resize import FITS

MODES = ("lockstep", "realtime")
MOTIONS = ("kinematic", "position")
AS_TASK = AS_TRAINED = 0
"""Of an image size: the task's; where a run acts, the run's."""
RECIPE_HELP = (
    "learning recipe: a name in config/recipes, or a YAML file; empty: trpo_<task> where there is one, else trpo_rate "
    "(the paper's: trpo)"
)


@dataclass(frozen=True)
class SimOptions:
    """The simulated arm alone."""

    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    image_height: int = setting(AS_TASK, "image height [pixels]; 0: the task's", minimum=0, maximum=4096)
    image_width: int = setting(AS_TASK, "image width [pixels]; 0: as the task's camera", minimum=0, maximum=4096)
    motion: str = setting(
        "kinematic", "how the arm moves in lockstep: through poses, or under position control at the speed limits",
        choices=MOTIONS,
    )  # fmt: skip
    mode: str = setting("lockstep", "one step per command, or by the clock", choices=MODES)
    end_on_contact: bool | None = setting(None, "end an episode at a contact; empty: as the task says")
    auto_reset: bool = setting(True, "begin the next episode when one is over; otherwise wait for sim/reset")
    seed: int = setting(0, "fixes every random choice", minimum=0, maximum=MAX_SEED)
    episodes: int = setting(0, "end after so many episodes; 0: never", minimum=0)


@dataclass(frozen=True)
class DemonstrateOptions(SimOptions):
    """The expert drives, the recorder writes."""

    out: str = setting("demonstrations", "directory for the episode bags")
    samples: int = setting(0, "end after so many recorded steps; 0: never", minimum=0)
    noise: float | None = setting(
        None, "standard deviation of the noise on the expert's action [rad]; empty: the task's", minimum=0.0
    )
    clip_noise: bool = setting(True, "clip the noisy action to the largest step")
    rule: str = setting("clipped", "eq. 10 with the last step shortened, or as printed", choices=("clipped", "literal"))


@dataclass(frozen=True)
class DeployOptions(SimOptions):
    """A trained policy drives the simulated arm, or a real one."""

    run: str = setting("", "directory of the trained run")
    task: str = setting("", "task: a name in config/tasks, or a YAML file; empty: the run's")
    robot: str = setting("", "robot: a name in config/robots, or a YAML file; empty: the run's")
    image_height: int = setting(AS_TRAINED, "image height [pixels]; 0: the run's", minimum=0, maximum=4096)
    image_width: int = setting(AS_TRAINED, "image width [pixels]; 0: the run's", minimum=0, maximum=4096)
    sim: bool = setting(True, "start the simulated arm; false: a real one is there, and the mode is real time")
    speed: float | None = setting(None, "real time: share of the trained speed; empty: 0.1 on a real arm, else 1",
                                  minimum=0.01, maximum=1)  # fmt: skip
    explore: bool = setting(False, "sample actions instead of taking their mean")
    rollouts: bool = setting(False, "publish each episode for a learner (lockstep)")
    resize: str = setting("refuse", "camera images of another size than the run's: refused, cropped or stretched",
                          choices=("refuse", *FITS))  # fmt: skip
    record: str = setting("", "directory to record episodes in; empty: do not record")


@dataclass(frozen=True)
class TrainOptions(DeployOptions):
    """A learner improves the policy while it acts."""

    explore: bool = setting(True, "sample actions instead of taking their mean")
    rollouts: bool = setting(True, "publish each episode for the learner (lockstep)")
    out: str = setting("trained", "directory for the improved run")
    recipe: str = setting("", RECIPE_HELP)
    updates: int = setting(0, "end after so many updates; 0: never", minimum=0)
    save_every: int = setting(10, "save the run every so many updates", minimum=1)
    resume: bool = setting(False, "go on from what out holds")


OPTIONS: dict[str, type] = {
    "sim": SimOptions,
    "demonstrate": DemonstrateOptions,
    "deploy": DeployOptions,
    "train": TrainOptions,
}
"""The graphs, by name."""


def options_of(graph: str) -> type:
    """The options of a graph; refuses an unknown name."""
    if graph not in OPTIONS:
        raise BadInput("graph", graph, "one of " + ", ".join(OPTIONS), "choose one of them")
    return OPTIONS[graph]


def from_text(options_class: type, texts: Mapping[str, str], where: str) -> Any:
    """Options from text, as launch arguments are given; an empty text is None where None is possible."""
    fields = {f.name: f for f in dataclasses.fields(options_class)}
    values = {name: _value(options_class, name, text) if name in fields else text for name, text in texts.items()}
    return at_home(build(options_class, values, where))  # no shell expands ~ behind :=


def as_text(options: Any) -> dict[str, str]:
    """The opposite of `from_text`."""
    return {name: _text(value) for name, value in as_dict(options).items()}


def plain_type(options_class: type, name: str) -> type:
    """The type of an option, without the None."""
    hint = typing.get_type_hints(options_class)[name]
    if isinstance(hint, types.UnionType):
        return next(h for h in typing.get_args(hint) if h is not type(None))
    return hint


def _value(options_class: type, name: str, text: str) -> Any:
    if plain_type(options_class, name) is str:
        return text
    try:
        return parse_yaml(text)  # a number or a truth value as ROS users write them; empty is None
    except yaml.YAMLError:
        return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
