"""Killing in motion as a benchmark, small."""

from __future__ import annotations

from vd_policy.experiments.bench_kill import bench_kill, summary


def test_a_killed_policy_is_watched_until_the_arm_stands() -> None:
    figures = bench_kill(("policy",), trials=1)
    assert figures["policy_trials"] == 1 and figures["policy_timeout_s"] == 0.5
    assert figures["policy_last_command_max_s"] < 0.5, "nobody commands for a dead policy"


def test_trials_in_which_anything_came_too_late_are_told_apart() -> None:
    figures = summary([(-0.1, 0.4), (-0.2, 0.59), (-0.1, 0.7), (0.8, 0.1)], timeout_s=0.5)
    assert (figures["trials"], figures["stopped_in_time"]) == (4, 2)
    assert (figures["last_command_max_s"], figures["last_motion_max_s"]) == (0.8, 0.7)
