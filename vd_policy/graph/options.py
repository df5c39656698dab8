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
from vd_policy.base.settings import build, setting


@dataclass(frozen=True)
class SimOptions:
    """The simulated arm alone."""

    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    image_height: int = setting(128, "image height [pixels]", minimum=8, maximum=4096)
    image_width: int = setting(128, "image width [pixels]", minimum=8, maximum=4096)
    mode: str = setting("lockstep", "one step per command, or by the clock", choices=("lockstep", "realtime"))
    seed: int = setting(0, "fixes every episode", minimum=0, maximum=MAX_SEED)
    episodes: int = setting(0, "end after so many simulated episodes; 0 = never", minimum=0)


@dataclass(frozen=True)
class DemonstrateOptions(SimOptions):
    """The expert drives, the recorder writes."""

    out: str = setting("demonstrations", "directory for the episode bags")
    samples: int = setting(0, "end after so many recorded steps; 0 = never", minimum=0)
    noise: float = setting(0.5, "standard deviation of the expert's noise [rad], eq. 6", minimum=0.0)
    clip_noise: bool = setting(True, "clip the noisy action to the largest step")
    rule: str = setting("clipped", "eq. 10 with the last step shortened, or as printed", choices=("clipped", "literal"))


@dataclass(frozen=True)
class DeployOptions(SimOptions):
    """A trained policy drives the simulated or, with ``sim:=false``, a real arm."""

    run: str = setting("", "directory of the trained run")
    sim: bool = setting(True, "start the simulated arm; false for a real one")
    explore: bool = setting(False, "sample actions instead of taking the mean")
    record: str = setting("", "directory to record rollouts in; empty = do not record")


@dataclass(frozen=True)
class TrainOptions(DeployOptions):
    """A deployed policy that a learner improves."""

    explore: bool = setting(True, "sample actions instead of taking the mean")
    out: str = setting("trained", "directory for the improved run")
    recipe: str = setting("trpo", "learning recipe: a name in config/recipes, or a YAML file")
    updates: int = setting(0, "end after so many updates; 0 = never", minimum=0)
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
    """Options from text values, as launch arguments and command lines give them; text that is not a number or a truth
    value where one is needed is refused."""
    kinds = field_types(options_class)
    values = {name: _value(kinds.get(name, str), text) for name, text in texts.items()}
    return build(options_class, values, where)


def field_types(options_class: type) -> dict[str, type]:
    """The plain type of each option."""
    hints = typing.get_type_hints(options_class)
    plain = {}
    for field in dataclasses.fields(options_class):
        hint = hints[field.name]
        if isinstance(hint, types.UnionType):
            hint = next(h for h in typing.get_args(hint) if h is not type(None))
        plain[field.name] = hint
    return plain


def _value(kind: type, text: str) -> Any:
    return text if kind is str else yaml.safe_load(text)
