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

from vd_policy.base.episode import Obs
from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD
from vd_policy.policy.observation import Normalised

LOG_SIGMA2_START = -10.0
LOG_ALPHA_LIMIT = 8.0
"""log alpha is clamped to [-8, 8]: outside, a weight is as good as certain or as good as gone."""
K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""Constants of the KL approximation, Molchanov et al. eq. 14."""
TINY = 1e-16
"""Keeps log theta^2 and the standard deviation of an activation finite at zero."""


class _Posterior(nn.Module):
    """What both layer kinds share: the parameters of the weights' posterior and what follows from them alone."""

    weight: nn.Parameter
    """theta, the means."""
    log_sigma2: nn.Parameter
    """Log variances, shape of `weight`."""

    @property
    def log_alpha(self) -> Tensor:
        """Log dropout rate of every weight, shape of `weight`, in [-8, 8]."""
        ratio = self.log_sigma2 - (self.weight.square() + TINY).log()
        return ratio.clamp(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)

    def kl(self) -> Tensor:
        """KL divergence of the posterior from the log-uniform prior, a scalar."""
        return KlDivergence.apply(self.weight, self.log_sigma2)

    def mask(self, threshold: float = LOG_ALPHA_THRESHOLD) -> Tensor:
        """True where a weight stays, shape of `weight`; one whose log alpha is not a number goes."""
        return self.log_alpha <= threshold


class VariationalLinear(_Posterior, nn.Linear):
    """A fully connected layer under variational dropout."""

    def __init__(self, in_features: int, out_features: int) -> None:
        nn.Linear.__init__(self, in_features, out_features)
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, LOG_SIGMA2_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out): a sample in training mode, the output of the thresholded weights otherwise."""
        if not self.training:
            return F.linear(x, self.weight * self.mask(), self.bias)
        return Perturb.apply(F.linear(x, self.weight, self.bias), F.linear(x.square(), self.log_sigma2.exp()))


class VariationalConv2d(_Posterior, nn.Conv2d):
    """A convolution under variational dropout."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding)
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, LOG_SIGMA2_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W'), as `VariationalLinear.forward`."""
        if not self.training:
            return F.conv2d(x, self.weight * self.mask(), self.bias, self.stride, self.padding)
        mean = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return Perturb.apply(mean, F.conv2d(x.square(), self.log_sigma2.exp(), None, self.stride, self.padding))


class Perturb(torch.autograd.Function):
    """mean + sqrt(variance) * eps, eps ~ N(0, 1): the local reparameterisation, sampling activations, not weights.

    One fused step that keeps a single tensor for the backward pass; autograd would keep three.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor) -> Tensor:
        std = variance.add(TINY).sqrt_()
        noise = torch.randn_like(std)
        sample = torch.addcmul(mean, std, noise)
        ctx.save_for_backward(noise.div_(std).mul_(0.5))
        return sample

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (slope,) = ctx.saved_tensors
        return gradients[0], gradients[0] * slope


class KlDivergence(torch.autograd.Function):
    """The layer's KL, with its gradient computed in the same pass.

    Molchanov et al. eq. 14, a = log alpha:
    -KL = k1 sigmoid(k2 + k3 a) - 0.5 log(1 + exp(-a)) - k1, summed over the weights.
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, log_sigma2: Tensor) -> Tensor:
        theta2 = theta.square().add_(TINY)
        raw = log_sigma2 - theta2.log()
        a = raw.clamp(-LOG_ALPHA_LIMIT, LOG_ALPHA_LIMIT)
        saturation = torch.sigmoid(a * K3 + K2)
        shrink = torch.sigmoid(-a)
        value = K1 * (1.0 - saturation).sum() - 0.5 * torch.log1p(-shrink).sum()
        slope = (saturation * (saturation - 1.0)).mul_(K1 * K3).sub_(shrink, alpha=0.5)
        slope.mul_(raw == a)
        ctx.save_for_backward(slope, theta.mul(slope).div_(theta2).mul_(-2.0))
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        log_sigma2_slope, theta_slope = ctx.saved_tensors
        return gradients[0] * theta_slope, gradients[0] * log_sigma2_slope


def predictive_moments(network: nn.Module, obs: Obs | Normalised, samples: int = 16) -> tuple[Tensor, Tensor]:
    """What a variational network predicts and how unsure it is: Monte-Carlo mean and standard deviation, (B, A) each.

    The spread over weights drawn from the posterior; the paper's future work proposes it as the policy's SD (section VI).
    """
    was_training = network.training
    network.train()
    try:
        with torch.no_grad():
            normalised = network.spec.normalise(obs)
            drawn = torch.stack([network(normalised) for _ in range(samples)])
    finally:
        network.train(was_training)
    return drawn.mean(0), drawn.std(0)
