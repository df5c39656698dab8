"""What a variational network knows of its own uncertainty, and exploration that follows it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.policy.gaussian import GaussianPolicy, exploring
from vd_policy.policy.layers import regularised_layers
from vd_policy.policy.network import TwoStreamNetwork
from vd_policy.policy.observation import Normalised

RIDGE = 1e-2
"""Weight of the sum of squares in the fit, against standardised features."""
FEATURE_STD_FLOOR = 1e-3


def predictive_moments(network: TwoStreamNetwork, obs: Obs | Normalised, samples: int = 16) -> tuple[Tensor, Tensor]:
    """Monte-Carlo mean and standard deviation of the outputs over draws of the weights, (B, A) each.

    A dense network has none (zeros).
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


@torch.no_grad()
def exploring_by_uncertainty(
    policy: GaussianPolicy, source: TwoStreamNetwork, batches: Iterable[Obs], *, seed: int, samples: int = 16
) -> GaussianPolicy:
    """The same means, with a standard deviation that starts as what `source` does not know (section VI).

    The logarithm of the predictive standard deviation of `source` is fitted by ridge regression on the features of the
    means, so that it costs no network of its own and RL can go on training it.

    Args:
        policy: pruned; its means are read, its standard deviation is not.
        source: the network with dropout rates that it was pruned from.
        batches: raw observations, those of the demonstrations for example; at least two in all.
        seed: of the draws of the weights.

    Raises:
        BadInput: `source` has no dropout rates, or there are no observations.
    """
    if not regularised_layers(source):
        raise BadInput("policy", "without dropout rates", "one cloned with variational dropout",
                       "explore with a fixed standard deviation")  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pairs = [(policy.mean.encoder(obs), predictive_moments(source, obs, samples)[1]) for obs in batches]
    if sum(len(features) for features, _ in pairs) < 2:
        raise BadInput("observations", len(pairs), "at least two", "give demonstrations")
    features, std = (torch.cat(part).double() for part in zip(*pairs))
    shape = policy.settings
    changed = exploring(policy, shape.initial_std, on_features=True)
    _fit(changed.sigma.head, features, std.clamp(shape.min_std, shape.max_std).log())
    return changed


def _fit(head: torch.nn.Linear, features: Tensor, targets: Tensor) -> None:
    """Ridge regression of `targets` (N, A) on `features` (N, F), written into a linear layer."""
    mean, scale = features.mean(0), features.std(0).clamp(min=FEATURE_STD_FLOOR)
    standard = (features - mean) / scale
    gram = standard.T @ standard / len(standard)
    gram.diagonal().add_(RIDGE)
    weight = torch.linalg.solve(gram, standard.T @ (targets - targets.mean(0)) / len(standard)).T / scale
    head.weight.copy_(weight)
    head.bias.copy_(targets.mean(0) - weight @ mean)
