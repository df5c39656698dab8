"""TRPO on a pruned policy: dropped weights stay out of it, whichever way the passes are made quick."""

from __future__ import annotations

import torch
from learning_samples import invented_episode, tiny_policy

from vd_policy.learning.parameters import FlatParameters, unmasked
from vd_policy.learning.trpo import TRPO, build
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.prune import prune_by_magnitude, weight_layers

SETTINGS = {"batch_steps": 40, "replay_batches": 2, "max_kl": 0.05, "critic": {"warmup_batches": 0}}


def pruned() -> GaussianPolicy:
    return prune_by_magnitude(tiny_policy(seed=4), 0.5)[0]


def trained() -> TRPO:
    learner = build(SETTINGS, pruned(), seed=2)
    for number in range(3):
        episodes = (invented_episode(learner.policy, 4 * number + i, version=learner.version) for i in range(4))
        learner.observe(list(episodes))
        learner.update()
    return learner


def test_dropped_weights_stay_exactly_zero_and_the_others_move():
    learner, before = trained(), dict(weight_layers(pruned().mean))
    assert learner.version > 2 and not learner.rejected
    for name, layer in weight_layers(learner.policy.mean):
        assert not layer.kept.all(), name
        assert not layer.weight[~layer.kept].any(), name
        assert not torch.equal(layer.weight[layer.kept], before[name].weight[layer.kept]), name


def test_masks_in_every_layer_would_learn_the_same_to_the_bit(monkeypatch):
    quick = FlatParameters(trained().policy).get()
    monkeypatch.setattr("vd_policy.learning.trpo.unmasked", lambda policy: policy)
    assert torch.equal(FlatParameters(trained().policy).get(), quick)


def test_inputs_made_anew_for_each_pass_would_learn_the_same_to_the_bit(monkeypatch):
    quick = FlatParameters(trained().policy).get()
    monkeypatch.setattr("vd_policy.learning.surrogate.HELD_BYTES", 0)
    assert torch.equal(FlatParameters(trained().policy).get(), quick)


def test_the_unmasked_twin_shares_every_parameter_and_no_mask():
    policy = pruned()
    twin = unmasked(policy)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in policy.parameters()]
    assert not any(name.endswith("kept") for name, _ in twin.named_buffers())
    assert all(layer.kept is not None for _, layer in weight_layers(policy.mean))


def test_the_quick_way_along_a_direction_learns_the_same(monkeypatch):
    quick = FlatParameters(trained().policy).get()
    monkeypatch.setattr(TRPO, "_tangent", lambda learner, sample: None)
    moved = FlatParameters(trained().policy).get()
    torch.testing.assert_close(quick, moved, rtol=1e-3, atol=1e-5)
    assert not torch.equal(moved, FlatParameters(pruned()).get())
