"""Faults of learning: FAULTS 24 (checkpoint and resume), 27, 28, 29, 30 and 31."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from learning_samples import collector, demonstrations, invented_episode, quick, tiny_policy, tiny_run

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.cli.main import main
from vd_policy.demos.bag import bag_paths, read_episode
from vd_policy.learning.cloning import Cloning
from vd_policy.learning.critic import CriticSettings
from vd_policy.learning.parameters import FlatParameters
from vd_policy.learning.pretrain import pretrain
from vd_policy.learning.train import train
from vd_policy.learning.trpo import TRPO, TRPOSettings
from vd_policy.policy.checkpoint import load_run, load_training
from vd_policy.policy.gaussian import PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.variational import LOG_ALPHA_LIMIT
from vd_policy.sim.tasks import MAX_REWARD

READY_TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return demonstrations(tmp_path_factory.mktemp("demos") / "bags")


def warm_learner(policy=None, **changes) -> TRPO:
    critic = CriticSettings(warmup_batches=0, fit_steps=2)
    return TRPO(policy or tiny_policy(), TRPOSettings(batch_steps=20, critic=critic, **changes))


def pair_of_episodes(learner: TRPO, first: int = 0, **options):
    return [invented_episode(learner.policy, first + i, version=learner.version, **options) for i in range(2)]


def test_a_killed_training_leaves_a_whole_checkpoint_from_which_it_resumes_exactly(tmp_path):
    """FAULTS 24: SIGKILL in the middle of an update."""
    tiny_run(tmp_path / "start")
    words = ["train", str(tmp_path / "start"), "--recipe", "trpo", "--set", "batch_steps=30"]
    endless = [*words, "--steps", "100000", "--out", str(tmp_path / "cut")]
    process = subprocess.Popen([sys.executable, "-m", "vd_policy.cli.main", *endless], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not (tmp_path / "cut" / "manifest.json").is_file():
        os.sched_yield()
        assert process.poll() is None and time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = load_training(tmp_path / "cut")["rl_steps"]
    assert done > 0 and load_run(tmp_path / "cut")
    for out, options in (("cut", ["--resume"]), ("whole", [])):
        assert main([*words, "--steps", str(done + 60), "--out", str(tmp_path / out), *options]) == 0
    whole, cut = (load_run(tmp_path / name).policy.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_duplicated_rollouts_are_dropped_and_counted():
    """FAULTS 27."""
    learner = warm_learner()
    episodes = pair_of_episodes(learner)
    learner.observe(episodes + episodes[:1])
    assert learner.intake.counts["duplicate"] == 1 and learner.intake.counts["used"] == 2


def test_rollouts_from_too_old_or_future_weights_are_dropped_and_counted():
    """FAULTS 27."""
    learner = warm_learner(max_weight_lag=1)
    learner.version = 5
    policy = learner.policy
    learner.observe([invented_episode(policy, i, version=version) for i, version in enumerate((3, 4, 5, 6))])
    assert learner.intake.counts["stale"] == 2 and learner.due() == 1


def test_rollouts_that_grew_stale_while_waiting_are_dropped_at_the_update():
    """FAULTS 27."""
    learner = warm_learner(max_weight_lag=0)
    learner.observe(pair_of_episodes(learner))
    learner.version += 1
    figures = learner.update()
    assert figures["rollouts_stale"] == 2 and "critic_loss" not in figures


def test_lost_and_reordered_rollouts_are_counted_per_source():
    """FAULTS 27."""
    learner = warm_learner()
    policy = learner.policy
    arrivals = (("a", 0), ("a", 3), ("a", 1), ("b", 7))
    learner.observe([invented_episode(policy, number, source=source) for source, number in arrivals])
    assert (learner.intake.counts["lost"], learner.intake.counts["reordered"]) == (1, 1)
    assert learner.intake.counts["used"] == 4


@pytest.mark.parametrize(
    ("part", "value"), [("reward", np.nan), ("reward", 1e30), ("action", np.inf), ("log_prob", np.nan)]
)
def test_rollouts_with_impossible_numbers_are_dropped_and_counted(part, value):
    """FAULTS 27 and 28."""
    learner = warm_learner()
    episodes = pair_of_episodes(learner)
    getattr(episodes[0], part)[3] = value
    learner.observe(episodes)
    assert (learner.intake.counts["unusable"], learner.intake.counts["used"]) == (1, 1)


def test_no_task_can_give_a_reward_that_counts_as_impossible():
    """FAULTS 28."""
    learner = warm_learner()
    episodes = pair_of_episodes(learner)
    episodes[0].reward[3] = 3 * MAX_REWARD  # as many terms as a task may have
    learner.observe(episodes)
    assert learner.intake.counts["used"] == 2


def test_rollouts_with_images_of_another_size_are_dropped_and_counted():
    """FAULTS 27."""
    learner = warm_learner()
    episode = invented_episode(learner.policy, 0)
    episode.obs["rgb"] = episode.obs["rgb"][:, :8, :8]
    learner.observe([episode])
    assert learner.intake.counts["unusable"] == 1 and learner.due() == 0


def test_slightly_older_rollouts_are_weighted_by_the_density_that_drew_them():
    """FAULTS 27: an update on rollouts of the last weights still improves the present policy."""
    learner = warm_learner(max_kl=0.05)
    old = pair_of_episodes(learner)
    learner.observe(pair_of_episodes(learner, 10))
    learner.update()
    assert learner.version == 2 and old[0].weight_version == 1
    learner.observe(old)
    figures = learner.update()
    assert figures["accepted"] == 1 and learner.intake.counts["stale"] == 0


def assert_nothing_changed(learner: TRPO, before: torch.Tensor, reason: str) -> None:
    assert torch.equal(FlatParameters(learner.policy).get(), before)
    assert learner.rejected == {reason: 1} and learner.version == 1


def test_a_gradient_that_is_not_finite_changes_nothing_and_training_goes_on():
    """FAULTS 28."""
    learner = warm_learner()
    before = FlatParameters(learner.policy).get()
    spoil = learner.policy.mean.head.weight.register_hook(lambda gradient: gradient * float("nan"))
    learner.observe(pair_of_episodes(learner))
    learner.update()
    spoil.remove()
    assert_nothing_changed(learner, before, "gradient")
    learner.observe(pair_of_episodes(learner, 10))
    assert learner.update()["accepted"] == 1


def test_a_failed_line_search_changes_nothing_and_is_counted(monkeypatch):
    """FAULTS 28: no step inside the trust region improves the surrogate."""
    learner = warm_learner(max_kl=0.0)
    before = FlatParameters(learner.policy).get()
    learner.observe(pair_of_episodes(learner))
    figures = learner.update()
    assert_nothing_changed(learner, before, "line_search")
    assert figures["rejected_updates"] == 1


def test_curvature_that_is_not_positive_changes_nothing_and_is_counted():
    """FAULTS 28: a policy whose pruned weights leave nothing to move has s'Hs = 0."""
    policy = tiny_policy()
    learner = warm_learner(policy)
    learner._parameters.mask.zero_()
    before = FlatParameters(policy).get()
    learner.observe(pair_of_episodes(learner))
    learner.update()
    assert_nothing_changed(learner, before, "curvature")


