"""What a policy puts out when its weights move a little: forward-mode derivatives about one point.

A natural gradient takes them along a dozen directions. `torch.func.jvp` computes the activations anew for each of them
and convolves the change of the image, which is none; here they are computed once, and that convolution is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vd_policy.base.episode import Obs
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.layers import DenseConv2d, DenseLinear
from vd_policy.policy.network import Encoder, TwoStreamNetwork
from vd_policy.policy.observation import Normalised

Change = Mapping[str, Tensor]
"""Of each of a policy's parameters, by its name."""


@dataclass(frozen=True)
class _Point:
    """A layer, and what it sees and gives at the policy's present weights."""

    name: str
    layer: DenseLinear | DenseConv2d
    x: Tensor
    passes: Tensor | None = None
    """1 where a change of the output goes on, 0 where a ReLU or a bound holds it; none where neither follows."""

    def push(self, change: Change, moved: Tensor | None) -> Tensor:
        """Change of the output for changes of the weights and of the input; None: the input stays."""
        out = self.layer.affine(self.x, change[f"{self.name}.weight"], change[f"{self.name}.bias"])
        if moved is not None:
            out += self.layer.affine(moved, self.layer.weight, None)
        return out if self.passes is None else out.mul_(self.passes)  # masked_fill_ takes ten times as long


class PolicyTangent:
    """The linear map from changes of a dense policy's weights to changes of its outputs, at its present weights.

    Pruned weights are taken as they are stored, as zeros; their changes have to be zero as well.

    Args:
        policy: without dropout layers.
        obs: raw or normalised observations of N steps.
    """

    def __init__(self, policy: GaussianPolicy, obs: Obs | Normalised) -> None:
        inputs, sigma, settings = policy.spec.normalise(obs), policy.sigma, policy.settings
        with torch.no_grad():
            self._means = _Streams(policy.mean.encoder, inputs, "mean.encoder")
            self._mean = _Point("mean.head", policy.mean.head, self._means.features)
            self._stds = self._means
            if isinstance(sigma, TwoStreamNetwork):
                self._stds = _Streams(sigma.encoder, inputs, "sigma.encoder")
            log_std = sigma.head(self._stds.features)
            inside = (log_std >= math.log(settings.min_std)) & (log_std <= math.log(settings.max_std))
            self._log_std = _Point("sigma.head", sigma.head, self._stds.features, inside.to(log_std.dtype))

    @torch.no_grad()
    def push(self, change: Change) -> tuple[Tensor, Tensor]:
        """Changes of the means and of the logarithms of the standard deviations, (N, A) each, to first order."""
        features = self._means.push(change)
        others = features if self._stds is self._means else self._stds.push(change)
        return self._mean.push(change, features), self._log_std.push(change, others)


class _Streams:
    """Both streams of an `Encoder`."""

    def __init__(self, encoder: Encoder, inputs: Normalised, name: str) -> None:
        self._encoder = encoder
        self._conv, maps = _points(encoder.conv, inputs.image, f"{name}.conv")
        self._image, image = _points(encoder.image_fc, encoder.read(maps), f"{name}.image_fc")
        self._joints, joints = _points(encoder.joint_fc, inputs.joints, f"{name}.joint_fc")
        self.features = torch.cat((image, joints), dim=1)

    def push(self, change: Change) -> Tensor:
        """Change of the features, (N, F)."""
        maps = _along(self._conv, change)
        image = _along(self._image, change, self._encoder.read(maps))
        return torch.cat((image, _along(self._joints, change)), dim=1)


def _points(layers: Iterable, x: Tensor, name: str) -> tuple[list[_Point], Tensor]:
    """The layers one after another from the input `x`, and what comes out of the last."""
    points = []
    for i, layer in enumerate(layers):
        out = layer(x)
        points.append(_Point(f"{name}.{i}", layer, x, (out > 0.0).to(out.dtype)))
        x = torch.relu_(out)
    return points, x


def _along(points: Iterable[_Point], change: Change, moved: Tensor | None = None) -> Tensor:
    for point in points:
        moved = point.push(change, moved)
    assert moved is not None
    return moved
