"""The stochastic policy pi(a | s) = N(mu(s), sigma(s)), and the functions of diagonal Gaussians that learning needs.

Actions are joint deltas divided by the task's largest step, so [-1, 1] is their box; the environment clips what it
executes, and every density here is that of the unclipped sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.policy.network import NetworkSettings, TwoStreamNetwork
from vd_policy.policy.observation import Normalised, ObservationSpec

HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


def _small_network() -> NetworkSettings:
    return NetworkSettings(conv_channels=(8, 16, 16), image_widths=(32, 32, 32), joint_widths=(32, 32, 32))


@dataclass(frozen=True)
class PolicySettings:
    """Shapes of the two networks and the exploration that they start with.

    Raises:
        BadInput: the initial standard deviation lies outside its bounds.
    """

    mean: NetworkSettings = setting(help="network of the means", factory=NetworkSettings)
    sigma: NetworkSettings = setting(help="network of the standard deviations, always dense", factory=_small_network)
    initial_std: float = setting(
        0.1, "standard deviation to start from, everywhere [action units]", minimum=1e-6, maximum=10
    )
    min_std: float = setting(1e-3, "lower bound of the standard deviation [action units]", minimum=1e-6, maximum=10)
    max_std: float = setting(2.0, "upper bound of the standard deviation [action units]", minimum=1e-6, maximum=10)

    def __post_init__(self) -> None:
        if not self.min_std <= self.initial_std <= self.max_std:
            allowed = f"{self.min_std} to {self.max_std}"
            raise BadInput("policy initial_std", self.initial_std, allowed, "change it or min_std and max_std")
        if self.sigma.layers != "dense":
            raise BadInput("policy sigma.layers", self.sigma.layers, "dense", "only the means are trained with dropout")


class GaussianPolicy(nn.Module):
    """Two networks of the form of Fig. 2, one for the means and one for the standard deviations.

    The last layer of `sigma` starts at zero weights, so exploration starts as `initial_std` in every state.
    """

    def __init__(self, spec: ObservationSpec, settings: PolicySettings | None = None) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings or PolicySettings()
        self.mean = TwoStreamNetwork(spec, self.settings.mean)
        self.sigma = TwoStreamNetwork(spec, self.settings.sigma)
        nn.init.zeros_(self.sigma.head.weight)
        nn.init.constant_(self.sigma.head.bias, math.log(self.settings.initial_std))

    def forward(self, obs: Obs | Normalised) -> tuple[Tensor, Tensor]:
        """Observations of B steps to mean and standard deviation, (B, A) each [action units]."""
        normalised = self.spec.normalise(obs)
        return self.mean(normalised), self.std(normalised)

    def std(self, obs: Obs | Normalised) -> Tensor:
        """The standard deviation alone, (B, A), within its bounds."""
        log_std = self.sigma(obs).clamp(math.log(self.settings.min_std), math.log(self.settings.max_std))
        return log_std.exp()


def new_policy(spec: ObservationSpec, settings: PolicySettings | None = None, *, seed: int) -> GaussianPolicy:
    """A freshly initialised policy that depends on the seed alone; torch's global generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GaussianPolicy(spec, settings)


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
