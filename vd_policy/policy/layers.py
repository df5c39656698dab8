"""Layers with fixed weights, and the seam through which one architecture is built dense or variational.

A *layer family* is a pair of classes with the arguments of `DenseLinear` and `DenseConv2d` and parameters named
``weight`` and ``bias``. A regularising family adds ``kl()`` and ``mask(threshold)`` to its layers; a new prior is one
file with the classes that differ (`filters.py`: convolutions) and one line in `FAMILIES` of `network.py`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOG_ALPHA_THRESHOLD = 3.0
"""Weights with log alpha above this are dropped for the RL phase (section IV)."""


@runtime_checkable
class Regularised(Protocol):
    """A layer whose weights have a posterior: it knows its divergence from the prior and what may be dropped."""

    weight: nn.Parameter

    def kl(self) -> Tensor: ...

    def mask(self, threshold: float = LOG_ALPHA_THRESHOLD) -> Tensor: ...


class DenseLinear(nn.Linear):
    """`nn.Linear`; when `masked`, the buffer `kept` (bool, shape of the weight) holds pruned weights at zero."""

    kept: Tensor | None

    def __init__(self, in_features: int, out_features: int, *, masked: bool = False) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("kept", torch.ones_like(self.weight, dtype=torch.bool) if masked else None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        return self.affine(x, held_weight(self), self.bias)

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What this layer would give with other weights."""
        return F.linear(x, weight, bias)


class DenseConv2d(nn.Conv2d):
    """`nn.Conv2d`; when `masked`, the buffer `kept` (bool, shape of the weight) holds pruned weights at zero."""

    kept: Tensor | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int, *, masked: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)
        self.register_buffer("kept", torch.ones_like(self.weight, dtype=torch.bool) if masked else None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        return self.affine(x, held_weight(self), self.bias)

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What this layer would give with other weights."""
        return F.conv2d(x, weight, bias, self.stride, self.padding)


def held_weight(layer: DenseLinear | DenseConv2d) -> Tensor:
    """The layer's weight with its pruned entries at zero, so that their gradients and Fisher products vanish too.

    Pruned entries are stored as zeros and no gradient step can move them, so inference mode skips the product.
    """
    if layer.kept is None or torch.is_inference_mode_enabled():
        return layer.weight
    return layer.weight * layer.kept


def regularised_layers(network: nn.Module) -> list[tuple[str, Regularised]]:
    """Names and modules of the layers with a posterior, in order; none in a dense network."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, Regularised)]


def total_kl(network: nn.Module) -> Tensor:
    """Sum of the layers' KL divergences, the second term of eq. 1; 0 for a dense network."""
    divergences = [layer.kl() for _, layer in regularised_layers(network)]
    return torch.stack(divergences).sum() if divergences else torch.zeros(())