def test_a_step_that_blows_up_the_kl_is_cut_back_into_the_trust_region():
    """FAULTS 28: with next to no damping and one Fisher sample the first try is far too long."""
    learner = warm_learner(damping=1e-6, fisher_fraction=0.0, backtrack_tries=60)
    learner.observe(pair_of_episodes(learner))
    figures = learner.update()
    assert figures["backtracks"] > 0 and 0 < figures["kl"] <= learner.settings.max_kl


def test_pruned_weights_stay_exactly_zero_through_updates():
    """FAULTS 28: no update moves what pruning removed."""
    shape = NetworkSettings(conv_channels=(4, 4), image_widths=(8,), joint_widths=(8,), masked=True)
    policy = new_policy(tiny_policy().spec, PolicySettings(mean=shape, initial_std=0.3), seed=0)
    layer = policy.mean.encoder.joint_fc[0]
    with torch.no_grad():
        layer.kept[::2] = False
        layer.weight[::2] = 0.0
    learner = warm_learner(policy)
    before = layer.weight.clone()
    learner.observe(pair_of_episodes(learner))
    assert learner.update()["accepted"] == 1
    assert not layer.weight[::2].any() and not torch.equal(before, layer.weight)


def test_a_diverging_cloning_stops_and_keeps_the_last_checkpoint(dataset, tmp_path, monkeypatch):
    """FAULTS 29."""
    settings = quick("vd", checkpoint_epochs=1)
    whole_step = Cloning.step

    def spoilt(cloning, obs, labels):
        return whole_step(cloning, obs, labels * np.float32(np.inf) if cloning.step_count == 7 else labels)

    monkeypatch.setattr(Cloning, "step", spoilt)
    with pytest.raises(VdPolicyError, match="diverged.*step 7"):
        pretrain(dataset, settings, tmp_path / "run")
    monkeypatch.undo()
    assert load_training(tmp_path / "run")["cloning.step"] == 6
    pretrain(dataset, settings, tmp_path / "run", resume=True)


