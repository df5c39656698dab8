"""From a trained policy to a really smaller one: drop weights, then remove the units that are left without use.

Weight sparsity (share of weights dropped) and unit sparsity (share of hidden units removed) are two numbers; the
paper's Table I does not say which of them it gives, so both are always reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vd_policy.base.errors import BadInput
from vd_policy.policy.compact import Compaction
from vd_policy.policy.cost import flops, parameter_count
from vd_policy.policy.gaussian import FeatureHead, GaussianPolicy
from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD, Regularised
from vd_policy.policy.network import NetworkSettings, TwoStreamNetwork

Masks = dict[str, Tensor]
"""Layer name in the mean network to a bool tensor of its weight's shape, True where the weight stays."""
DROPPED = -1.0
"""Stands for the size of a weight that an earlier pruning dropped: smaller than any."""


@dataclass(frozen=True)
class LayerReport:
    """What pruning did to one layer of the mean network."""

    name: str
    weights: int
    """Weights before, biases not counted."""
    kept: int
    """Weights under the threshold."""
    left: int
    """Of these, the ones in units that stayed."""
    units: int
    units_left: int

    @property
    def density(self) -> float:
        """Share of weights under the threshold."""
        return self.kept / self.weights


@dataclass(frozen=True)
class PruneReport:
    """What pruning saved on the mean network."""

    layers: tuple[LayerReport, ...]
    parameters_before: int
    """Weights and biases stored and multiplied."""
    parameters_after: int
    flops_before: int
    """Floating-point operations of one decision, a multiply-add counted as two."""
    flops_after: int
    notes: tuple[str, ...]

    @property
    def weight_sparsity(self) -> float:
        """Share of weights that were dropped."""
        return 1.0 - sum(layer.kept for layer in self.layers) / sum(layer.weights for layer in self.layers)

    @property
    def unit_sparsity(self) -> float:
        """Share of hidden units (neurons and filters) that were removed."""
        hidden = [layer for layer in self.layers if layer.name != "head"]
        return 1.0 - sum(layer.units_left for layer in hidden) / sum(layer.units for layer in hidden)

    def densities(self) -> dict[str, float]:
        """Layer name to the share of weights kept, as `prune_by_magnitude` takes it for a fair baseline."""
        return {layer.name: layer.density for layer in self.layers}

    def to_manifest(self) -> dict[str, Any]:
        """Plain values, with both sparsities."""
        values = asdict(self) | {"weight_sparsity": self.weight_sparsity, "unit_sparsity": self.unit_sparsity}
        return values | {"layers": list(values["layers"]), "notes": list(self.notes)}


def prune(policy: GaussianPolicy, threshold: float = LOG_ALPHA_THRESHOLD) -> tuple[GaussianPolicy, PruneReport]:
    """Drop the weights whose log alpha exceeds the threshold (section IV), then remove what has no use any more.

    Args:
        policy: trained with variational dropout, or already masked; read, not changed.
        threshold: largest log alpha that stays.

    Returns:
        A policy with dense, masked mean layers that computes what the thresholded one does, and what was saved.

    Raises:
        BadInput: weights are not finite, or nothing would be left between input and output.
    """
    return _pruned(policy, threshold_masks(policy.mean, threshold))


def prune_by_magnitude(
    policy: GaussianPolicy, density: float | Mapping[str, float]
) -> tuple[GaussianPolicy, PruneReport]:
    """The baseline: keep the largest weights, then remove what has no use any more.

    Args:
        policy: read, not changed.
        density: share of weights to keep, over the whole mean network or for each layer by name (`densities`); of a
            policy that is masked already, no more than it has.

    Raises:
        BadInput: a density outside [0, 1], a layer missing, or as `prune`.
    """
    return _pruned(policy, magnitude_masks(policy.mean, density))


def threshold_masks(network: TwoStreamNetwork, threshold: float = LOG_ALPHA_THRESHOLD) -> Masks:
    """Masks by log alpha; for layers without a posterior, those they have already."""
    with torch.no_grad():
        return {
            name: layer.mask(threshold) if isinstance(layer, Regularised) else _present(layer)
            for name, layer in weight_layers(network)
        }


