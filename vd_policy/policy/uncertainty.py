"""What a variational network knows of its own uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor

from vd_policy.base.episode import Obs
from vd_policy.policy.network import TwoStreamNetwork
from vd_policy.policy.observation import Normalised


def predictive_moments(network: TwoStreamNetwork, obs: Obs | Normalised, samples: int = 16) -> tuple[Tensor, Tensor]:
    """Monte-Carlo mean and standard deviation of the outputs over draws of the weights, (B, A) each.

    The paper's section VI proposes this spread as the policy's standard deviation. A dense network has none (zeros).
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
