"""A policy's tangent is what `torch.func.jvp` computes."""

from __future__ import annotations

import pytest
import torch
from policy_samples import SMALL, lively, random_obs, small_policy

from vd_policy.learning.parameters import FlatParameters, unmasked
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.prune import prune, prune_by_magnitude
from vd_policy.policy.tangent import PolicyTangent


def sparse() -> GaussianPolicy:
    return prune(lively(small_policy("variational")))[0]


def bounded() -> GaussianPolicy:
    """Standard deviations at both of their bounds."""
    policy = lively(small_policy(sigma=None))
    with torch.no_grad():
        policy.sigma.head.bias.copy_(torch.tensor([-40.0, 40.0, -2.0]))
    return policy


POLICIES = {
    "dense, standard deviations from a network of their own": lambda: lively(small_policy(sigma=SMALL)),
    "dense, standard deviations from the features": lambda: lively(small_policy(sigma=None)),
    "pruned": sparse,
    "pruned by magnitude": lambda: prune_by_magnitude(lively(small_policy(sigma=None)), 0.4)[0],
    "standard deviations at their bounds": bounded,
}


@pytest.mark.parametrize("kind", POLICIES)
def test_the_tangent_is_the_forward_mode_derivative(kind):
    policy = POLICIES[kind]().double()
    parameters, obs = FlatParameters(policy), policy.spec.normalise(random_obs(policy.spec, 9))
    obs = type(obs)(*(part.double() for part in obs))

    def outputs(vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = torch.func.functional_call(policy, parameters.named(vector), (obs,))
        return mean, std.log()

    tangent = PolicyTangent(unmasked(policy), obs)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(parameters.mask.shape, generator=generator, dtype=torch.float64) * parameters.mask
        _, expected = torch.func.jvp(outputs, (parameters.get(),), (direction,))
        found = tangent.push(parameters.named(direction))
        for a, b in zip(found, expected, strict=True):
            assert a.abs().max() > 0 and not a.requires_grad
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    if kind.endswith("bounds"):
        assert not found[1][:, :2].any() and found[1][:, 2].all()
