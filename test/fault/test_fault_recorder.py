"""FAULTS 32 and 33 with the recorder node itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ros_graph import NodeProcess, RosGraph

from vd_policy.base.errors import VdPolicyError
from vd_policy.demos.bag import bag_paths, read_episode, unfinished_paths
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.inspect import inspect
from vd_policy.demos.recover import recover
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import DemonstrateOptions
from vd_policy.messages.topics import JOINT_STATES
from vd_policy.nodes import session
from vd_policy.nodes.raw import Raw
from vd_policy.nodes.session import SessionRecorder

TRIALS = int(os.environ.get("VD_POLICY_KILL_TRIALS", "4"))
"""The issue's 30 take two minutes."""


class Driven:
    """Sim, expert and safety in lockstep, which go on while no recorder is there until an episode is over."""

    def __init__(self, out: Path) -> None:
        self.ros = RosGraph()
        options = DemonstrateOptions(out=str(out), image_height=64, image_width=64, noise=0.3, seed=4)
        specs = {spec.name: spec for spec in graph("demonstrate", options)}
        self._recorder = specs.pop("recorder")
        for spec in specs.values():
            self.ros.start(spec.executable, **spec.parameters)

    def recorder(self) -> NodeProcess:
        return self.ros.start("recorder", **self._recorder.parameters)


def record_until_killed(driven: Driven, directory: Path, delay_s: float) -> None:
    """A recorder's life, ended this long after its first bag: what was there stays, and little is left open."""
    whole, left = set(bag_paths(directory)), len(unfinished_paths(directory))
    recorder = driven.recorder()
    driven.ros.wait_for(lambda: set(bag_paths(directory)) > whole, "the recorder's first bag")
    threading.Timer(delay_s, recorder.send, (signal.SIGKILL,)).start()
    assert recorder.wait() == -signal.SIGKILL, recorder.output
    assert set(bag_paths(directory)) > whole
    assert len(unfinished_paths(directory)) <= left + 2, "the episode that was open, and the one just over"


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Driven]:
    made = Driven(tmp_path / "demos")
    yield made
    made.ros.close()


def test_sigkill_of_the_recorder_node_at_any_moment_loses_at_most_the_open_episode(
    driven: Driven, tmp_path: Path
) -> None:
    """FAULTS 33: one recorder after another in one directory, each killed at a random moment after its first bag."""
    directory = tmp_path / "demos"
    directory.mkdir()
    for delay_s in np.random.default_rng(0).uniform(0, 0.4, TRIALS):
        record_until_killed(driven, directory, delay_s)
    bags, left = bag_paths(directory), unfinished_paths(directory)
    found = inspect(directory)
    assert [e.problems for e in found.episodes] == [[]] * len(bags)
    assert len(found.problems) == len(left) and all("never closed" in p for p in found.problems)
    assert all(len(read_episode(bag)) == steps for bag, steps in zip(bags, (e.steps for e in found.episodes)))
    before_bytes = {f: f.read_bytes() for p in left for f in p.rglob("*") if f.is_file()}
    for salvage in recover(directory, directory / "recovered"):
        assert salvage.target is None or salvage.messages > 0
    assert {f: f.read_bytes() for f in before_bytes} == before_bytes
    assert len(Dataset(directory)) == sum(e.samples for e in found.episodes if e.steps >= 2)


def test_a_session_on_a_disk_that_runs_full_is_closed_and_kept(tmp_path: Path, monkeypatch) -> None:
    """FAULTS 32."""
    from demo_bags import INFO

    monkeypatch.setattr(session, "CHECK_BYTES", 1000)
    free = iter([10**9, 10**9, 100])
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=next(free, 10**9)))
    recorder = SessionRecorder(tmp_path, INFO, min_free_bytes=10**6)
    message = Raw(JOINT_STATES, 0, bytes(600), 1, "sensor_msgs/msg/JointState")
    recorder.take(message)
    with pytest.raises(VdPolicyError, match="are free"):
        recorder.take(message)
    (bag,) = bag_paths(tmp_path)
    assert not unfinished_paths(tmp_path) and recorder.counts["messages"] == 2 and (bag / "metadata.yaml").is_file()
