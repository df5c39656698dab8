"""Bags to memory-mapped pairs."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import demo_bags
import numpy as np
import pytest
from demo_bags import INFO, write_episode

from vd_policy.base.errors import BadInput
from vd_policy.demos import arrays as module
from vd_policy.demos.dataset import Dataset

STEPS = (3, 5, 2, 4, 3, 6)
EPISODE = np.repeat(range(len(STEPS)), STEPS)
"""Which episode each sample is of."""


@pytest.fixture(scope="module")
def bags(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bags")
    for index, steps in enumerate(STEPS):
        write_episode(path, index, steps)
    return path


@pytest.fixture
def directory(bags, tmp_path) -> Path:
    """A copy of the bags that a test may change."""
    return shutil.copytree(bags, tmp_path / "demos")


def test_the_pairs_of_all_episodes_are_there_in_order(directory):
    data = Dataset(directory)
    truths = [demo_bags.truth(i, steps) for i, steps in enumerate(STEPS)]
    assert (len(data), data.episodes, data.successes, data.skipped) == (sum(STEPS), len(STEPS), len(STEPS), {})
    assert np.array_equal(data.rgb, np.concatenate([t.rgb[:-1] for t in truths]))
    assert np.array_equal(data.depth, np.concatenate([t.depth[:-1] for t in truths]))
    assert np.array_equal(data.q, np.concatenate([t.q[:-1] for t in truths]).astype(np.float32))
    label = np.concatenate([(t.label - t.q[:-1]) / INFO.max_step_rad for t in truths]).astype(np.float32)
    assert np.array_equal(data.label, label)
    assert data.shape == module.Shape(demo_bags.HEIGHT, demo_bags.WIDTH, INFO.joints, 0.5, 0.1, "reach", "toy")


def test_a_batch_has_the_samples_asked_for_in_their_order_and_is_ours_to_change(directory):
    data = Dataset(directory)
    obs, label = data.batch([7, 0, 7])
    for key, array in (("rgb", data.rgb), ("depth", data.depth), ("q", data.q)):
        assert np.array_equal(obs[key], array[[7, 0, 7]])
        obs[key][:] = 0
    assert np.array_equal(label, data.label[[7, 0, 7]])
    assert data.rgb.any() and not data.rgb.flags.writeable


def test_a_split_keeps_episodes_whole_and_every_sample_on_one_side(directory):
    data = Dataset(directory)
    for fraction in (0.1, 0.3, 0.5, 0.9):
        for seed in range(5):
            train, held_out = data.split(fraction, seed)
            assert sorted([*train, *held_out]) == list(range(len(data)))
            assert len(train) and len(held_out)
            assert not set(EPISODE[train]) & set(EPISODE[held_out])
    assert any(not np.array_equal(data.split(0.3, 0)[1], data.split(0.3, s)[1]) for s in range(1, 9))
    assert np.array_equal(data.split(0.3, 4)[0], data.split(0.3, 4)[0])
    assert len(data.split(0.0, 0)[1]) == 0
    with pytest.raises(BadInput, match="fraction"):
        data.split(1.0, 0)


def test_a_copied_episode_is_on_one_side_with_its_original(directory):
    """FAULT 31."""
    for copy, original in ((10, 0), (11, 1), (12, 1)):
        write_episode(directory, copy, STEPS[original], seed=original)
    data = Dataset(directory)
    assert data.episodes == len(STEPS) + 3
    episode = np.concatenate([EPISODE, np.repeat((6, 7, 8), [STEPS[i] for i in (0, 1, 1)])])
    for seed in range(20):
        train = set(episode[data.split(0.4, seed)[0]])
        assert len(train & {0, 6}) != 1 and len(train & {1, 7, 8}) in (0, 3)


def test_the_content_hash_follows_the_content_and_nothing_else(directory, tmp_path):
    first = Dataset(directory).content_hash
    shutil.copytree(directory, tmp_path / "copy", ignore=shutil.ignore_patterns(".dataset"))
    for file in (tmp_path / "copy").rglob("*.mcap"):
        os.utime(file, (1, 1))
    assert Dataset(tmp_path / "copy", cache=tmp_path / "cache").content_hash == first
    shutil.rmtree(tmp_path / "copy" / "episode_000002")
    write_episode(tmp_path / "copy", 2, STEPS[2], seed=99)
    assert Dataset(tmp_path / "copy", cache=tmp_path / "cache").content_hash != first


def test_nothing_is_converted_twice_and_new_bags_are_added(directory, monkeypatch):
    Dataset(directory)
    read = []
    original = module.read_bag
    monkeypatch.setattr(module, "read_bag", lambda bag, its_map: (read.append(bag.name), original(bag, its_map))[1])
    Dataset(directory)
    assert read == []
    write_episode(directory, 6, 4)
    seen = []
    data = Dataset(directory, progress=lambda done, total: seen.append((done, total)))
    assert read == ["episode_000006"] and seen == [(7, 7)]
    assert np.array_equal(data.rgb[-4:], demo_bags.truth(6, 4).rgb[:-1])


@pytest.mark.parametrize("commit_bytes", [0, 1 << 30])
def test_an_interrupted_conversion_goes_on_where_it_was_durable(directory, monkeypatch, commit_bytes):
    whole = Dataset(directory, cache=directory / "whole")
    monkeypatch.setattr(module, "COMMIT_BYTES", commit_bytes)
    original = module.read_bag

    def dies(bag: Path, its_map: None):
        if bag.name == "episode_000003":
            raise KeyboardInterrupt
        return original(bag, its_map)

    monkeypatch.setattr(module, "read_bag", dies)
    with pytest.raises(KeyboardInterrupt):
        Dataset(directory, cache=directory / "cut")
    with open(directory / "cut" / "rgb.bin", "ab") as file:
        file.write(b"half a row")
    with open(directory / "cut" / module.LEDGER, "a") as file:
        file.write('{"name": "episode_0000')
    monkeypatch.setattr(module, "read_bag", original)
    seen = []
    data = Dataset(directory, cache=directory / "cut", progress=lambda done, total: seen.append(done))
    assert seen == [4, 5, 6]
    assert data.content_hash == whole.content_hash
    assert np.array_equal(data.rgb, whole.rgb) and np.array_equal(data.label, whole.label)


def test_a_changed_bag_or_a_damaged_cache_is_converted_anew(directory):
    before = Dataset(directory)
    shutil.rmtree(directory / "episode_000001")
    assert len(Dataset(directory)) == len(before) - STEPS[1]
    os.truncate(directory / ".dataset" / "depth.bin", 10)
    assert np.array_equal(Dataset(directory).depth[:3], demo_bags.truth(0, 3).depth[:-1])
    (directory / ".dataset" / module.LEDGER).write_text("nonsense\n")
    assert len(Dataset(directory)) == len(before) - STEPS[1]


def test_episodes_of_another_robot_step_or_picture_are_left_out_and_counted(directory):
    write_episode(directory, 20, 3, height=8)
    write_episode(directory, 21, 3, info=replace(INFO, joints=("elbow", "shoulder")))
    write_episode(directory, 22, 3, info=replace(INFO, max_step_rad=0.4))
    data = Dataset(directory)
    assert data.skipped == {"another image height": 1, "another joints": 1, "another max step": 1}
    assert data.episodes == len(STEPS)


def test_a_directory_without_usable_episodes_says_what_it_holds(tmp_path):
    with pytest.raises(BadInput, match="no bags"):
        Dataset(tmp_path)
    write_episode(tmp_path, 0, 1)
    with pytest.raises(BadInput, match="1 too short"):
        Dataset(tmp_path)
    with pytest.raises(BadInput, match="nowhere"):
        Dataset(tmp_path / "nowhere")
