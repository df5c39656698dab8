"""Export to Minari and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from demo_bags import INFO, truth, write_episode, write_steps

from vd_policy.base.errors import BadInput
from vd_policy.cli.main import main
from vd_policy.demos.bag import EpisodeWriter, bag_paths, read_episode
from vd_policy.demos.minari_export import ROOT_VARIABLE, export_minari

pytest.importorskip("h5py")
minari = pytest.importorskip("minari")


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    for index, steps in enumerate((4, 1, 6)):
        write_episode(tmp_path / "demos", index, steps)
    return tmp_path / "demos"


def test_every_whole_episode_comes_back_bit_for_bit(demos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "minari"
    assert main(["export-dataset", str(demos), "--minari", "reach-v0", "--out", out.name, "--json", "f.json"]) == 0
    said = json.loads((tmp_path / "f.json").read_text())
    assert (said["episodes"], said["steps"], said["skipped"]) == (2, 10, {"too short": 1})
    assert [p.name for p in out.iterdir()] == ["reach-v0"]
    monkeypatch.setenv(ROOT_VARIABLE, str(out))
    dataset = minari.load_dataset("reach-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 10)
    bags = [bag for bag in bag_paths(demos) if not bag.name.endswith("1")]
    for theirs, ours in zip(dataset.iterate_episodes(), map(read_episode, bags)):
        for key, values in ours.obs.items():
            assert np.array_equal(theirs.observations[key], values), key
            assert theirs.observations[key].dtype == values.dtype
        assert np.array_equal(theirs.actions, ours.action) and np.array_equal(theirs.rewards, ours.reward)
        assert np.array_equal(theirs.infos["label"], ours.label)
        assert np.array_equal(theirs.infos["applied"], ours.applied)
        assert theirs.terminations.tolist() == [False] * (len(ours) - 1) + [True] and not theirs.truncations.any()


def test_episodes_of_another_size_or_arm_are_left_out_and_counted(demos, tmp_path):
    for index, changes in ((3, {"robot": "another"}), (4, {"max_step_rad": 0.25})):
        with EpisodeWriter(demos, index, replace(INFO, **changes)) as writer:
            write_steps(writer, truth(index, 4))
    with EpisodeWriter(demos, 5, INFO) as writer:
        write_steps(writer, truth(5, 4, height=4))
    said = export_minari(demos, tmp_path / "minari", "reach-v0")
    assert (said.episodes, said.steps) == (2, 10)
    assert said.skipped == {"too short": 1, "another robot": 1, "another max step": 1, "another image height": 1}


def test_a_taken_or_impossible_name_and_an_empty_directory_are_refused_and_leave_nothing(demos, tmp_path):
    out = tmp_path / "minari"
    export_minari(demos, out, "reach-v0")
    with pytest.raises(BadInput, match="not taken"):
        export_minari(demos, out, "reach-v0")
    with pytest.raises(BadInput, match="as in reach-v0"):
        export_minari(demos, out, "../reach")
    with pytest.raises(BadInput, match="1 too short|too short"):
        export_minari(demos / "episode_000001", out, "short-v0")
    assert [p.name for p in out.iterdir()] == ["reach-v0"]
