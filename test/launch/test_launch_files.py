"""The launch files: what they declare and start, checked against the one list; with the real launch where it is."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vd_policy.graph.nodes import graph
from vd_policy.graph.options import OPTIONS, options_of
from vd_policy.graph.process import given

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
REAL = all(importlib.util.find_spec(name) for name in ("launch", "launch_ros"))
needs_launch = pytest.mark.skipif(not REAL, reason="launch_ros is not installed")


class Recorder:
    """What a launch file would start, put together by stand-ins with the few names of `launch` that the files use."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.arguments: dict[str, dict[str, Any]] = {}

    def modules(self) -> dict[str, types.ModuleType]:
        """Stand-ins for `launch` and `launch_ros`."""

        def module(name: str, **contents: Any) -> types.ModuleType:
            made = types.ModuleType(name)
            vars(made).update(contents)
            return made

        def declare(name: str, **options: Any) -> tuple:
            return ("declare", name, options)

        def node(**options: Any) -> tuple:
            return ("node", options)

        class Configuration:
            def __init__(self, name: str) -> None:
                self.name = name

            def perform(self, context: dict[str, str]) -> str:
                return context[self.name]

        actions = module(
            "launch.actions", DeclareLaunchArgument=declare, OpaqueFunction=lambda function: ("call", function),
            IncludeLaunchDescription=lambda source, launch_arguments: ("include", source, dict(launch_arguments)),
            Shutdown=lambda reason: ("shutdown", reason),
        )  # fmt: skip
        return {
            "launch": module("launch", LaunchDescription=list, LaunchContext=dict, LaunchDescriptionEntity=object),
            "launch.actions": actions,
            "launch.launch_description_sources": module("sources", PythonLaunchDescriptionSource=Path),
            "launch.substitutions": module("substitutions", LaunchConfiguration=Configuration),
            "launch_ros": module("launch_ros"),
            "launch_ros.actions": module("launch_ros.actions", Node=node),
        }

    def run(self, file: Path, context: dict[str, str]) -> None:
        """Do what `ros2 launch FILE name:=value ...` does."""
        entities = runpy.run_path(str(file))["generate_launch_description"]()
        for kind, *rest in entities:
            if kind == "declare":
                name, options = rest
                self.arguments[name] = options
                context.setdefault(name, options["default_value"])
                assert not options["choices"] or context[name] in options["choices"], name
            else:
                self._perform(kind, rest, context)

    def _perform(self, kind: str, rest: list[Any], context: dict[str, str]) -> None:
        if kind == "call":
            for entity in rest[0](context):
                self._perform(entity[0], list(entity[1:]), context)
        elif kind == "include":
            self.run(rest[0], {**context, **rest[1]})
        elif kind == "node":
            self.nodes.append(rest[0])


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    for name, module in recorder.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "vd_policy.nodes.launching", raising=False)
    yield recorder
    sys.modules.pop("vd_policy.nodes.launching", None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    from trained import saved, small_policy

    return saved(tmp_path_factory.mktemp("runs") / "start", small_policy())


CASES = [
    ("sim", {}),
    ("sim", {"mode": "realtime", "seed": "4", "task": "reach"}),
    ("demonstrate", {}),
    ("demonstrate", {"noise": "0.25", "samples": "500", "end_on_contact": "false", "clip_noise": "false"}),
    ("demonstrate", {"mode": "realtime", "image_height": "64", "image_width": "48"}),
    ("demonstrate", {"task": "grasp"}),
    ("deploy", {"run": "RUN"}),
    ("deploy", {"run": "RUN", "record": "seen", "episodes": "3"}),
    ("deploy", {"run": "RUN", "sim": "false"}),
    ("train", {"run": "RUN", "out": "better", "updates": "7"}),
]


def typed(name: str, texts: dict[str, str]) -> Any:
    """The options that the texts mean, converted here by hand and not by the code under test."""
    words = {"true": True, "false": False}
    fields = {f.name: f for f in dataclasses.fields(options_of(name))}
    values = {}
    for key, text in texts.items():
        kind = float if key == "noise" else type(fields[key].default)
        values[key] = words[text] if text in words else kind(text)
    return options_of(name)(**values)


@pytest.mark.parametrize(("name", "texts"), CASES)
def test_a_launch_file_starts_the_very_nodes_of_the_graph(recorder: Recorder, run: str, name: str, texts: dict) -> None:
    texts = {key: run if value == "RUN" else value for key, value in texts.items()}
    recorder.run(LAUNCH / f"{name}.launch.py", dict(texts))
    expected = graph(name, typed(name, texts))
    assert [node["name"] for node in recorder.nodes] == [spec.name for spec in expected]
    for node, spec in zip(recorder.nodes, expected):
        assert (node["package"], node["executable"]) == ("vd_policy", spec.executable)
        assert node["parameters"] == [given(spec.parameters)]
        assert node["on_exit"][0] == "shutdown", "the launch ends with any of its nodes"


@pytest.mark.parametrize("name", list(OPTIONS))
def test_every_option_is_an_argument_with_its_description_and_choices(recorder: Recorder, run: str, name: str) -> None:
    needed = {"run": run} if name in ("deploy", "train") else {}
    recorder.run(LAUNCH / f"{name}.launch.py", needed)
    fields = {field.name: field for field in dataclasses.fields(options_of(name))}
    assert set(fields) <= set(recorder.arguments)
    for key, field in fields.items():
        argument = recorder.arguments[key]
        assert len(argument["description"]) > 5, key
        assert not field.metadata["choices"] or argument["choices"] == list(field.metadata["choices"])


def test_there_is_a_launch_file_for_every_graph_and_no_other() -> None:
    assert {file.name for file in LAUNCH.glob("*.py")} == {f"{name}.launch.py" for name in OPTIONS}


@needs_launch
def test_the_real_launch_runs_a_demonstration_to_its_end(ros: Any, tmp_path: Path) -> None:
    from vd_policy.demos.bag import bag_paths

    words = ["samples:=20", "image_height:=16", "image_width:=16", f"out:={tmp_path / 'demos'}"]
    process = ros.run("launch", [sys.executable, "-c", RUNNER, str(LAUNCH / "demonstrate.launch.py"), *words],
                      AMENT_PREFIX_PATH=prefix(tmp_path), ROS_LOG_DIR=str(tmp_path / "log"))  # fmt: skip
    assert process.wait() == 0, process.output
    assert bag_paths(tmp_path / "demos")
    for name in ("sim", "expert", "safety", "recorder"):
        assert any(name in line and "process has finished cleanly" in line for line in process.lines), process.output


@needs_launch
@pytest.mark.parametrize("word", ["mode:=fast", "noise:=many", "samples:=-1"])
def test_the_real_launch_refuses_a_wrong_argument(ros: Any, tmp_path: Path, word: str) -> None:
    process = ros.run("launch", [sys.executable, "-c", RUNNER, str(LAUNCH / "demonstrate.launch.py"), word],
                      AMENT_PREFIX_PATH=prefix(tmp_path), ROS_LOG_DIR=str(tmp_path / "log"))  # fmt: skip
    assert process.wait() != 0
    assert word.split(":=")[0] in process.output and "process started" not in process.output


RUNNER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *words = sys.argv[1:]
source = PythonLaunchDescriptionSource(file)
service = LaunchService()
given = [word.split(":=", 1) for word in words]
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)]))
sys.exit(service.run())
"""
"""`ros2 launch FILE name:=value ...` without ros2cli."""


def prefix(folder: Path) -> str:
    """An install space in which `launch_ros` finds the executables of this very checkout."""
    space = folder / "prefix"
    (space / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (space / "share/ament_index/resource_index/packages/vd_policy").touch()
    executables = space / "lib/vd_policy"
    executables.mkdir(parents=True)
    for name in ("sim", "expert", "recorder", "policy", "safety", "gripper", "learner"):
        script = executables / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vd_policy.nodes.{name} "$@"\n')
        script.chmod(0o755)
    return os.pathsep.join(filter(None, [str(space), os.environ.get("AMENT_PREFIX_PATH", "")]))
