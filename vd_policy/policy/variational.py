"""Sparse variational dropout: layers whose weights are Gaussian, each with a dropout rate of its own (section III-B).

After Molchanov, Ashukha and Vetrov, "Variational Dropout Sparsifies Deep Neural Networks", ICML 2017. The weights are
w ~ N(theta, sigma^2) with alpha = sigma^2 / theta^2 (eq. 4), in the additive parameterisation theta, log sigma^2, whose
gradients have a much lower variance than those in theta, alpha.
"""

from __future__ import annotations

from functools import lru_cache
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
NOISE_BLOCK = 1 << 18
"""Noise drawn at once, to save memory."""
TINY = 1e-16
"""Keeps log theta^2 and the standard deviation of an activation finite at zero."""


class _Posterior(nn.Module):
    """What both layer kinds share: the parameters of the weights' posterior and what follows from them alone."""

    weight: Tensor
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
        return SampledLinear.apply(x, self.weight, self.log_sigma2, self.bias)


class VariationalConv2d(_Posterior, nn.Conv2d):
    """A convolution under variational dropout."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding)
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, LOG_SIGMA2_START))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W'), as `VariationalLinear.forward`."""
        if not self.training:
            return F.conv2d(x, self.weight * self.mask(), self.bias, self.stride, self.padding)
        return SampledConv2d.apply(x, self.weight, self.log_sigma2, self.bias, self.stride, self.padding)


class SampledLinear(torch.autograd.Function):
    """x W + sqrt(x^2 S) eps for a fully connected layer, where S = sigma^2 and eps ~ N(0, 1).

    The local reparameterisation: noise on activations, not weights. Forward and backward are written out because
    autograd would keep and walk several more tensors of the activations' size; `SampledConv2d` is the costly twin.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, log_sigma2: Tensor, bias: Tensor) -> Tensor:
        x2, sigma2 = x.square(), log_sigma2.exp()
        sample, slope = perturb_(F.linear(x, weight, bias), F.linear(x2, sigma2))
        ctx.save_for_backward(x, x2, weight, sigma2, slope)
        return sample

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, x2, weight, sigma2, slope = ctx.saved_tensors
        gradient = gradients[0]
        noisy = gradient * slope
        x_gradient = (gradient @ weight).addcmul_(x, noisy @ sigma2) if ctx.needs_input_grad[0] else None
        return x_gradient, gradient.t() @ x, (noisy.t() @ x2).mul_(sigma2).mul_(0.5), gradient.sum(0)


class SampledConv2d(torch.autograd.Function):
    """`SampledLinear` for a convolution."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, log_sigma2: Tensor, bias: Tensor, stride: list[int], padding: list[int]
    ) -> Tensor:
        x2, sigma2 = x.square(), log_sigma2.exp()
        mean = F.conv2d(x, weight, bias, stride, padding)
        sample, slope = perturb_(mean, F.conv2d(x2, sigma2, None, stride, padding))
        ctx.save_for_backward(x, x2, weight, sigma2, slope)
        ctx.geometry = (stride, padding, [1, 1], False, [0, 0], 1)
        return sample

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, x2, weight, sigma2, slope = ctx.saved_tensors
        backward, needs_x = torch.ops.aten.convolution_backward, ctx.needs_input_grad[0]
        gradient, noisy = gradients[0], gradients[0] * slope
        bias_size = [weight.shape[0]]
        of_mean = backward(gradient, x, weight, bias_size, *ctx.geometry, [needs_x, True, True])
        of_variance = backward(noisy, x2, sigma2, None, *ctx.geometry, [needs_x, True, False])
        x_gradient = of_mean[0].addcmul_(x, of_variance[0]) if needs_x else None
        return x_gradient, of_mean[1], of_variance[1].mul_(sigma2).mul_(0.5), of_mean[2], None, None


def perturb_(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Add N(0, variance) noise to `mean` in place; both arguments are spent.

    Returns:
        The sample and eps / std: twice the sample's derivative by the variance, and, since d(x^2) = 2 x dx, just what
        the chain to the inputs needs.
    """
    std = variance.add_(TINY).sqrt_()
    noise = standard_normal_like(std)
    return mean.addcmul_(std, noise), noise.div_(std)


@lru_cache(maxsize=1)
def _normal_quantiles() -> Tensor:
    """65,536 equally likely values of mean 0 and variance 1 that follow N(0, 1) to 16 bits, out to +-4.3."""
    middles = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    quantiles = torch.special.ndtri(middles)
    return (quantiles / quantiles.square().mean().sqrt()).to(torch.float32)


def standard_normal_like(like: Tensor) -> Tensor:
    """Standard normal noise in the shape and memory order of `like`, from torch's global generator.

    Drawn by inverting the distribution function over 16 random bits a value: 2 ns each, where `torch.randn` takes 5 and
    `torch.randn_like` of a channels-last tensor 24; noise was half of a training step.
    """
    noise = torch.empty(like.numel())
    for block in noise.split(NOISE_BLOCK):
        words = torch.empty((len(block) + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        index = words.view(torch.int16)[: len(block)].to(torch.int32).add_(32768)
        torch.index_select(_normal_quantiles(), 0, index, out=block)
    return noise.to(like.device).as_strided(like.shape, like.stride())


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
