"""A node's parameters, declared from its frozen settings dataclass."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import as_dict, at_home, build

T = TypeVar("T")
ROS_OWN = {"use_sim_time", "qos_overrides", "start_type_description_service"}


def declare(node: Node, settings_class: type[T]) -> T:
    """The settings that the node was started with, declared as read-only parameters.

    The node must have been made with ``automatically_declare_parameters_from_overrides=True``. Dots in a name are
    nested fields, so ``overrides.horizon`` fills the key ``horizon`` of the mapping ``overrides``.

    Raises:
        BadInput: unknown parameter (the nearest valid one is suggested), wrong type, or out of range.
    """
    overrides: dict[str, Any] = node.get_parameters_by_prefix("")
    given = {name: _plain(p.value) for name, p in overrides.items() if not _is_ros_own(name)}
    for name, value in given.items():
        if isinstance(value, float) and math.isinf(value):
            raise BadInput(f"parameter {name} of {node.get_fully_qualified_name()}", value, "a finite number",
                           "give a large one where there shall be no bound")  # fmt: skip
    settings = at_home(build(settings_class, _nested(given), f"parameters of {node.get_fully_qualified_name()}"))
    fields = {f.name: f for f in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    for name, value in _flat(as_dict(settings)).items():
        if node.has_parameter(name):
            node.undeclare_parameter(name)
        node.declare_parameter(name, value, _descriptor(fields[name.split(".")[0]]), ignore_override=True)
    return settings


def parameters_file(settings_class: type) -> str:
    """A ROS parameter file with every parameter at its default and its help as a comment (``config/nodes/*.yaml``)."""
    lines = ["/**:", "  ros__parameters:"]
    defaults = as_dict(settings_class())
    for field in dataclasses.fields(settings_class):
        if help_text := _describe(field):
            lines.append(f"    # {help_text}")
        value = defaults[field.name]
        unset = value is None or value in ({}, [])  # none of these can stand in a parameter file
        lines.append(f"    # {field.name}:" if unset else f"    {field.name}: {json.dumps(value)}")  # JSON is YAML
    return "\n".join(lines) + "\n"


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    return ParameterDescriptor(description=_describe(field), read_only=True)


def _describe(field: dataclasses.Field) -> str:
    parts = [field.metadata.get("help", "")]
    if choices := field.metadata.get("choices"):
        parts.append("one of " + ", ".join(map(str, choices)))
    parts += [f"{word} {field.metadata[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most"))
              if field.metadata.get(key) is not None]  # fmt: skip
    return "; ".join(part for part in parts if part)


def _is_ros_own(name: str) -> bool:
    return name.split(".")[0] in ROS_OWN


def _plain(value: Any) -> Any:
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            flat[prefix + name] = value
    return flat
