"""The recorder node over real DDS."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_graph import RosGraph

from vd_policy.demos.bag import bag_paths, read_episode, read_recording, unfinished_paths
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.demos.reader import open_bag
from vd_policy.demos.storage import bag_topic
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import DemonstrateOptions
from vd_policy.graph.process import command
from vd_policy.messages.topics import GRIPPER_COMMAND


def demonstrating(ros: RosGraph, out: Path, **options: Any) -> dict[str, Any]:
    """The demonstrate graph at a size that is quick to render; its processes by name."""
    chosen = DemonstrateOptions(**{"out": str(out), "image_height": 16, "image_width": 24, "noise": 0.3, "seed": 9,
                                   **options})  # fmt: skip
    return {spec.name: ros.start(spec.executable, **spec.parameters) for spec in graph("demonstrate", chosen)}


@pytest.mark.parametrize(("task", "noise"), [("reach", 0.3), ("grasp", 0.03)])
def test_demonstrations_through_the_graph_equal_those_made_in_process(
    ros: RosGraph, tmp_path: Path, task: str, noise: float
) -> None:
    recorder = demonstrating(ros, tmp_path / "graph", samples=60, task=task, noise=noise)["recorder"]
    assert recorder.wait() == 0, ros.output()
    settings = DemonstrationSettings(task=task, image_height=16, image_width=24, noise_std_rad=noise)
    demonstrate(settings, 80, tmp_path / "here", seed=9)
    here = {e.seed: e for e in map(read_episode, bag_paths(tmp_path / "here")[:-1])}
    through_ros = {e.seed: e for e in map(read_episode, bag_paths(tmp_path / "graph"))}
    both = here.keys() & through_ros.keys()
    assert sum(len(e) for e in through_ros.values()) >= 60
    assert len(both) >= 4
    for seed in both:
        mine, theirs = through_ros[seed], here[seed]
        for key in ("rgb", "depth", "q"):
            assert np.array_equal(mine.obs[key], theirs.obs[key]), key
        for name in ("action", "applied", "label", "reward", "scene"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
        assert (mine.terminated, mine.truncated, mine.success) == (theirs.terminated, theirs.truncated, theirs.success)


def test_nothing_is_recorded_before_every_node_of_the_graph_is_there(ros: RosGraph, tmp_path: Path) -> None:
    """However late one of them starts: a bag without the commands of the hand would miss them unnoticed."""
    options = DemonstrateOptions(task="grasp", noise=0.03, out=str(tmp_path), image_height=16, image_width=16)
    specs = {spec.name: spec for spec in graph("demonstrate", options)}
    late = specs.pop("gripper")
    for spec in specs.values():
        ros.start(spec.executable, **spec.parameters)
    status = ros.probe.diagnostics()
    ros.wait_for(lambda: int(status("sim").get("repeats", 0)) >= 4, "a sim that waits for the recorder")
    ros.wait_for(lambda: "recording" in status("recorder").get("message", ""), "the recorder")
    assert not bag_paths(tmp_path)
    ros.start(late.executable, **late.parameters)
    ros.wait_for(lambda: len(bag_paths(tmp_path)) >= 2, "two episodes")
    for path in bag_paths(tmp_path):
        with open_bag(path) as bag:
            assert any(bag.messages({bag_topic(GRIPPER_COMMAND)}))


def test_a_topic_that_is_never_recorded_cannot_be_needed(ros: RosGraph, tmp_path: Path) -> None:
    recorder = ros.start("recorder", out=str(tmp_path), needed=["lidar"])
    assert recorder.wait() == 2
    assert "'lidar'" in recorder.output and "extra_topics" in recorder.output


def test_a_name_that_is_no_topics_ends_the_recorder_with_one_line(ros: RosGraph, tmp_path: Path) -> None:
    recorder = ros.start("recorder", out=str(tmp_path), extra_topics=["/camera-2/image"])
    assert recorder.wait() == 2
    assert "extra_topics is '/camera-2/image'" in recorder.output and "Traceback" not in recorder.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_recorder_leaves_whole_episodes_only(ros: RosGraph, tmp_path: Path, number: int) -> None:
    recorder = demonstrating(ros, tmp_path)["recorder"]
    ros.wait_for(lambda: len(bag_paths(tmp_path)) >= 3, "three episodes")
    assert recorder.stop(number) == 0, recorder.output
    assert not unfinished_paths(tmp_path)
    for recording in map(read_recording, bag_paths(tmp_path)):
        assert recording.outcome[max(recording.outcome)].last
        assert all(recording.has_observation(stamp) for stamp in recording.outcome)


def test_the_services_start_and_stop_the_recording(ros: RosGraph, tmp_path: Path) -> None:
    chosen = DemonstrateOptions(out=str(tmp_path), image_height=16, image_width=16)
    for spec in graph("demonstrate", chosen):
        ros.start(spec.executable, **spec.parameters, **({"autostart": False} if spec.name == "recorder" else {}))
    diagnostics = ros.probe.diagnostics()

    def waiting() -> bool:
        return diagnostics("recorder").get("message") == "waiting for recorder/start"

    ros.wait_for(waiting, "a recorder that waits")
    assert not bag_paths(tmp_path)
    assert ros.probe.call("recorder/start").success
    ros.wait_for(lambda: len(bag_paths(tmp_path)) >= 2, "two episodes")
    assert ros.probe.call("recorder/stop").success
    ros.wait_for(waiting, "the recording stopped")
    count = len(bag_paths(tmp_path))
    assert count == int(diagnostics("recorder")["episodes"]) and not unfinished_paths(tmp_path)


def test_a_disk_that_fills_up_ends_the_recorder_with_one_clear_line(ros: RosGraph, tmp_path: Path) -> None:
    """FAULTS 32."""
    options = DemonstrateOptions(out=str(tmp_path / "demos"), image_height=64, image_width=64)
    specs = {spec.name: spec for spec in graph("demonstrate", options)}
    line = shlex.join(command(specs.pop("recorder"), tmp_path / "recorder.yaml"))
    recorder = ros.run("recorder", ["sh", "-c", f"ulimit -f 16; exec {line}"])  # no file above 8 kB
    for spec in specs.values():
        ros.start(spec.executable, **spec.parameters)
    assert recorder.wait() == 1, recorder.output
    said = [text for text in recorder.lines if "cannot write" in text]
    assert len(said) == 1 and str(tmp_path / "demos") in said[0] and "Traceback" not in recorder.output
    assert not unfinished_paths(tmp_path / "demos")


def test_a_disk_that_is_too_full_refuses_the_start_and_says_so(ros: RosGraph, tmp_path: Path) -> None:
    process = ros.start("recorder", out=str(tmp_path), min_free_mb=1e12)
    assert process.wait() == 1
    assert len(process.lines) == 1 and "MB are free" in process.output and str(tmp_path) in process.output
