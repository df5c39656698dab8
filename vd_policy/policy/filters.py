"""Variational dropout of whole filters, on top of that of single weights: dropout that makes a network faster.

A filter that keeps one weight in twenty takes as long as a whole one. Here the weights that lead into filter k are
z_k w, where w are as in `variational`, and z_k ~ N(1, alpha_k) is one factor for all of them with a log-uniform prior
of its own, as Louizos, Ullrich and Welling give to groups of weights ("Bayesian Compression for Deep Learning", NIPS
2017). The parameterisation is additive as for weights, alpha_k = sigma_k^2 / |theta_k|^2, and so is the rule by which a
filter goes as a whole: log alpha_k beyond the threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD
from vd_policy.policy.variational import TINY, KlDivergence, VariationalConv2d, log_alpha

FILTER_LOG_ALPHA_START = -6.0
"""Noise of 5 % on a filter's output to begin with."""


class FilterVariationalConv2d(VariationalConv2d):
    """A convolution under dropout of its weights and of its filters.

    A filter's factor is drawn for each input and is the same everywhere in it.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)
        start = 2.0 * self.norms().log().detach() + FILTER_LOG_ALPHA_START
        self.filter_log_sigma2 = nn.Parameter(start)

    def norms(self) -> Tensor:
        """|theta_k| of every filter, (out,)."""
        return (self.weight.flatten(1).square().sum(1) + TINY).sqrt()

    @property
    def filter_log_alpha(self) -> Tensor:
        """Log dropout rate of every filter, (out,), in [-8, 8]."""
        return log_alpha(self.norms(), self.filter_log_sigma2)

    def filter_kl(self) -> Tensor:
        """KL divergence of the factors' posterior from their log-uniform prior, a scalar."""
        return KlDivergence.apply(self.norms(), self.filter_log_sigma2)

    def mask(self, threshold: float = LOG_ALPHA_THRESHOLD) -> Tensor:
        """True where a weight stays, shape of `weight`: it is under the threshold, and so is its filter."""
        return super().mask(threshold) & (self.filter_log_alpha <= threshold).view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W'), as `VariationalConv2d.forward`."""
        if not self.training:
            return super().forward(x)
        ratio = (0.5 * self.filter_log_sigma2).exp() / self.norms()
        factors = 1.0 + ratio * torch.randn(len(x), len(ratio))
        return self.sampled(x) * factors[:, :, None, None] + self.bias[:, None, None]
