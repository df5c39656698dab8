"""Variational dropout of whole filters: one factor for all weights that lead into a filter, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from policy_samples import lively, random_obs, small_policy, small_spec

from vd_policy.policy.cost import filter_shares, flops
from vd_policy.policy.filters import FILTER_LOG_ALPHA_START, FilterVariationalConv2d
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.prune import prune, threshold_masks
from vd_policy.policy.variational import KlDivergence, VariationalConv2d


def layer_with(filter_log_alpha: float, log_alpha: float = -8.0) -> FilterVariationalConv2d:
    """Three filters on two channels, all weights at one dropout rate and all filters at another."""
    torch.manual_seed(0)
    layer = FilterVariationalConv2d(2, 3, 3, 2, 1)
    with torch.no_grad():
        layer.log_sigma2.copy_(log_alpha + layer.weight.square().log())
        layer.filter_log_sigma2.copy_(filter_log_alpha + 2.0 * layer.norms().log())
    return layer


def test_sampled_outputs_have_the_moments_of_sampled_factors_and_weights():
    layer, x = layer_with(-0.5, log_alpha=-1.0).train(), torch.rand(1, 2, 6, 5)
    with torch.no_grad():
        sampled = torch.cat([layer(x.expand(4, -1, -1, -1)) for _ in range(10_000)])
        weights = layer.weight + (0.5 * layer.log_sigma2).exp() * torch.randn(4000, *layer.weight.shape)
        factors = 1.0 + math.exp(-0.25) * torch.randn(4000, 3, 1, 1, 1)
        direct = torch.stack([F.conv2d(x, w, layer.bias, 2, 1)[0] for w in weights * factors])
    spread = direct.std(0)
    assert ((sampled.mean(0) - direct.mean(0)).abs() < 5 * spread / math.sqrt(4000)).all()
    assert ((sampled.std(0) / spread - 1).abs() < 0.08).all()


def test_a_factor_is_the_same_everywhere_in_an_image_and_another_in_the_next():
    layer, x = layer_with(0.0).train(), torch.rand(1, 2, 6, 5).expand(5, -1, -1, -1)
    with torch.no_grad():
        layer.log_sigma2.fill_(-40.0)
        bias = layer.bias[:, None, None]
        ratios = (layer(x) - bias) / (F.conv2d(x, layer.weight, None, 2, 1))
    factors = ratios.flatten(2).median(2).values
    torch.testing.assert_close(ratios, factors[:, :, None, None].expand_as(ratios), rtol=1e-3, atol=1e-3)
    assert len(factors.flatten().unique()) == 15


def test_the_divergence_is_that_of_one_weight_as_large_as_the_filter():
    layer = layer_with(-2.0)
    norms = layer.weight.detach().flatten(1).norm(dim=1)
    expected = KlDivergence.apply(norms, layer.filter_log_sigma2.detach())
    torch.testing.assert_close(layer.filter_kl(), expected)
    with torch.no_grad():
        layer.weight.mul_(7.0)
        layer.filter_log_sigma2.add_(2.0 * math.log(7.0))
    torch.testing.assert_close(layer.filter_kl(), expected, rtol=1e-4, atol=0)


def test_a_fresh_filter_has_little_noise():
    layer = FilterVariationalConv2d(4, 16, 3, 2, 1)
    torch.testing.assert_close(layer.filter_log_alpha, torch.full((16,), FILTER_LOG_ALPHA_START))
    assert layer.mask().flatten(1).any(1).all()


def test_a_filter_beyond_the_threshold_goes_whole_and_without_changing_the_others():
    policy = lively(small_policy("variational_filters"))
    with torch.no_grad():
        for layer in policy.mean.encoder.conv:
            layer.filter_log_sigma2.copy_(2.0 * layer.norms().log() - 1.0)
        policy.mean.encoder.conv[2].filter_log_sigma2[2] += 5.0
    mask, others = threshold_masks(policy.mean)["conv.2"], torch.tensor([0, 1, 3, 4])
    assert not mask[2].any()
    assert torch.equal(mask[others], VariationalConv2d.mask(policy.mean.encoder.conv[2])[others])
    small, report = prune(policy)
    assert small.mean.shape.conv_channels[2] <= 4
    assert report.flops_after < report.flops_before
    obs = random_obs(policy.spec, 5)
    with torch.no_grad():
        torch.testing.assert_close(small.eval().mean(obs), policy.eval().mean(obs), rtol=1e-5, atol=1e-5)


def test_dropout_tells_the_filters_that_matter_from_those_that_do_not():
    torch.manual_seed(0)
    layer = FilterVariationalConv2d(1, 6, 3, 1, 0).train()
    read = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0]).view(-1, 1, 1)
    target = FilterVariationalConv2d(1, 6, 3, 1, 0).eval()
    optimiser = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(600):
        x = torch.randn(64, 1, 6, 6)
        with torch.no_grad():
            y = (target(x) * read).sum(1)
        nll = 0.5 * (((layer(x) * read).sum(1) - y) / 0.1).square().mean()
        loss = nll + (layer.kl() + 20.0 * layer.filter_kl()) / 2000
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    used, unused = layer.filter_log_alpha.detach().split([2, 4])
    assert used.max() < -2.0 and unused.min() > used.max() + 3.0


@pytest.mark.parametrize("size", [64, 128])
def test_the_share_of_a_filter_is_the_operations_that_go_with_it(size):
    spec, shape = small_spec(size, size, 6), NetworkSettings()
    shares = filter_shares(shape, spec)
    assert sum(share * count for share, count in zip(shares, shape.conv_channels)) == pytest.approx(80)
    saved = [flops(shape, spec) - flops(replace(shape, conv_channels=fewer), spec)
             for fewer in ((15, 32, 32), (16, 31, 32), (16, 32, 31))]  # fmt: skip
    assert [share / shares[0] for share in shares] == pytest.approx([part / saved[0] for part in saved])
    assert shares[0] > shares[1] > shares[2], "the first filters see the most places"
