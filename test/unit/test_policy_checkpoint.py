"""A saved run gives back the policy and the training state bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from policy_samples import lively, random_obs, small_policy

from vd_policy.base.errors import BadInput
from vd_policy.policy.checkpoint import (
    load_metrics,
    load_run,
    load_training,
    policy_from,
    policy_manifest,
    policy_tensors,
    save_run,
)
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.prune import prune, prune_by_magnitude


def a_policy(kind: str) -> GaussianPolicy:
    if kind == "pruned":
        return prune(lively(small_policy("variational")))[0]
    return prune_by_magnitude(lively(small_policy()), 0.15)[0] if kind == "sparse" else lively(small_policy(kind))


def same_tensors(one: GaussianPolicy, other: GaussianPolicy) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", ["dense", "variational", "pruned", "sparse"])
def test_a_saved_policy_comes_back_bit_by_bit(tmp_path, kind):
    policy = a_policy(kind)
    extra = {"weight_version": 4, "env_steps": {"pretraining": 2000, "rl": 400}, "seeds": {"root": 7}}
    save_run(tmp_path / "run", policy, config={"method": kind, "widths": [1, 2]}, manifest_extra=extra)
    run = load_run(tmp_path / "run")
    assert same_tensors(run.policy, policy) and run.policy.settings == policy.settings and run.spec == policy.spec
    assert run.config == {"method": kind, "widths": [1, 2]} and extra.items() <= run.manifest.items()
    obs = random_obs(policy.spec, 2)
    assert torch.equal(run.policy(obs)[0], policy.eval()(obs)[0])


def test_training_state_and_curves_come_back_bit_by_bit(tmp_path):
    training = {
        "moments": torch.randn(3, 4),
        "random": torch.get_rng_state(),
        "order": np.array([3, 1, 2]),
        "count": torch.tensor(5),
        "step": 12,
        "history": {"kl": [0.5, 1e-300], "done": False},
    }
    save_run(tmp_path / "run", small_policy(), config={}, training=training, metrics_csv="step,loss\n1,0.5\n")
    back = load_training(tmp_path / "run")
    assert back.keys() == training.keys() and back["history"] == training["history"] and back["step"] == 12
    for name in ("moments", "random", "order", "count"):
        assert torch.equal(back[name], torch.as_tensor(training[name])), name
    assert load_metrics(tmp_path / "run") == "step,loss\n1,0.5\n"


def test_saving_again_replaces_the_whole_run(tmp_path):
    save_run(tmp_path / "run", small_policy(), config={"n": 1}, training={"step": 1}, metrics_csv="a\n")
    save_run(tmp_path / "run", small_policy(seed=1), config={"n": 2})
    run = load_run(tmp_path / "run")
    assert run.config == {"n": 2} and same_tensors(run.policy, small_policy(seed=1))
    assert load_metrics(tmp_path / "run") is None
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["config.yaml", "manifest.json", "run", "weights.safetensors"]


def test_a_run_is_not_saved_in_place_of_the_present_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="run directory is '.'"):
        save_run(".", small_policy(), config={})
    assert not list(tmp_path.iterdir())


def test_the_manifest_says_what_the_policy_needs_and_where_it_came_from(tmp_path):
    parent = load_run(save_run(tmp_path / "cloned", small_policy(), config={}))
    save_run(tmp_path / "run", small_policy(), config={}, manifest_extra={"parents": {"init": parent.as_parent()}})
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["parents"]["init"] == {"name": "cloned", "sha256": parent.manifest["sha256"]}
    assert manifest["observation"]["joints"] == ["joint_1", "joint_2", "joint_3"]
    assert manifest["network"]["mean"]["conv_channels"] == [3, 4, 5] and manifest["kind"] == "gaussian"
    assert set(manifest["files"]) == {"config.yaml", "weights.safetensors"}


@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_weights_sent_over_a_topic_make_the_same_policy(kind):
    policy = a_policy(kind)
    tensors = policy_tensors(policy)
    manifest = json.loads(json.dumps(policy_manifest(policy, {"weight_version": 2})))
    assert same_tensors(policy_from(manifest, tensors), policy)
    with torch.no_grad():
        policy.mean.head.bias += 1.0
    assert not same_tensors(policy_from(manifest, tensors), policy), "the tensors were copies"


def test_an_entry_that_the_policy_defines_itself_or_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(BadInput, match="observation"):
        policy_manifest(small_policy(), {"observation": {}})
    with pytest.raises(BadInput, match="JSON"):
        policy_manifest(small_policy(), {"seeds": {1, 2}})
    with pytest.raises(BadInput, match="training state"):
        save_run(tmp_path / "run", small_policy(), config={}, training={"loss": float("nan")})
    assert not (tmp_path / "run").exists()
