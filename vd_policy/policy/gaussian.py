"""The stochastic policy pi(a | s) = N(mu(s), sigma(s)), and the functions of diagonal Gaussians that learning needs.

Actions are joint deltas divided by the task's largest step, so [-1, 1] is their box; the environment clips what it
executes, and every density here is that of the unclipped sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.policy.layers import DenseLinear
from vd_policy.policy.network import NetworkSettings, TwoStreamNetwork
from vd_policy.policy.observation import Normalised, ObservationSpec

HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class PolicySettings:
    """Shape of the networks and the exploration that they start with.

    Raises:
        BadInput: the initial standard deviation lies outside its bounds.
    """

    mean: NetworkSettings = setting(help="network of the means", factory=NetworkSettings)
    sigma: NetworkSettings | None = setting(
        None, "the standard deviations' own network, always dense; a layer on the features of the means when empty"
    )
    initial_std: float = setting(
        0.1, "standard deviation to start from, everywhere [action units]", minimum=1e-6, maximum=10
    )
    min_std: float = setting(1e-3, "lower bound of the standard deviation [action units]", minimum=1e-6, maximum=10)
    max_std: float = setting(2.0, "upper bound of the standard deviation [action units]", minimum=1e-6, maximum=10)

    def __post_init__(self) -> None:
        if not self.min_std <= self.initial_std <= self.max_std:
            allowed = f"{self.min_std} to {self.max_std}"
            raise BadInput("policy initial_std", self.initial_std, allowed, "change it or min_std and max_std")
        if self.sigma is not None and self.sigma.layers != "dense":
            raise BadInput("policy sigma.layers", self.sigma.layers, "dense", "only the means are trained with dropout")


class FeatureHead(nn.Module):
    """One fully connected layer on the features of the means: a standard deviation that is pruned with them."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.head = DenseLinear(features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, A)."""
        return self.head(features)


class GaussianPolicy(nn.Module):
    """A network of the form of Fig. 2 for the means, and `sigma` for the logarithms of the standard deviations.

    `sigma` is a layer on the features of the means, or a second network of the form of Fig. 2 (the paper's). Its last
    layer starts at zero weights, so exploration starts as `initial_std` in every state.
    """

    sigma: FeatureHead | TwoStreamNetwork

    def __init__(self, spec: ObservationSpec, settings: PolicySettings | None = None) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings or PolicySettings()
        self.mean = TwoStreamNetwork(spec, self.settings.mean)
        shape = self.settings.sigma
        self.sigma = (
            FeatureHead(self.settings.mean.feature_width, spec.action_size)
            if shape is None
            else TwoStreamNetwork(spec, shape)
        )
        nn.init.zeros_(self.sigma.head.weight)
        nn.init.constant_(self.sigma.head.bias, math.log(self.settings.initial_std))

    def forward(self, obs: Obs | Normalised) -> tuple[Tensor, Tensor]:
        """Observations of B steps to mean and standard deviation, (B, A) each [action units]."""
        normalised = self.spec.normalise(obs)
        features = self.mean.encoder(normalised)
        log_std = self.sigma(features if isinstance(self.sigma, FeatureHead) else normalised)
        low, high = math.log(self.settings.min_std), math.log(self.settings.max_std)
        return self.mean.head(features), log_std.clamp(low, high).exp()


def new_policy(spec: ObservationSpec, settings: PolicySettings | None = None, *, seed: int) -> GaussianPolicy:
    """A freshly initialised policy that depends on the seed alone; torch's global generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GaussianPolicy(spec, settings)


def exploring(policy: GaussianPolicy, std: float, *, on_features: bool = False) -> GaussianPolicy:
    """The same means, with a standard deviation of `std` [action units] in every state to begin with.

    Where the standard deviations have a network of their own they keep it, with a fresh last layer; with `on_features`
    they become a layer on the features of the means.
    """
    sigma = None if on_features else policy.settings.sigma
    changed = GaussianPolicy(policy.spec, replace(policy.settings, sigma=sigma, initial_std=std))
    changed.mean.load_state_dict(policy.mean.state_dict())
    if isinstance(changed.sigma, TwoStreamNetwork) and isinstance(policy.sigma, TwoStreamNetwork):
        changed.sigma.encoder.load_state_dict(policy.sigma.encoder.state_dict())
    return changed


def log_prob(action: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log density of actions (B, A) under diagonal Gaussians, (B,)."""
    return -(0.5 * ((action - mean) / std).square() + std.log() + HALF_LOG_2_PI).sum(-1)


def kl(old_mean: Tensor, old_std: Tensor, new_mean: Tensor, new_std: Tensor) -> Tensor:
    """KL divergence of the new diagonal Gaussians from the old ones, D(old || new), (B,), never below 0."""
    ratio2 = (old_std / new_std).square()
    shift2 = ((old_mean - new_mean) / new_std).square()
    return (0.5 * (ratio2 - 1.0 - ratio2.log() + shift2)).sum(-1)


def entropy(std: Tensor) -> Tensor:
    """Differential entropy of diagonal Gaussians with standard deviations (B, A), (B,)."""
    return (std.log() + HALF_LOG_2_PI + 0.5).sum(-1)
