"""The monitor beside a policy at work."""

from __future__ import annotations

import json
from pathlib import Path

from ros_graph import RosGraph
from stand_in import StandIn
from trained import saved, turning_policy
from trajectory_msgs.msg import JointTrajectory

from vd_policy.messages.topics import COMMAND


def test_the_monitor_measures_a_policy_at_a_quarter_of_its_speed_and_ends(ros: RosGraph, tmp_path: Path) -> None:
    robot = StandIn(ros.probe)
    commands = ros.probe.listen(JointTrajectory, COMMAND)
    ros.start("policy", run=saved(tmp_path / "run", turning_policy()), rate_hz=25.0, speed=0.25)
    monitor = ros.start("monitor", out=str(tmp_path / "figures.json"), seconds=1.5, skip=5)
    assert monitor.wait() == 0, monitor.output
    robot.close()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["commands"] > 5 and figures["misses"] >= 0
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"]
    assert figures["infer_p50_ms"] > 0 and figures["cpu_policy_percent"] > 0
    assert {c.points[0].time_from_start.sec for c in commands} == {4}  # a decision period of 1 s, at a quarter speed
