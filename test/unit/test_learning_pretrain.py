"""Behavioural cloning: what it writes, that it learns, and that it resumes to the bit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from learning_samples import collector, demonstrations, quick, tiny_policy

from vd_policy.base.errors import BadInput
from vd_policy.cli.commands.pretrain import METHODS as OFFERED
from vd_policy.learning.cloning import METHODS, Cloning, CloningSettings
from vd_policy.learning.metrics import Metrics
from vd_policy.learning.pretrain import observation_spec, pretrain
from vd_policy.learning.resume import check_free
from vd_policy.learning.rollout import rollout
from vd_policy.learning.states import under
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import load_metrics, load_run, load_training
from vd_policy.policy.cost import filter_shares
from vd_policy.policy.export import random_observation
from vd_policy.policy.gaussian import PolicySettings, new_policy
from vd_policy.policy.layers import regularised_layers, total_kl
from vd_policy.policy.network import NetworkSettings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return demonstrations(tmp_path_factory.mktemp("demos") / "bags")


class Interrupt(Exception):
    """Stands for a crash in the middle of training."""


def interrupted_at(step):
    def progress(done, _total, _figures):
        if done == step:
            raise Interrupt

    return progress


def test_the_regularisers_that_the_command_offers_are_those_that_there_are():
    assert OFFERED == METHODS


@pytest.mark.parametrize("method", ["vd", "l2", "none"])
def test_cloning_lowers_the_error_and_writes_a_run_that_acts(dataset, tmp_path, method):
    out, figures = pretrain(dataset, quick(method, epochs=30, learning_rate=5e-3), tmp_path / method)
    run = load_run(out)
    rows = Metrics(load_metrics(out)).rows
    assert rows[-1]["train/clone/nll"] < 0.8 * rows[0]["train/clone/nll"]
    assert bool(regularised_layers(run.policy)) == (method == "vd")
    assert run.manifest["parents"]["demos"]["sha256"] == dataset.content_hash
    assert run.manifest["env_steps"] == {"pretraining": figures["training_samples"], "rl": 0}
    with collector() as rollouts:
        assert rollouts.collect(GaussianActor(run.policy), 5)


@pytest.mark.parametrize(("crash_at", "filter_kl"), [(7, 0.0), (12, 0.0), (7, 50.0)])
def test_a_training_cut_in_two_equals_the_whole_to_the_bit(dataset, tmp_path, crash_at, filter_kl):
    settings = quick("vd", select_epochs=3, select_episodes=2, filter_kl=filter_kl)
    pretrain(dataset, settings, tmp_path / "whole")
    with pytest.raises(Interrupt):
        pretrain(dataset, settings, tmp_path / "cut", progress=interrupted_at(crash_at))
    pretrain(dataset, settings, tmp_path / "cut", resume=True)
    whole, cut = (load_training(tmp_path / name) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]) if isinstance(value, torch.Tensor) else value == cut[name], name
    assert load_metrics(tmp_path / "whole") == load_metrics(tmp_path / "cut")


def test_selection_measures_the_means(dataset, tmp_path, monkeypatch):
    asked = []

    def noted(env, actor, *, seed, explore=True):
        asked.append(explore)
        return rollout(env, actor, seed=seed, explore=explore)

    monkeypatch.setattr("vd_policy.learning.pretrain.rollout", noted)
    pretrain(dataset, quick("none", select_epochs=3, select_episodes=2), tmp_path / "run")
    assert asked and not any(asked)


def test_the_figures_are_those_of_the_policy_that_was_kept(dataset, tmp_path, monkeypatch):
    rates = iter([True, False])
    monkeypatch.setattr("vd_policy.learning.pretrain.rollout", lambda *_, **__: SimpleNamespace(success=next(rates)))
    out, figures = pretrain(dataset, quick("none", epochs=2, select_epochs=1, select_episodes=1), tmp_path / "run")
    first, _ = pretrain(dataset, quick("none", epochs=1), tmp_path / "first")
    kept, alone = (load_run(path).policy.mean.state_dict() for path in (out, first))
    assert all(torch.equal(kept[name], alone[name]) for name in kept), "the policy of the first epoch"
    (row,) = Metrics(load_metrics(first)).rows
    assert figures["validation_mse"] == pytest.approx(row["eval/validation_mse"])


def test_a_task_that_nobody_can_measure_in_is_refused_before_any_work_is_done(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("vd_policy.learning.pretrain._Pretraining.run", lambda *_: pytest.fail("it worked"))
    monkeypatch.setattr(dataset, "shape", replace(dataset.shape, task="pick"))
    with pytest.raises(BadInput, match="config/tasks/pick.yaml"):
        pretrain(dataset, quick("none", select_epochs=1), tmp_path / "run")


def test_who_stops_selecting_gets_the_last_policy(dataset, tmp_path):
    out, _ = pretrain(dataset, quick("none", epochs=2, select_epochs=1, select_episodes=1), tmp_path / "run")
    on = {"resume": True, "allow_changed": True}
    _, figures = pretrain(dataset, quick("none", epochs=4, select_epochs=0), out, **on)
    kept, last = load_run(out).policy.state_dict(), under("cloning.policy", load_training(out))
    assert all(torch.equal(kept[name], last[name]) for name in kept) and "best_success_rate" not in figures


def test_selection_keeps_the_policy_that_measured_best(dataset, tmp_path):
    out, figures = pretrain(dataset, quick("none", select_epochs=2, select_episodes=2), tmp_path / "run")
    rates = [row["eval/success_rate"] for row in Metrics(load_metrics(out)).rows if "eval/success_rate" in row]
    assert len(rates) == 3 and figures["best_success_rate"] == max(rates)
    assert "validation_mse" in figures


def test_only_the_means_are_trained(dataset, tmp_path):
    with pytest.raises(Interrupt):
        pretrain(dataset, quick("vd", checkpoint_epochs=1, epochs=2), tmp_path / "run", progress=interrupted_at(4))
    first = load_run(tmp_path / "run").policy.sigma.state_dict()
    pretrain(dataset, quick("vd", checkpoint_epochs=1, epochs=2), tmp_path / "run", resume=True)
    last = load_run(tmp_path / "run").policy.sigma.state_dict()
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_the_weight_of_the_kl_rises_over_the_warm_up_and_then_stays():
    cloning = Cloning(tiny_policy(), CloningSettings(kl_warmup=0.4), samples=50, steps=100, seed=0)
    weights = []
    for step in (0, 20, 40, 90):
        cloning.step_count = step
        weights.append(cloning.kl_weight)
    assert weights == [0.0, 0.5, 1.0, 1.0]


def test_dropout_of_filters_weighs_each_by_what_it_costs():
    policy = new_policy(tiny_policy().spec, PolicySettings(mean=NetworkSettings(layers="variational_filters")), seed=0)
    cloning = Cloning(policy, CloningSettings(filter_kl=50.0), samples=40, steps=10, seed=0)
    cloning.step_count = 10
    with torch.no_grad():
        policy.mean.train()
        filters = [layer.filter_kl() for layer in policy.mean.encoder.conv]
        shares = filter_shares(policy.mean.shape, policy.spec)
        expected = (total_kl(policy.mean) + 50.0 * sum(s * kl for s, kl in zip(shares, filters))) / 40
    obs, labels = random_observation(policy.spec, 8, seed=0), torch.zeros(8, policy.spec.action_size)
    assert cloning.step(obs, labels)["penalty"] == pytest.approx(float(expected), rel=1e-5)


def test_filters_begin_to_drop_out_once_the_weights_do():
    cloning = Cloning(tiny_policy(), CloningSettings(kl_warmup=0.4, filter_kl=50.0), samples=50, steps=100, seed=0)
    weights = []
    for step in (0, 40, 60, 80, 99):
        cloning.step_count = step
        weights.append(cloning.filter_kl_weight)
    assert weights == [0.0, 0.0, 25.0, 50.0, 50.0]


def test_filters_have_their_whole_weight_at_the_end_however_long_the_warm_up():
    for warmup in (0.0, 0.4, 0.6, 0.9):
        settings = CloningSettings(kl_warmup=warmup, filter_kl=50.0)
        cloning = Cloning(tiny_policy(), settings, samples=50, steps=100, seed=0)
        cloning.step_count = 100
        assert cloning.filter_kl_weight == pytest.approx(50.0)


def test_dropout_of_filters_needs_that_of_weights_and_some_steps_after_it():
    with pytest.raises(BadInput, match="filter_kl"):
        CloningSettings(method="l2", filter_kl=50.0)
    with pytest.raises(BadInput, match="kl_warmup"):
        CloningSettings(kl_warmup=1.0, filter_kl=50.0)


def test_an_existing_run_is_not_overwritten(dataset, tmp_path):
    pretrain(dataset, quick("none", epochs=1), tmp_path / "run")
    with pytest.raises(BadInput, match="--resume"):
        pretrain(dataset, quick("none", epochs=1), tmp_path / "run")


def test_what_can_hold_no_run_is_refused_before_any_work_is_done(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("vd_policy.learning.pretrain._Pretraining.run", lambda *_: pytest.fail("it worked"))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="--out is .*; allowed: a new name or an empty directory"):
        pretrain(dataset, quick(), tmp_path)
    with pytest.raises(BadInput, match="--resume"):
        pretrain(dataset, quick(), tmp_path, resume=True)
    monkeypatch.chdir(tmp_path)
    for here in (".", ".."):
        with pytest.raises(BadInput, match="--out is .*; allowed: a directory by its name"):
            pretrain(dataset, quick(), here, resume=True)
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty", resume=False)


def test_scales_come_from_the_training_samples_and_not_from_those_held_out(dataset):
    train, _ = dataset.split(0.3, 0)
    spec = observation_spec(dataset, train)
    np.testing.assert_allclose(spec.q_offset_rad, dataset.q[train].astype(float).mean(0))
    assert spec.depth_max_m * 1000 >= dataset.depth[train].max()


def test_curves_survive_csv_to_the_bit():
    metrics = Metrics()
    metrics.log(200, {"rollout/return": 1 / 3, "diag/count": 4.0})
    metrics.log(400, {"rollout/return": -1e-12, "train/trpo/kl": 0.01})
    again = Metrics(metrics.csv())
    assert again.rows == metrics.rows and again.csv() == metrics.csv()


def test_the_step_size_falls_to_nothing_over_the_last_part_where_that_is_asked_for():
    falling = Cloning(tiny_policy(), CloningSettings(decay=0.5, learning_rate=0.01), samples=50, steps=100, seed=0)
    constant = Cloning(tiny_policy(), CloningSettings(learning_rate=0.01), samples=50, steps=100, seed=0)
    sizes = []
    for step in (0, 50, 75, 99):
        falling.step_count = constant.step_count = step
        sizes.append(falling.step_size)
        assert constant.step_size == 0.01
    assert sizes == pytest.approx([0.01, 0.01, 0.005, 0.0002])


def test_a_falling_step_size_moves_the_weights_less():
    obs, labels = random_observation(tiny_policy().spec, 8, seed=0), torch.zeros(8, tiny_policy().spec.action_size)
    moves = []
    for decay in (None, 0.5):
        cloning = Cloning(tiny_policy(), CloningSettings(decay=decay, method="none"), samples=8, steps=100, seed=0)
        cloning.step_count = 99
        before = cloning.policy.mean.head.weight.detach().clone()
        cloning.step(obs, labels)
        moves.append(float((cloning.policy.mean.head.weight - before).abs().max()))
    assert 0.0 < moves[1] < 0.05 * moves[0]
