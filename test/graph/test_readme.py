"""The README: its commands run, in its order, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_graph import RosGraph

from vd_policy.demos.bag import bag_paths
from vd_policy.messages.topics import SERVICES, TOPICS
from vd_policy.sim.tasks import load_task

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SMALLER = {
    "--samples": "40",
    "--image-size": "16",
    "--image-height": "16",
    "--image-width": "16",
    "--episodes": "3",
    "--steps": "60",
    "--updates": "1",
}
"""Sizes that a test can afford; nothing else of a command is changed."""
LONGEST_S = 280
ELSEWHERE = ("make demo", "make test", "rosdep install", "colcon build", "source install", "ros2 launch")
"""Lines that other tests run, or that need a full ROS installation."""


def commands() -> list[str]:
    """Every line of the console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def shrunk(line: str) -> list[str]:
    words = shlex.split(line)
    return [SMALLER.get(before, word) for before, word in zip(["", *words], words)]


def vd_policy(words: list[str], folder: Path, ros: RosGraph) -> subprocess.CompletedProcess[str]:
    """The command, run to its end; one that does not end is interrupted, and the test fails with all that was said."""
    line = [sys.executable, "-m", "vd_policy.cli.main", *words]
    process = subprocess.Popen(line, cwd=folder, env=ros.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            said = ("", "and an interrupt does not end it")
        logs = [f"--- {log.name}\n{log.read_text()[-4000:]}" for log in sorted(folder.rglob("logs/*.log"))]
        pytest.fail("\n".join([f"{words} did not end within {LONGEST_S} s:", *said, *logs]))
    return subprocess.CompletedProcess(line, process.returncode, *said)


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_runs_in_its_order(ros: RosGraph, tmp_path: Path) -> None:
    ours = [line for line in commands() if line.startswith(".venv/bin/vd_policy ")]
    assert len(ours) >= 10
    for line in ours:
        done = vd_policy(shrunk(line)[1:], tmp_path, ros)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for made in ("reach.mp4", "reach.png", "policy.onnx", "improved/weights.safetensors"):
        assert (tmp_path / made).exists(), made
    assert len(bag_paths(tmp_path / "driven")) == int(SMALLER["--episodes"])


def test_every_other_command_of_the_readme_is_known() -> None:
    others = [line for line in commands() if not line.startswith(".venv/bin/vd_policy ")]
    assert {start for start in ELSEWHERE if any(line.startswith(start) for line in others)} == set(ELSEWHERE)
    assert all(line.startswith(ELSEWHERE) for line in others)
    for line in others:
        if line.startswith("make "):
            subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_names_every_topic_and_service_as_it_is() -> None:
    for topic in TOPICS.values():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{topic.name}` |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        qos = f"{'reliable' if topic.reliable else 'best effort'} {topic.depth or 'keep all'}"
        qos += ", latched" * topic.latched + ", subscribed as sensor data" * topic.subscribe_as_sensor
        assert cells == [f"`{topic.name}`", f"`{topic.type}`", qos, topic.sender, topic.receivers]
    for service in SERVICES.values():
        assert f"| `{service.name}` | {service.server} | {service.does} |" in README


@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["reach", "grasp"])
def test_the_demo_does_the_whole_job_and_says_whether_it_succeeded(ros: RosGraph, tmp_path: Path, task: str) -> None:
    size = "--image-size 16 --samples 50 --epochs 3 --updates 1 --episodes 4 --deploy-episodes 2".split()
    done = vd_policy(["demo", "--task", task, "--out", "made", *size, "--json", "demo.json"], tmp_path, ros)
    found = json.loads((tmp_path / "demo.json").read_text())
    assert done.returncode == (0 if found["reached"] else 1), done.stderr
    assert ("NOT clearly" in done.stdout) == (not found["reached"])
    assert found["demonstrations"]["samples"] >= 50 and found["deployed"]["episodes"] == 2
    assert set(found["policies"]) >= {"untrained", "cloned", "improved", "expert"}
    assert found["policies"]["expert"]["success_rate"] == 1.0
    page = (tmp_path / "made" / "report.html").read_text()
    assert f"learns to {task} the cup" in page and load_task(found["task"]).rules_name == task
    assert page.count("data:image/png") >= 3 and "data:video/mp4" in page
    assert "://" not in page, "nothing is fetched; base64 may spell http, but has no colon"


def test_a_demo_never_replaces_what_is_not_a_demo(ros: RosGraph, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = vd_policy(["demo", "--out", str(tmp_path)], tmp_path, ros)
    assert done.returncode == 2 and "thesis.tex" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
