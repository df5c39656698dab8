"""What the policy node can run a network with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trained import small_policy

from vd_policy.base.errors import BadInput
from vd_policy.nodes.onnx_actor import OnnxActor, actor_for
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.export import random_observation
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings
from vd_policy.policy.network import NetworkSettings

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("explore", [False, True])
def test_onnx_runtime_and_torch_take_the_same_decisions(explore: bool) -> None:
    policy = small_policy(seed=4)
    acts = []
    for actor in (GaussianActor(policy), OnnxActor(policy)):
        state = actor.begin(1, [np.random.default_rng(8)])
        for i in range(5):
            act, state = actor.act(random_observation(policy.spec, 1, seed=i), state, explore=explore)
        acts.append(act)
    for one, other in zip(*acts):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_policy_with_dropout_is_refused_by_onnx_runtime() -> None:
    settings = PolicySettings(mean=NetworkSettings(layers="variational"))
    with pytest.raises(BadInput, match="vd_policy prune"):
        actor_for(GaussianPolicy(small_policy().spec, settings), "onnx")
