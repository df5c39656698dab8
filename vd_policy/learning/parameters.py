"""A module's trainable parameters as one vector, with pruned weights held at zero."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class FlatParameters:
    """View of the trainable parameters of `module` as a vector of shape (P,).

    A ``weight`` beside a buffer ``kept`` in the same layer is pruned: where that is false, its gradient and every
    update are zero, so those weights stay exactly as they are.
    """

    def __init__(self, module: nn.Module) -> None:
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.names = tuple(named)
        self._parameters = tuple(named.values())
        self._sizes = [p.numel() for p in self._parameters]
        self.mask = torch.cat(self._masks(module))

    def _masks(self, module: nn.Module) -> list[Tensor]:
        buffers = dict(module.named_buffers())
        masks = []
        for name, parameter in zip(self.names, self._parameters, strict=True):
            layer, _, leaf = name.rpartition(".")
            mask = buffers.get(f"{layer}.kept".lstrip(".")) if leaf == "weight" else None
            kept = torch.ones_like(parameter) if mask is None else (mask != 0).to(parameter.dtype).expand_as(parameter)
            masks.append(kept.reshape(-1).detach())
        return masks

    def get(self) -> Tensor:
        """A copy of the present values, (P,)."""
        return torch.cat([p.detach().reshape(-1) for p in self._parameters])

    @torch.no_grad()
    def set(self, vector: Tensor) -> None:
        """Write `vector` (P,) into the module."""
        for parameter, piece in zip(self._parameters, vector.split(self._sizes), strict=True):
            parameter.copy_(piece.view_as(parameter))

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The pieces of `vector` by parameter name and shape, for `torch.func.functional_call`."""
        pieces = vector.split(self._sizes)
        triples = zip(self.names, pieces, self._parameters, strict=True)
        return {name: piece.view(p.shape) for name, piece, p in triples}

    def gradient(self, objective: Tensor) -> Tensor:
        """Masked gradient of a scalar, (P,); zero for parameters that it does not depend on."""
        pieces = torch.autograd.grad(objective, self._parameters, allow_unused=True)
        pairs = zip(pieces, self._parameters, strict=True)
        flat = [torch.zeros_like(p) if g is None else g for g, p in pairs]
        return torch.cat([g.reshape(-1) for g in flat]) * self.mask


def unmasked(module: nn.Module) -> nn.Module:
    """A twin that shares the parameters of `module` and takes its weights as they are stored.

    Pruned weights are stored as zeros, so the outputs are the same; gradients with respect to pruned weights are not
    zero and are for the caller to mask (`FlatParameters.mask`), once for all layers: products of weights and masks
    in every layer took a fifth of a Fisher-vector product.
    """
    twin = copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})
    for layer in twin.modules():
        if "kept" in layer._buffers:
            layer._buffers["kept"] = None
    return twin
