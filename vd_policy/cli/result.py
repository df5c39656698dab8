"""What a command hands back: whether it succeeded, its figures for scripts, and its text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RESERVED = ("command", "version", "seed", "ok", "error")


@dataclass(frozen=True)
class Result:
    """The outcome of one command."""

    ok: bool
    """False makes the exit code 1."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The numbers of the printed table under snake_case names with their unit as suffix; they go into ``--json``."""
    text: str = ""
    """What is printed, without the last newline."""

    def as_json(self, command: str, version: str, seed: int) -> dict[str, Any]:
        """The one object of a ``--json`` file: `command`, `version`, `seed`, `ok`, then the figures."""
        clash = [name for name in self.figures if name in RESERVED]
        if clash:
            raise ValueError(f"figures of {command} use the reserved names {clash}")
        head = {"command": command, "version": version, "seed": seed, "ok": bool(self.ok)}
        return {**head, **plain(self.figures)}


def plain(value: Any) -> Any:
    """`value` in the types that JSON has: NumPy scalars and arrays, tuples and paths converted, NaN and Inf to None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a figure of type {type(value).__name__} has no JSON form")