def test_log_alpha_stays_within_its_bounds_however_hard_it_is_pushed(dataset):
    """FAULTS 29."""
    settings = quick("vd", learning_rate=0.5, kl_warmup=0.0)
    policy = new_policy(tiny_policy().spec, PolicySettings(mean=NetworkSettings(layers="variational")), seed=0)
    cloning = Cloning(policy, settings, samples=1, steps=20, seed=0)
    for _ in range(20):
        cloning.step(*dataset.batch(np.arange(16)))
    for parameter in policy.parameters():
        assert torch.isfinite(parameter).all()
    log_alphas = [m.log_alpha for m in policy.mean.modules() if hasattr(m, "log_alpha")]
    assert all(a.abs().max() <= LOG_ALPHA_LIMIT for a in log_alphas)


def test_cloning_does_not_resume_with_other_settings_or_data_unless_told_to(dataset, tmp_path):
    """FAULTS 30."""
    out = tmp_path / "run"
    pretrain(dataset, quick("l2", epochs=2), out)
    with pytest.raises(BadInput, match="l2_weight.*--allow-changed"):
        pretrain(dataset, quick("l2", epochs=2, l2_weight=1e-3), out, resume=True)
    other = demonstrations(tmp_path / "other", 40, seed=9)
    with pytest.raises(BadInput, match="data.*--allow-changed"):
        pretrain(other, quick("l2", epochs=2), out, resume=True)
    _, figures = pretrain(dataset, quick("l2", epochs=3, l2_weight=1e-3), out, resume=True, allow_changed=True)
    assert figures["steps"] == 3 * (figures["training_samples"] // 16)


def test_rl_does_not_resume_with_other_settings_or_another_start_unless_told_to(tmp_path):
    """FAULTS 30."""
    out = tmp_path / "out"

    def go(name, kl, **options):
        start = load_run(tmp_path / name)
        with collector() as rollouts:
            learner = TRPO(start.policy, TRPOSettings(batch_steps=30, max_kl=kl))
            return train(learner, rollouts, 90, out, start=start, begun_with={"max_kl": kl}, **options)

    tiny_run(tmp_path / "start")
    tiny_run(tmp_path / "other", seed=1)
    go("start", 0.01)
    with pytest.raises(BadInput, match="max_kl"):
        go("start", 0.02, resume=True)
    with pytest.raises(BadInput, match="start"):
        go("other", 0.01, resume=True)
    go("start", 0.02, resume=True, allow_changed=True)


def test_resuming_what_was_never_begun_is_refused(dataset, tmp_path):
    """FAULTS 30."""
    with pytest.raises(BadInput, match="--resume"):
        pretrain(dataset, quick(), tmp_path / "nothing", resume=True)


def test_no_episode_is_in_training_and_in_validation(dataset):
    """FAULTS 31."""
    steps = [len(read_episode(bag)) for bag in bag_paths(dataset.directory)]
    episode = np.repeat(range(len(steps)), steps)
    assert len(episode) == len(dataset)
    for seed in range(5):
        train_rows, held_out = dataset.split(0.3, seed)
        assert not set(episode[train_rows]) & set(episode[held_out])
        assert len(train_rows) + len(held_out) == len(dataset) and len(held_out)