def magnitude_masks(network: TwoStreamNetwork, density: float | Mapping[str, float]) -> Masks:
    """Masks that keep the round(density * count) largest weights, overall or layer by layer.

    Where that is more than an earlier pruning left, all that it left; what it dropped does not come back.
    """
    layers = weight_layers(network)
    sizes = {name: layer.weight.detach().abs().masked_fill(~_present(layer), DROPPED) for name, layer in layers}
    if isinstance(density, Mapping):
        for name in sizes:
            if name not in density:
                raise BadInput(
                    "density", sorted(density), f"one for each layer, {name!r} too", "take a report's densities()"
                )
        return {name: _largest(size.flatten(), density[name]).view_as(size) for name, size in sizes.items()}
    kept = _largest(torch.cat([size.flatten() for size in sizes.values()]), density)
    parts = kept.split([size.numel() for size in sizes.values()])
    return {name: part.view_as(size) for (name, size), part in zip(sizes.items(), parts)}


def masked(policy: GaussianPolicy, masks: Masks) -> GaussianPolicy:
    """A dense policy of the same widths whose mean weights are zero, and stay zero in training, outside the masks."""
    shape = replace(policy.mean.shape, layers="dense", masked=True)
    result = _with_mean(policy, shape)
    result.sigma.load_state_dict(policy.sigma.state_dict())
    sources = dict(weight_layers(policy.mean))
    with torch.no_grad():
        for name, layer in weight_layers(result.mean):
            layer.weight.copy_(sources[name].weight.masked_fill(~masks[name], 0.0))
            layer.bias.copy_(sources[name].bias)
            layer.kept.copy_(masks[name])
        if policy.mean.encoder.image_index is not None and result.mean.encoder.image_index is not None:
            result.mean.encoder.image_index.copy_(policy.mean.encoder.image_index)
    return result


def weight_layers(network: TwoStreamNetwork) -> list[tuple[str, Any]]:
    """Names (``conv.0`` ... ``head``) and modules of the layers that have weights, in order."""
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return [(name.removeprefix("encoder."), module) for name, module in found]


def _pruned(policy: GaussianPolicy, masks: Masks) -> tuple[GaussianPolicy, PruneReport]:
    full = masked(policy, masks)
    _require_finite(full)
    on_features = isinstance(full.sigma, FeatureHead)
    compaction = Compaction(full.mean, full.sigma.head if on_features else None)
    network = compaction.result()
    small = _with_mean(policy, network.shape)
    small.mean.load_state_dict(network.state_dict())
    if on_features:
        small.sigma.head.load_state_dict(compaction.second().state_dict())
    else:
        small.sigma.load_state_dict(full.sigma.state_dict())
    notes = tuple(f"{name}: nothing left; one idle unit stays" for name in compaction.idle_layers())
    return small, _report(full.mean, network, notes)


def _report(full: TwoStreamNetwork, small: TwoStreamNetwork, notes: tuple[str, ...]) -> PruneReport:
    layers = tuple(
        LayerReport(name, a.weight.numel(), int(a.kept.sum()), int(b.kept.sum()), len(a.bias), len(b.bias))
        for (name, a), (_, b) in zip(weight_layers(full), weight_layers(small))
    )
    spec = full.spec
    counts = (parameter_count(full.shape, spec), parameter_count(small.shape, spec))
    return PruneReport(layers, *counts, flops(full.shape, spec), flops(small.shape, spec), notes)


def _with_mean(policy: GaussianPolicy, shape: NetworkSettings) -> GaussianPolicy:
    """A policy with a mean network of this shape, unfilled."""
    with torch.random.fork_rng(devices=[]):
        return GaussianPolicy(policy.spec, replace(policy.settings, mean=shape))


def _present(layer: Any) -> Tensor:
    kept = getattr(layer, "kept", None)
    return torch.ones_like(layer.weight, dtype=torch.bool) if kept is None else kept.clone()


def _largest(sizes: Tensor, density: float) -> Tensor:
    if not 0.0 <= density <= 1.0:
        raise BadInput("density", density, "0 to 1", "give the share of weights to keep")
    kept = torch.zeros_like(sizes, dtype=torch.bool)
    kept[sizes.argsort(descending=True, stable=True)[: round(density * len(sizes))]] = True
    return kept & (sizes != DROPPED)


def _require_finite(policy: GaussianPolicy) -> None:
    for name, tensor in policy.state_dict().items():
        if not tensor.isfinite().all():
            raise BadInput(f"policy tensor {name}", "NaN or Inf", "finite numbers", "train again with a smaller step")
