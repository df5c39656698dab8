"""Sparse variational dropout: layers whose weights are Gaussian, each with a dropout rate of its own (section III-B).

After Molchanov, Ashukha and Vetrov, "Variational Dropout Sparsifies Deep Neural Networks", ICML 2017. The weights are
w ~ N(theta, sigma^2) with alpha = sigma^2 / theta^2 (eq. 4), in the additive parameterisation theta, log sigma^2, whose
gradients have a much lower variance than those in theta, alpha.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD

LOG_SIGMA2_START = -10.0
LOG_ALPHA_LIMIT = 8.0
"""log alpha is clamped to [-8, 8]: outside, a weight is as good as certain or as good as gone."""
K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""Constants of the KL approximation, Molchanov et al. eq. 14."""
KL_BLOCK = 1 << 15
"""Weights handled at once: half the time of walking a million-weight layer twenty times."""
DRAWS = 4
"""Draws of a convolution's weights for one batch."""
TINY = 1e-16
"""Keeps log theta^2 and the standard deviation of an activation finite at zero."""


def log_alpha(theta: Tensor, log_sigma2: Tensor) -> Tensor:
    """Log dropout rate at these means and log variances, of their shape, in [-8, 8]."""
    ratio = log_sigma2 - (theta.square() + TINY).log()
    return ratio.clamp(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)


class _Posterior(nn.Module):
    """What both layer kinds share: the parameters of the weights' posterior and what follows from them alone."""

    weight: Tensor
    """theta, the means."""
    log_sigma2: nn.Parameter
    """Log variances, shape of `weight`."""

    @property
    def log_alpha(self) -> Tensor:
        """Log dropout rate of every weight, shape of `weight`, in [-8, 8]."""
        return log_alpha(self.weight, self.log_sigma2)

    def kl(self) -> Tensor:
        """KL divergence of the posterior from the log-uniform prior, a scalar."""
        return KlDivergence.apply(self.weight, self.log_sigma2)

    def mask(self, threshold: float = LOG_ALPHA_THRESHOLD) -> Tensor:
        """True where a weight stays, shape of `weight`; one whose log alpha is not a number goes."""
        return self.log_alpha <= threshold


class VariationalLinear(_Posterior, nn.Linear):
    """A fully connected layer under variational dropout.

    The noise is on the activations, each of its own, which gives gradients of lower variance than noise on the weights
    (the local reparameterisation: Kingma, Salimans and Welling, 2015).
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        nn.Linear.__init__(self, in_features, out_features)
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, LOG_SIGMA2_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out): a sample in training mode, the output of the thresholded weights otherwise."""
        if not self.training:
            return F.linear(x, self.weight * self.mask(), self.bias)
        std = (F.linear(x.square(), self.log_sigma2.exp()) + TINY).sqrt()
        return torch.addcmul(F.linear(x, self.weight, self.bias), std, torch.randn_like(std))


class VariationalConv2d(_Posterior, nn.Conv2d):
    """A convolution under variational dropout.

    Its weights are drawn, once for each of `DRAWS` parts of the batch. Noise on the activations, as in the fully
    connected layers, takes a second convolution, forward and backward, and with it each place of the image would see
    weights of its own, where the posterior has the same ones everywhere.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding)
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, LOG_SIGMA2_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W'), as `VariationalLinear.forward`."""
        if not self.training:
            return F.conv2d(x, self.weight * self.mask(), self.bias, self.stride, self.padding)
        return self.sampled(x, self.bias)

    def sampled(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, in, H, W) to (B, out, H', W') with weights drawn from their posterior."""
        sigma = (0.5 * self.log_sigma2).exp()
        weights = (torch.addcmul(self.weight, sigma, torch.randn_like(sigma)) for _ in range(DRAWS))
        parts = zip(x.chunk(DRAWS), weights)
        return torch.cat([F.conv2d(part, weight, bias, self.stride, self.padding) for part, weight in parts])


class KlDivergence(torch.autograd.Function):
    """The KL of all weights of a layer, with its gradient computed in the same pass over blocks that stay in cache."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, log_sigma2: Tensor) -> Tensor:
        slopes = [torch.empty_like(theta, memory_format=torch.contiguous_format) for _ in range(2)]
        blocks = (tensor.reshape(-1).split(KL_BLOCK) for tensor in (theta, log_sigma2))
        targets = (slope.view(-1).split(KL_BLOCK) for slope in slopes)
        value = torch.stack([_kl_block(*block) for block in zip(*blocks, *targets)]).sum()
        ctx.save_for_backward(*slopes)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        theta_slope, log_sigma2_slope = ctx.saved_tensors
        return gradients[0] * theta_slope, gradients[0] * log_sigma2_slope


def _kl_block(theta: Tensor, log_sigma2: Tensor, theta_slope: Tensor, log_sigma2_slope: Tensor) -> Tensor:
    """KL of some weights; writes its derivatives by both parameters into the last two arguments.

    Molchanov et al. eq. 14, with a = log alpha: -KL = k1 sigmoid(k2 + k3 a) - 0.5 log(1 + exp(-a)) - k1.
    """
    theta2 = theta.square().add_(TINY)
    a = theta2.log().neg_().add_(log_sigma2)
    unclamped = a.abs().le_(LOG_ALPHA_LIMIT)
    inverse_alpha = a.clamp_(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT).neg().exp_()
    half_logs = inverse_alpha.log1p().sum() * 0.5
    shrink = inverse_alpha.div_(inverse_alpha + 1.0)
    saturation = a.mul_(K3).add_(K2).sigmoid_()
    value = half_logs + K1 * (theta.numel() - saturation.sum())
    torch.mul(saturation, saturation.sub(1.0), out=log_sigma2_slope)
    log_sigma2_slope.mul_(K1 * K3).sub_(shrink, alpha=0.5).mul_(unclamped)
    torch.mul(theta, log_sigma2_slope, out=theta_slope)
    theta_slope.div_(theta2).mul_(-2.0)
    return value
