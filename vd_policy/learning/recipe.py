"""A recipe: the name of a method and its settings, from ``config/recipes/<name>.yaml``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.extends import load_extended
from vd_policy.base.resources import named_or_path, share_directory
from vd_policy.base.settings import build, parse_yaml, setting
from vd_policy.learning.learner import Learner
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.sim.tasks import load_task

OUR_RECIPE = "trpo_rate"
"""Of RL, for tasks without one of their own; the paper's is ``trpo``."""


@dataclass(frozen=True)
class Recipe:
    """What a recipe file holds."""

    method: str = setting(help="a module of vd_policy.learning: pretrain, or a learner with build(config, policy)")
    settings: dict[str, Any] = setting(help="what differs from the method's defaults", factory=dict)


def load_recipe(name_or_path: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of that name or file, with some settings replaced.

    Args:
        name_or_path: a file of ``config/recipes/`` without its suffix, or the path of a YAML file.
        changes: dotted names to values, such as ``{"critic.fit_steps": 10}``.
    """
    path = named_or_path("recipes", name_or_path)
    recipe = build(Recipe, load_extended("recipes", path), str(path))
    settings = dict(recipe.settings)
    for name, value in (changes or {}).items():
        settings = _changed(settings, name.split("."), value)
    return Recipe(recipe.method, settings)


def recipe_of_rl(task: str) -> str:
    """The recipe to improve a policy with where none is asked for, by the rules of a task (a name or a YAML file)."""
    its_own = f"trpo_{load_task(task).rules_name}"
    return its_own if (share_directory() / "config" / "recipes" / f"{its_own}.yaml").is_file() else OUR_RECIPE


def parse_changes(words: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words of a command line as a mapping; values are read as YAML."""
    changes = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise BadInput("--set", word, "NAME=VALUE", "write for example --set max_kl=0.02")
        try:
            changes[name] = parse_yaml(text)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {name}", text, "a YAML value", str(error)) from None
    return changes


def build_learner(recipe: Recipe, policy: GaussianPolicy, *, seed: int = 0, version: int = 1) -> Learner:
    """The learner that a recipe describes; `policy` becomes its own.

    Raises:
        BadInput: the method is no learner, a setting is wrong, or the policy does not suit the method.
        Missing: the learner imports what is not installed.
    """
    name = f"vd_policy.learning.{recipe.method}"
    module = _module(name)
    if not hasattr(module, "build") or module.build.__module__ != name:  # one that it imports builds something else
        raise BadInput("recipe method", recipe.method, "that of a recipe that learns from rollouts, trpo or one's own",
                       "choose a recipe such as trpo_rate")  # fmt: skip
    return module.build(recipe.settings, policy, seed=seed, version=version)


def _module(name: str) -> Any:
    """A module, or None where there is none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):  # it, or what it would lie in
            return None
        raise Missing(
            f"a module that {name} imports", error.name or str(error), "one that is installed", "install it"
        ) from error


def _changed(settings: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {**settings, head: value}
    inner = settings.get(head, {})
    return {**settings, head: _changed(inner if isinstance(inner, Mapping) else {}, rest, value)}
