"""One node process: its parameters file, command line and environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import vd_policy

STARTED_BY = "VD_POLICY_STARTED_BY"
"""In a node's environment: the process that started it; without that it ends (`nodes/ros.py`)."""
BOOTSTRAP_MARK = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


@dataclass(frozen=True)
class NodeSpec:
    """What runs in one process."""

    executable: str
    """The module of `vd_policy.nodes`, the name of the installed script, and the node's name unless `rename` is set."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Names to values; a nested mapping gives dotted names."""
    remappings: tuple[tuple[str, str], ...] = ()
    """Pairs (from, to)."""
    rename: str = ""

    @property
    def name(self) -> str:
        return self.rename or self.executable


def command(spec: NodeSpec, parameters_file: Path) -> list[str]:
    """The command line that starts the node; writes its parameters to `parameters_file` first.

    A file and not ``-p``: a string that looks like a number stays a string. The key is ``/**`` because a bare node
    name does not match the same node in a namespace.
    """
    parameters = {"/**": {"ros__parameters": given(spec.parameters)}}
    parameters_file.write_text(yaml.dump(parameters, Dumper=_Quoting, sort_keys=False))
    line = [sys.executable, "-m", f"vd_policy.nodes.{spec.executable}", "--ros-args"]
    line += ["-r", f"__node:={spec.name}"]
    for before, after in spec.remappings:
        line += ["-r", f"{before}:={after}"]
    return [*line, "--params-file", str(parameters_file)]


class _Quoting(yaml.SafeDumper):
    """Quotes every string: rcl takes some for numbers or truth values that YAML does not, such as 1e5 and y."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def environment(**changes: str) -> dict[str, str]:
    """The environment of a node process: this one's, with the package importable and one thread a process.

    The ROS wheels restart Python once with their library path and leave a mark; a child that inherits the mark without
    the path cannot import rclpy, so both go or neither.
    """
    env = {**os.environ, "PYTHONUNBUFFERED": "1", STARTED_BY: str(os.getpid())}
    if BOOTSTRAP_MARK in env and not env.get("LD_LIBRARY_PATH"):
        del env[BOOTSTRAP_MARK]
    root = str(Path(vd_policy.__file__).resolve().parents[1])
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([root, *env.get("PYTHONPATH", "").split(os.pathsep)])).rstrip(":")
    env.setdefault("OMP_NUM_THREADS", "1")
    return {**env, **changes}


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without None and empty values, which a ROS parameter file cannot hold."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            value = given(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Path):
            value = str(value)
        if value is not None and value != [] and value != {}:
            kept[key] = value
    return kept
