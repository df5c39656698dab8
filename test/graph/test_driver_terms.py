"""Demonstrations from an arm whose driver names and counts the joints otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from other_driver import other_counting
from ros_graph import RosGraph

from vd_policy.arm.spec import load_robot
from vd_policy.demos.bag import bag_paths, read_episode
from vd_policy.demos.factory import from_cdr
from vd_policy.demos.reader import open_bag
from vd_policy.messages.topics import JOINT_STATES


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_an_expert_by_the_clock_reaches_the_cup_and_its_bag_reads_back_in_the_terms_of_the_urdf(
    ros: RosGraph, tmp_path: Path
) -> None:
    """The bag itself holds what the topics carried."""
    robot = other_counting(tmp_path)
    words = ["demonstrate", "--mode", "realtime", "--robot", robot, "--noise", "0", "--episodes", "1"]
    words += ["--image-height", "16", "--image-width", "16", "--out", str(tmp_path / "demos")]
    process = ros.run("up", [sys.executable, "-m", "vd_policy.cli.main", "up", *words])
    assert process.wait(90) == 0, process.output
    (path,) = bag_paths(tmp_path / "demos")
    episode, home = read_episode(path), np.array(load_robot().home_rad)
    assert episode.success and episode.obs["q"][0] == pytest.approx(home, abs=0.5)
    ways = np.diff(episode.obs["q"], axis=0)
    longest = int(np.argmax(np.linalg.norm(ways, axis=1)))  # a starved machine may have refused a command as too old
    for decision in (episode.label, episode.action, episode.applied):
        assert decision is not None and cosine(decision[longest], ways[longest]) > 0.8
    with open_bag(path) as bag:
        names = {n for m in bag.messages({f"/{JOINT_STATES}"}) for n in from_cdr(m.cdr, m.type_name).name}
    assert names == {"yaw", "shoulder", *load_robot().joints[2:]}
