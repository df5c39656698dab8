"""Variational dropout does what eqs. 1-4 say, and no more than that."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from policy_samples import lively, random_obs, small_policy

from vd_policy.base.errors import BadInput
from vd_policy.policy.layers import total_kl
from vd_policy.policy.prune import prune
from vd_policy.policy.uncertainty import exploring_by_uncertainty, predictive_moments
from vd_policy.policy.variational import DRAWS, VariationalConv2d, VariationalLinear


def layer_with(kind: str, theta: float = 0.0, log_alpha: float = 0.0):
    """A layer whose weights are all equal, or random when theta is 0, at one dropout rate."""
    torch.manual_seed(0)
    layer = VariationalLinear(5, 4) if kind == "linear" else VariationalConv2d(2, 3, 3, 2, 1)
    with torch.no_grad():
        if theta:
            layer.weight.fill_(theta)
        layer.log_sigma2.copy_(log_alpha + layer.weight.square().log())
    return layer


def reference_kl(log_alpha: float) -> float:
    """KL(N(theta, alpha theta^2) || log-uniform) = -0.5 log alpha + E log|1 + sqrt(alpha) e| + c by quadrature.

    Kingma et al. 2015, appendix C. The constant c makes it vanish for alpha to infinity, as eq. 14 does.
    """

    def expectation(alpha: float) -> float:
        # t = 1 + sqrt(alpha) e puts the singularity at t = 0, where a geometric grid on both sides integrates it well
        grid = np.sort(np.concatenate([s * np.geomspace(1e-12, 1 + 12 * math.sqrt(alpha), 40001) for s in (-1, 1)]))
        density = np.exp(-0.5 * (grid - 1) ** 2 / alpha) / math.sqrt(2 * math.pi * alpha)
        return float(np.trapezoid(np.log(np.abs(grid)) * density, grid))

    limit = expectation(math.exp(30.0)) - 15.0
    return -0.5 * log_alpha + expectation(math.exp(log_alpha)) - limit


@pytest.mark.parametrize("log_alpha", [-7.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.0])
def test_the_kl_agrees_with_its_integral(log_alpha):
    layer = layer_with("linear", theta=0.3, log_alpha=log_alpha)
    per_weight = layer.kl().item() / layer.weight.numel()
    assert per_weight == pytest.approx(reference_kl(log_alpha), abs=0.02)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_kl_gradient_agrees_with_automatic_differentiation(kind):
    layer = layer_with(kind)
    with torch.no_grad():
        layer.log_sigma2.add_(torch.linspace(-12.0, 12.0, layer.weight.numel()).view_as(layer.weight))
    layer.kl().backward()
    a = layer.log_alpha
    expected = (0.63576 - 0.63576 * torch.sigmoid(1.87320 + 1.48695 * a) + 0.5 * torch.log1p(torch.exp(-a))).sum()
    gradients = torch.autograd.grad(expected, (layer.weight, layer.log_sigma2))
    torch.testing.assert_close(layer.kl(), expected)
    torch.testing.assert_close(layer.weight.grad, gradients[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.log_sigma2.grad, gradients[1], rtol=1e-4, atol=1e-5)


def test_the_kl_of_a_large_layer_is_the_sum_over_its_blocks():
    torch.manual_seed(1)
    large = VariationalLinear(700, 90)
    parts = []
    for rows in large.weight.detach().split(30):
        part = VariationalLinear(700, 30)
        with torch.no_grad():
            part.weight.copy_(rows)
        parts.append(part.kl())
    torch.testing.assert_close(large.kl(), torch.stack(parts).sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_sampled_activations_have_the_moments_of_sampled_weights(kind):
    layer = layer_with(kind, log_alpha=0.5).train()
    x = torch.rand(1, 5) if kind == "linear" else torch.rand(1, 2, 6, 5)
    with torch.no_grad():
        sampled = torch.cat([layer(x.expand(DRAWS, *x.shape[1:])) for _ in range(40_000 // DRAWS)])
        std = (0.5 * layer.log_sigma2).exp()
        thetas = layer.weight + std * torch.randn(4000, *std.shape)
        plain = torch.nn.functional.linear if kind == "linear" else (lambda *a: torch.nn.functional.conv2d(*a, 2, 1))
        direct = torch.stack([plain(x, theta, layer.bias)[0] for theta in thetas])
    spread = direct.std(0)
    assert ((sampled.mean(0) - direct.mean(0)).abs() < 5 * spread / math.sqrt(4000)).all()
    assert ((sampled.std(0) / spread - 1).abs() < 0.08).all()


@pytest.mark.parametrize("batch", [1, 3, DRAWS, 4 * DRAWS + 1])
def test_a_part_of_the_batch_shares_the_draw_of_a_convolution_and_the_parts_differ(batch):
    layer = layer_with("conv", log_alpha=1.0).train()
    sampled = layer(torch.rand(1, 2, 6, 5).expand(batch, -1, -1, -1))
    assert len(sampled) == batch
    parts = sampled.detach().chunk(DRAWS)
    assert all(torch.allclose(row, part[0]) for part in parts for row in part)
    assert all(not torch.allclose(a[0], b[0]) for a, b in itertools.combinations(parts, 2))


def test_a_convolutions_draw_is_the_same_everywhere_in_the_image():
    layer = VariationalConv2d(1, 1, 3, 1, 0).train()
    with torch.no_grad():
        layer.log_sigma2.fill_(0.0)
    flat = layer(torch.ones(1, 1, 9, 9))
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat))


def test_sampled_activations_of_different_inputs_are_independent():
    layer = layer_with("linear", log_alpha=1.0).train()
    with torch.no_grad():
        deviations = layer(torch.ones(20_000, 5)) - torch.nn.functional.linear(
            torch.ones(1, 5), layer.weight, layer.bias
        )
    assert abs(torch.corrcoef(torch.stack((deviations[::2, 0], deviations[1::2, 0])))[0, 1]) < 0.04
    assert torch.corrcoef(deviations.t()).fill_diagonal_(0).abs().max() < 0.04


@pytest.mark.parametrize("layers", ["variational", "variational_filters"])
def test_a_variational_network_starts_as_the_dense_one_of_the_same_seed(layers):
    dense, variational = small_policy("dense", seed=4), small_policy(layers, seed=4)
    for name, tensor in dense.state_dict().items():
        assert torch.equal(tensor, variational.state_dict()[name]), name
    obs = random_obs(dense.spec, 3)
    torch.testing.assert_close(variational.eval().mean(obs), dense.mean(obs), rtol=1e-3, atol=1e-3)


def test_evaluation_is_deterministic_and_training_is_not():
    policy = lively(small_policy("variational"))
    obs = random_obs(policy.spec, 3)
    assert torch.equal(policy.eval().mean(obs), policy.mean(obs))
    assert not torch.equal(policy.train().mean(obs), policy.mean(obs))


def test_every_parameter_of_the_mean_network_gets_a_finite_gradient_and_the_standard_deviations_none():
    policy = lively(small_policy("variational")).train()
    mean = policy.mean(random_obs(policy.spec, 8))
    (mean.square().sum() + 1e-3 * total_kl(policy)).backward()
    for name, parameter in policy.named_parameters():
        if name.startswith("sigma."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_gradients_stay_finite_where_an_input_has_no_variance():
    layer = layer_with("linear").train()
    x = torch.zeros(4, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all() and layer.log_sigma2.grad.isfinite().all()


def test_dropout_tells_the_inputs_that_matter_from_those_that_do_not():
    torch.manual_seed(0)
    layer = VariationalLinear(20, 1).train()
    optimiser = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(1000):
        x = torch.randn(100, 20)
        y = 2.0 * x[:, :1] - x[:, 1:2] + 0.1 * torch.randn(100, 1)
        loss = 0.5 * ((layer(x) - y) / 0.1).square().mean() + layer.kl() / 2000
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    used, unused = layer.log_alpha.detach()[0].split([2, 18])
    assert used.max() < unused.min() - 4.0 and unused.median() > -1.5
    torch.testing.assert_close(layer.weight.detach()[0, :2], torch.tensor([2.0, -1.0]), rtol=0, atol=0.05)


def test_a_dense_network_has_no_divergence_and_no_uncertainty():
    policy = small_policy("dense")
    assert total_kl(policy) == 0
    assert not predictive_moments(policy.mean, random_obs(policy.spec, 3), 4)[1].any()


def test_the_predicted_uncertainty_grows_with_the_dropout_rates():
    policy = small_policy("variational")
    obs = random_obs(policy.spec, 4)
    spreads = []
    for log_sigma2 in (-10.0, -6.0):
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if name.endswith("log_sigma2"):
                    parameter.fill_(log_sigma2)
        torch.manual_seed(0)
        mean, std = predictive_moments(policy.mean.eval(), obs, 64)
        spreads.append(std.mean().item())
        assert mean.shape == std.shape == (4, 3) and not policy.mean.training
    assert 4.0 < spreads[1] / spreads[0] < 12.0


def test_exploration_can_start_as_the_uncertainty_that_dropout_knows_of():
    source = lively(small_policy("variational"))
    with torch.no_grad():
        for name, parameter in source.named_parameters():
            if name.endswith("log_sigma2"):
                parameter.fill_(-4.0)
    batches = [random_obs(source.spec, 50, seed) for seed in range(4)]
    pruned = prune(source)[0]
    policy = exploring_by_uncertainty(pruned, source.mean, batches, seed=3, samples=64)
    torch.manual_seed(3)
    wanted = torch.cat([predictive_moments(source.mean, obs, 64)[1] for obs in batches]).clamp(1e-3, 2.0).log()
    with torch.no_grad():
        means, stds = (torch.cat(part) for part in zip(*(policy(obs) for obs in batches)))
        assert torch.equal(means, torch.cat([pruned(obs)[0] for obs in batches]))
    torch.testing.assert_close(stds.log().mean(0), wanted.mean(0), rtol=0, atol=1e-3)
    for j in range(source.spec.action_size):
        assert torch.corrcoef(torch.stack((stds[:, j].log(), wanted[:, j])))[0, 1] > 0.5


def test_a_network_without_dropout_rates_has_no_uncertainty_to_explore_by():
    policy = small_policy()
    with pytest.raises(BadInput, match="variational dropout"):
        exploring_by_uncertainty(policy, policy.mean, [random_obs(policy.spec, 4)], seed=0)
    source = small_policy("variational")
    with pytest.raises(BadInput, match="at least two"):
        exploring_by_uncertainty(prune(source)[0], source.mean, [], seed=0)
