"""Pruning removes units and weights without changing what the policy computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from policy_samples import SMALL, lively, random_obs, small_policy, small_spec

from vd_policy.base.errors import BadInput
from vd_policy.policy.cost import flops, parameter_count
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.prune import (
    Masks,
    magnitude_masks,
    masked,
    prune,
    prune_by_magnitude,
    threshold_masks,
    weight_layers,
)


def outputs(policy: GaussianPolicy, seed: int = 3) -> torch.Tensor:
    with torch.no_grad():
        return policy.eval().mean(random_obs(policy.spec, 5, seed))


def random_masks(policy: GaussianPolicy, rng: np.random.Generator) -> Masks:
    """Masks from nearly full to empty, with whole rows and columns missing now and then."""
    masks = {}
    for name, layer in weight_layers(policy.mean):
        mask = rng.random(layer.weight.shape) < rng.choice(
            [0.0, 0.02, 0.1, 0.5, 0.95, 1.0], p=[0.05, 0.1, 0.2, 0.3, 0.3, 0.05]
        )
        mask[rng.random(mask.shape[0]) < rng.choice([0.0, 0.4])] = False
        mask[:, rng.random(mask.shape[1]) < rng.choice([0.0, 0.4])] = False
        masks[name] = torch.from_numpy(mask)
    return masks


@pytest.mark.parametrize("size", [(16, 16), (13, 22)])
def test_the_pruned_network_computes_what_the_masked_one_does_for_any_masks(size):
    smaller = refused = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        policy = lively(small_policy(seed=seed, spec=small_spec(*size)), seed)
        full = masked(policy, random_masks(policy, rng))
        try:
            small, report = prune(full)
        except BadInput as error:
            refused += 1
            assert "no action depends on the observation" in str(error)
            assert outputs(full).std(0).max() < 1e-6
            continue
        torch.testing.assert_close(outputs(small), outputs(full), rtol=1e-5, atol=1e-5)
        smaller += report.parameters_after < report.parameters_before
    assert smaller > 40 and refused > 5


@pytest.mark.parametrize("side", [128, 256])
def test_the_pruned_network_computes_what_the_masked_one_does_at_both_image_sizes_of_the_paper(side):
    policy = lively(new_policy(small_spec(side, side, 6), PolicySettings(), seed=1))
    torch.nn.init.zeros_(policy.sigma.head.weight)  # as after cloning: nothing reads the features but the means
    rng = np.random.default_rng(5)
    masks = {
        name: torch.from_numpy(rng.random(layer.weight.shape) < 0.02) for name, layer in weight_layers(policy.mean)
    }
    full = masked(policy, masks)
    small, report = prune(full)
    torch.testing.assert_close(outputs(small), outputs(full), rtol=1e-5, atol=1e-5)
    assert report.parameters_after < report.parameters_before / 3


def test_the_pruned_network_computes_what_the_thresholded_variational_one_does():
    policy = lively(small_policy("variational"))
    small, report = prune(policy, 3.0)
    torch.testing.assert_close(outputs(small), outputs(policy), rtol=1e-5, atol=1e-5)
    kept = sum(int(mask.sum()) for mask in threshold_masks(policy.mean).values())
    total = sum(layer.weights for layer in report.layers)
    assert 0 < report.weight_sparsity < 1 and report.weight_sparsity == pytest.approx(1 - kept / total)
    assert small.mean.shape.layers == "dense" and not any("log_sigma2" in name for name in small.state_dict())


@pytest.mark.parametrize("sigma", [SMALL, None], ids=["own network", "on the features of the means"])
def test_pruning_leaves_the_standard_deviations_as_they_are(sigma):
    for seed in range(20):
        policy = lively(small_policy("variational", seed, sigma=sigma), seed)
        obs = random_obs(policy.spec, 4)
        full = masked(policy, threshold_masks(policy.mean)).eval()
        small = prune(policy)[0].eval()
        torch.testing.assert_close(small(obs), full(obs), rtol=1e-5, atol=1e-5)
        assert small.sigma.head.weight.requires_grad


def test_a_feature_that_only_the_standard_deviation_reads_stays():
    policy = small_policy(sigma=None)
    with torch.no_grad():
        policy.sigma.head.weight[1, 2] = 0.5
    masks = threshold_masks(policy.mean)
    masks["head"][:, 2:] = False
    small = prune(masked(policy, masks))[0]
    assert small.mean.shape.image_widths[-1] == 3 and small.sigma.head.weight.count_nonzero() == 1


def test_features_that_nothing_reads_go_from_the_standard_deviation_too():
    policy = small_policy(sigma=None)
    masks = threshold_masks(policy.mean)
    masks["head"][:, 2:5] = False
    small = prune(masked(policy, masks))[0]
    assert small.sigma.head.in_features == small.mean.shape.feature_width == SMALL.feature_width - 3


def test_pruning_a_pruned_policy_changes_nothing():
    small, report = prune(lively(small_policy("variational")))
    again, second = prune(small)
    assert again.mean.shape == small.mean.shape and second.parameters_before == report.parameters_after
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_chain_of_useless_units_is_removed_to_its_end_and_its_constant_survives():
    policy = lively(small_policy())
    masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in weight_layers(policy.mean)}
    masks["joint_fc.0"][:] = False  # every joint unit is now constant, and so are those behind it
    small, report = prune(masked(policy, masks))
    assert small.mean.shape.joint_widths == (1, 1, 1) and small.mean.shape.image_widths == SMALL.image_widths
    assert [note.split(":")[0] for note in report.notes] == ["joint_fc.0", "joint_fc.1", "joint_fc.2"]
    torch.testing.assert_close(outputs(small), outputs(masked(policy, masks)), rtol=1e-5, atol=1e-5)


def test_a_filter_without_inputs_but_with_a_positive_bias_stays_where_the_border_needs_it():
    policy = lively(small_policy())
    with torch.no_grad():
        policy.mean.encoder.conv[0].bias[:] = torch.tensor([0.7, -0.7, 0.7])
    masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in weight_layers(policy.mean)}
    masks["conv.0"][:2] = False
    small, _ = prune(masked(policy, masks))
    assert small.mean.shape.conv_channels == (2, 4, 5)
    torch.testing.assert_close(outputs(small), outputs(masked(policy, masks)), rtol=1e-5, atol=1e-5)


def test_one_filter_stands_for_all_that_are_constant():
    policy = lively(small_policy())
    with torch.no_grad():
        policy.mean.encoder.conv[1].bias[:] = torch.tensor([0.2, 0.9, -0.4, 0.5])
    masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in weight_layers(policy.mean)}
    masks["conv.1"][[0, 1, 3]] = False
    masks["conv.2"][0, 1] = False
    small, _ = prune(masked(policy, masks))
    assert small.mean.shape.conv_channels == (3, 2, 5)
    torch.testing.assert_close(outputs(small), outputs(masked(policy, masks)), rtol=1e-5, atol=1e-5)


def test_a_map_pixel_that_nothing_reads_is_not_read():
    policy = lively(small_policy())
    masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in weight_layers(policy.mean)}
    masks["image_fc.0"][:, 3:] = False
    small, _ = prune(masked(policy, masks))
    assert small.mean.shape.image_features == 3 and small.mean.shape.conv_channels[-1] == 1
    torch.testing.assert_close(outputs(small), outputs(masked(policy, masks)), rtol=1e-5, atol=1e-5)


def test_training_cannot_move_a_pruned_weight():
    small, _ = prune(lively(small_policy("variational")))
    before = {name: layer.weight.detach().clone() for name, layer in weight_layers(small.mean)}
    optimiser = torch.optim.Adam(small.parameters(), 0.05, weight_decay=0.1)
    for seed in range(3):
        mean, std = small(random_obs(small.spec, 6, seed))
        optimiser.zero_grad()
        ((mean - 0.3).square().mean() + std.mean()).backward()
        optimiser.step()
    for name, layer in weight_layers(small.mean):
        assert torch.equal(layer.weight[~layer.kept], before[name][~layer.kept]), name
        assert not torch.equal(layer.weight[layer.kept], before[name][layer.kept]), name


def test_a_pruned_weight_has_no_part_in_fisher_products():
    small, _ = prune(lively(small_policy("variational")))
    obs, weights = small.spec.normalise(random_obs(small.spec, 6)), dict(small.mean.named_parameters())
    direction = {name: torch.ones_like(weight) for name, weight in weights.items()}

    def means(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(small.mean, parameters, (obs,))

    _, change = torch.func.jvp(means, (weights,), (direction,))
    product = torch.func.vjp(means, weights)[1](change)[0]
    for name, layer in weight_layers(small.mean):
        key = f"{name}.weight" if name == "head" else f"encoder.{name}.weight"
        assert not product[key][~layer.kept].any() and product[key][layer.kept].any(), name
        direction[key] = direction[key] * layer.kept
    torch.testing.assert_close(torch.func.jvp(means, (weights,), (direction,))[1], change)


def test_magnitude_pruning_keeps_the_largest_weights_at_the_density_of_a_report():
    _, report = prune(lively(small_policy("variational")))
    policy = lively(small_policy(), seed=9)
    baseline, other = prune_by_magnitude(policy, report.densities())
    assert [layer.kept for layer in other.layers] == [layer.kept for layer in report.layers]
    for name, layer in weight_layers(policy.mean):
        mask, size = magnitude_masks(policy.mean, report.densities())[name], layer.weight.abs()
        assert mask.all() or not mask.any() or size[mask].min() >= size[~mask].max()
    torch.testing.assert_close(
        outputs(baseline),
        outputs(masked(policy, magnitude_masks(policy.mean, report.densities()))),
        rtol=1e-5,
        atol=1e-5,
    )


def test_one_density_for_the_whole_network_ranks_all_weights_together():
    _, report = prune_by_magnitude(lively(small_policy()), 0.25)
    assert report.weight_sparsity == pytest.approx(0.75, abs=1e-3)
    assert len({round(layer.density, 2) for layer in report.layers}) > 1


@pytest.mark.parametrize("layer_by_layer", [False, True])
def test_what_was_dropped_does_not_come_back_at_a_higher_density(layer_by_layer):
    policy = lively(small_policy())
    present = magnitude_masks(policy.mean, 0.5)
    full = masked(policy, present)
    with torch.no_grad():
        full.mean.head.weight[present["head"]] = 0.0  # as small as what is gone
    for density in (0.9, 1.0):
        masks = magnitude_masks(full.mean, dict.fromkeys(present, density) if layer_by_layer else density)
        assert all(torch.equal(masks[name], present[name]) for name in present)
    assert prune_by_magnitude(full, 0.9)[1].weight_sparsity == pytest.approx(0.5, abs=1e-3)


def test_parameters_and_flops_of_the_report_are_those_of_the_network():
    spec, shape = small_spec(128, 128, 6), NetworkSettings()
    policy = new_policy(spec, PolicySettings(), seed=0)
    assert parameter_count(shape, spec) == sum(p.numel() for p in policy.mean.parameters())
    convolutions = 64 * 64 * 16 * 36 + 32 * 32 * 32 * 144 + 16 * 16 * 32 * 288
    connections = 8192 * 128 + 128 * 64 + 64 * 64 + 6 * 64 + 64 * 64 * 2 + 128 * 6
    assert flops(shape, spec) == 2 * (convolutions + connections)


def test_a_density_outside_its_range_or_for_too_few_layers_is_refused():
    with pytest.raises(BadInput, match="0 to 1"):
        prune_by_magnitude(small_policy(), 1.5)
    with pytest.raises(BadInput, match=r"conv\.1"):
        prune_by_magnitude(small_policy(), {"conv.0": 0.5})
