"""Demonstrations in which a policy acts and the expert only labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import small_policy

from vd_policy.arm.expert import Expert
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import Seeds
from vd_policy.cli.main import main
from vd_policy.demos.bag import bag_paths, read_episode
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings, make_env
from vd_policy.demos.inspect import inspect
from vd_policy.policy.checkpoint import save_run


def run_of(path: Path) -> Path:
    """An untrained policy that takes clear steps."""
    policy = small_policy(image_width=20)
    with torch.no_grad():
        policy.mean.head.bias[:] = torch.linspace(-0.6, 0.6, 6)
    return save_run(path, policy, config={"task": "reach", "robot": "j2n6s300"})


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> DemonstrationSettings:
    plain = DemonstrationSettings(image_height=16, image_width=20, noise_std_rad=0.0)
    return replace(plain, actor=str(run_of(tmp_path_factory.mktemp("actor") / "run")))


def test_the_policy_acts_and_the_expert_labels_the_states_it_comes_to(settings, tmp_path):
    demonstrate(settings, 12, tmp_path, seed=3)
    episode = read_episode(bag_paths(tmp_path)[0])
    env = make_env(settings)
    env.reset(seed=Seeds(3).integer("episode", 0))
    expert = Expert(env.goals(), env.robot.continuous)
    for q, label, action in zip(episode.obs["q"], episode.label, episode.action):
        assert np.allclose(label, expert.decide(q.astype(np.float64)) / env.settings.max_step_rad, atol=1e-5)
        assert np.allclose(action, np.linspace(-0.6, 0.6, 6), atol=0.5) and not np.allclose(action, label, atol=0.1)
    env.close()
    assert episode.source == "policy" and not inspect(tmp_path).all_problems


def test_noise_comes_on_top(settings, tmp_path):
    demonstrate(settings, 2, tmp_path / "quiet", seed=3)
    demonstrate(replace(settings, noise_std_rad=0.2), 2, tmp_path / "noisy", seed=3)
    quiet, noisy = (read_episode(bag_paths(tmp_path / name)[0]) for name in ("quiet", "noisy"))
    assert np.array_equal(quiet.obs["rgb"][0], noisy.obs["rgb"][0]) and np.array_equal(quiet.label[0], noisy.label[0])
    assert np.abs(quiet.action[0] - noisy.action[0]).max() > 0.1


def test_a_directory_takes_the_experts_episodes_and_then_the_policys(settings, tmp_path):
    demonstrate(replace(settings, actor=""), 8, tmp_path, seed=3)
    demonstrate(settings, 8, tmp_path, seed=3, existing="append")
    episodes = [read_episode(p) for p in bag_paths(tmp_path)]
    assert [e.source for e in episodes] == sorted(e.source for e in episodes) and episodes[-1].source == "policy"
    assert len({e.seed for e in episodes}) == len(episodes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_height": 24}, "image size is .24x"),
        ({"robot": "gen3_7dof"}, "robot is .gen3_7dof"),
        ({"actor": "nowhere"}, "nowhere"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_before_anything_is_written(settings, tmp_path, changes, named):
    with pytest.raises(BadInput, match=named):
        demonstrate(replace(settings, **changes), 8, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_takes_task_robot_and_image_size_from_the_actor(settings, tmp_path):
    words = ["demonstrate", "--actor", settings.actor, "--samples", "6", "--noise", "0"]
    words += ["--out", str(tmp_path / "bags")]
    assert main([*words, "--workers", "2", "--json", str(tmp_path / "f.json")]) == 0
    made = json.loads((tmp_path / "f.json").read_text())
    assert (made["image_height"], made["image_width"], made["actor"]) == (16, 20, settings.actor)
    assert main([*words, "--graph", "--append"]) == 2
