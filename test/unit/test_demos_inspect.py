"""What `inspect` says of good bags, and the contact sheet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import demo_bags
import numpy as np
import pytest
from demo_bags import INFO, write_episode, write_steps
from PIL import Image

from vd_policy.cli.main import main
from vd_policy.demos.bag import EpisodeWriter
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.inspect import inspect, table
from vd_policy.demos.reader import open_bag
from vd_policy.demos.sheet import COLUMNS, TEXT_HEIGHT, contact_sheet
from vd_policy.messages.topics import COLOR_INFO, EXPERT_ACTION


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


def test_a_sheet_that_cannot_be_written_is_refused_before_the_bags_are_read(tmp_path, capsys):
    write_episode(tmp_path / "demos")
    for file in ("sheet.txt", "nowhere/sheet.png"):
        assert main(["inspect", str(tmp_path / "demos"), "--sheet", str(tmp_path / file)]) == 2
        assert "--sheet is" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"robot": "another"}, "another robot"), ({"task_changes": "horizon 9"}, "another task changes"),
     ({"max_step_rad": 0.25}, "another max step"), ({"goals": "all"}, "another goals")],
)  # fmt: skip
def test_an_episode_that_no_dataset_would_mix_is_named_and_not_counted(tmp_path, changes, said):
    for index, info in enumerate((INFO, replace(INFO, **changes), INFO)):
        with EpisodeWriter(tmp_path, index, info) as writer:
            write_steps(writer, demo_bags.truth(index, 4))
    found = inspect(tmp_path)
    assert [p.startswith(f"episode_000001: {said}: ") for p in found.all_problems] == [True]
    assert (found.figures()["usable_episodes"], found.figures()["samples"]) == (2, 8)
    dataset = Dataset(tmp_path)
    assert (dataset.episodes, dataset.skipped) == (2, {said: 1})


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


def retold(source: Path, target: Path, *, source_name: str = "expert", without: str = "", keep: int = 10**6,
           late: str = "", wait_ns: int = 0) -> None:  # fmt: skip
    """The same episode: by another actor, without a topic, with less of it, or with all after its first held up."""
    counts: dict[str, int] = {}
    with EpisodeWriter(target.parent, int(target.name[-6:]), replace(INFO, source=source_name)) as writer:
        with open_bag(source) as bag:
            for m in bag.messages():
                name = m.topic[1:]
                counts[name] = counts.get(name, 0) + 1
                if name != without and not (name == late and counts[name] > keep):
                    held_ns = wait_ns if name == late and counts[name] > 1 else 0
                    writer.write_raw(name, m.type_name, m.cdr, m.log_ns + held_ns)


def test_rollouts_of_a_policy_need_no_labels_and_are_counted_apart(tmp_path):
    write_episode(tmp_path / "source", 0, 4)
    for index in range(2):
        retold(tmp_path / "source" / "episode_000000", tmp_path / "seen" / f"episode_{index:06d}",
               source_name="policy", without=EXPERT_ACTION)  # fmt: skip
    found = inspect(tmp_path / "seen")
    assert found.all_problems == []
    figures = found.figures()
    assert (figures["rollouts"], figures["rollout_steps"], figures["samples"]) == (2, 8, 0)
    assert table(found).endswith("2 rollouts without labels, 8 steps, 0 problems")
    retold(tmp_path / "source" / "episode_000000", tmp_path / "seen" / "episode_000002", without=EXPERT_ACTION)
    assert inspect(tmp_path / "seen").all_problems == [f"episode_000002: {EXPERT_ACTION}: no messages"]


def test_a_wait_of_the_machine_is_no_gap_in_what_was_recorded_in_lockstep(tmp_path):
    for index in range(3):
        write_episode(tmp_path, index, 4)
    (tmp_path / "episode_000002").rename(tmp_path / ".source")
    retold(tmp_path / ".source", tmp_path / "episode_000002", late="joint_states", wait_ns=20_000_000_000)
    found = inspect(tmp_path)
    assert found.all_problems == []
    joints = next(t for t in found.episodes[2].topics if t.topic == "/joint_states")
    assert joints.rate_hz == pytest.approx(10.0) and joints.longest_gap_s == pytest.approx(0.1)


def test_a_topic_that_stops_long_before_the_others_is_named(tmp_path):
    write_episode(tmp_path / "source", 0, 10)
    retold(tmp_path / "source" / "episode_000000", tmp_path / "demos" / "episode_000000", late=COLOR_INFO, keep=2)
    (problem,) = inspect(tmp_path / "demos").all_problems
    assert problem == f"episode_000000: /{COLOR_INFO}: there for 0.1 of 1 s only"
