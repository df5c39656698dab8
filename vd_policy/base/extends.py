"""Configuration files that say only in what they differ from another one: ``extends: NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.base.resources import is_path, named_or_path
from vd_policy.base.settings import load_yaml

EXTENDS = "extends"
"""The key; its value is a name in ``config/<kind>``, or a YAML file, relative to the one that names it."""


def load_extended(kind: str, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, on top of that of the file which it extends, where it names one.

    Nested mappings are merged key by key; all other values replace those they stand on.

    Args:
        kind: folder of ``config/`` in which bare names are looked up.
        path: the YAML file.

    Raises:
        BadInput: a file is missing or malformed, or extends itself, be it by way of others.
    """
    layers, seen = [load_yaml(path)], [path.resolve()]
    while EXTENDS in layers[-1]:
        name = layers[-1].pop(EXTENDS)
        if not isinstance(name, str):
            raise BadInput(f"{seen[-1]}: {EXTENDS}", name, f"a name in config/{kind} or a YAML file", "correct it")
        beside = str(seen[-1].parent / name)
        parent = named_or_path(kind, beside if is_path(name) else name).resolve()
        if parent in seen:
            raise BadInput(f"{seen[-1]}: {EXTENDS}", name, "a file that does not extend this one", "break the circle")
        layers.append(load_yaml(parent))
        seen.append(parent)
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _merged(merged, layer)
    return merged


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: _merged(below[key], value) for key, value in above.items()
              if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)}  # fmt: skip
    return {**below, **above, **nested}
