"""Launch descriptions made of the one list of what runs; the files in ``launch/`` are these.

A launch argument is an option of `vd_policy.graph.options`, with its help, choices and default.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity  # type: ignore[attr-defined]
from vd_policy.base.resources import resource
from vd_policy.graph.nodes import added, foundation
from vd_policy.graph.options import as_text, from_text, options_of, plain_type
from vd_policy.graph.process import STARTED_BY, NodeSpec, given


def describe(graph: str) -> LaunchDescription:
    """The launch description of a graph: its arguments, the launch file it builds on, and the nodes it adds.

    The launch ends when any of its nodes does.
    """
    options_class = options_of(graph)
    defaults = as_text(options_class())

    def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        texts = {name: LaunchConfiguration(name).perform(context) for name in defaults}
        options = from_text(options_class, texts, f"{graph}.launch.py")
        return [*_include(graph, options), *(_node(spec) for spec in added(graph, options))]

    arguments = [_argument(options_class, field, defaults[field.name]) for field in dataclasses.fields(options_class)]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def _argument(options_class: type, field: dataclasses.Field, default: str) -> DeclareLaunchArgument:
    choices = field.metadata["choices"]
    if plain_type(options_class, field.name) is bool:
        choices = ("true", "false", "True", "False") if default else ("true", "false", "True", "False", "")
    return DeclareLaunchArgument(
        field.name,
        default_value=default,
        description=field.metadata["help"],
        choices=list(choices) if choices else None,
    )


def _include(graph: str, options: Any) -> list[LaunchDescriptionEntity]:
    base = foundation(graph, options)
    if base is None:
        return []
    name, its_options = base
    source = PythonLaunchDescriptionSource(str(resource("launch", f"{name}.launch.py")))
    return [IncludeLaunchDescription(source, launch_arguments=as_text(its_options).items())]


def _node(spec: NodeSpec) -> Node:
    return Node(
        package="vd_policy",
        executable=spec.executable,
        name=spec.name,
        parameters=[given(spec.parameters)],
        remappings=list(spec.remappings),
        output="screen",
        additional_env={STARTED_BY: str(os.getpid())},
        on_exit=Shutdown(reason=f"{spec.name} ended"),
    )
