"""What `inspect` says of good bags, and the contact sheet."""

from __future__ import annotations

import json

import demo_bags
import numpy as np
import pytest
from demo_bags import INFO, write_episode, write_steps
from PIL import Image

from vd_policy.cli.main import main
from vd_policy.demos.bag import EpisodeWriter
from vd_policy.demos.inspect import inspect, table
from vd_policy.demos.sheet import COLUMNS, TEXT_HEIGHT, contact_sheet


def test_good_bags_have_no_problems_and_their_figures_are_right(tmp_path):
    for index in range(3):
        write_episode(tmp_path, index, 4)
    found = inspect(tmp_path)
    assert found.all_problems == []
    figures = found.figures()
    assert (figures["episodes"], figures["usable_episodes"], figures["samples"], figures["successes"]) == (3, 3, 12, 3)
    episode = found.episodes[0]
    assert (episode.steps, episode.samples, episode.outcome, episode.label_coverage) == (4, 4, "success", 1.0)
    joints = next(t for t in episode.topics if t.topic == "/joint_states")
    assert joints.count == 5
    assert joints.rate_hz == pytest.approx(10.0) and joints.longest_gap_s == pytest.approx(0.1)
    assert "3 of 3 episodes usable, 12 samples, 0 problems" in table(found)


def test_the_command_prints_the_table_and_writes_json_and_a_sheet(tmp_path, capsys):
    write_episode(tmp_path / "demos", 0, 3)
    files = [str(tmp_path / name) for name in ("sheet.png", "result.json")]
    assert main(["inspect", str(tmp_path / "demos"), "--sheet", files[0], "--json", files[1]]) == 0
    assert "episode_000000" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["ok"] and result["samples"] == 3 and result["per_episode"][0]["topics"][0]["count"] == 4


def test_a_frozen_camera_is_named_and_a_resting_arm_is_not(tmp_path):
    made = demo_bags.truth(0, 4)
    made.rgb[2:] = made.rgb[1]
    with EpisodeWriter(tmp_path / "frozen", 0, INFO) as writer:
        write_steps(writer, made)
    assert any("frozen camera" in p for p in inspect(tmp_path / "frozen").all_problems)
    made.q[1:] = made.q[1]
    with EpisodeWriter(tmp_path / "resting", 0, INFO) as writer:
        write_steps(writer, made)
    assert inspect(tmp_path / "resting").all_problems == []


def test_a_blind_depth_camera_is_named(tmp_path):
    made = demo_bags.truth(0, 4)
    made.depth[2] = 0
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        write_steps(writer, made)
    assert any(p.startswith("episode_000000: depth: only 0.0%") for p in inspect(tmp_path).all_problems)


def test_the_contact_sheet_shows_what_the_camera_saw(tmp_path):
    _, made = write_episode(tmp_path / "demos", 0, 3)
    write_episode(tmp_path / "demos", 1, 9)
    (tmp_path / "demos" / "episode_000002").mkdir()
    assert contact_sheet(tmp_path / "demos", tmp_path / "sheet.png") == 2
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    row = demo_bags.HEIGHT + TEXT_HEIGHT
    assert pixels.shape == (2 * row, COLUMNS * demo_bags.WIDTH, 3)
    assert np.array_equal(pixels[TEXT_HEIGHT:row, : demo_bags.WIDTH], made.rgb[0])
