"""sb3-contrib's TRPO on our networks and rollouts, to be measured beside ours. Needs the extra ``bench``."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
import sb3_contrib
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from vd_policy.base.episode import OBS_KEYS, Episode
from vd_policy.learning.batch import RolloutBatch
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.observation import ObservationSpec

CG_STEPS = 15
"""sb3-contrib's default."""


def peer_update(policy: GaussianPolicy, episodes: list[Episode]) -> float:
    """CPU seconds of one update by sb3-contrib's TRPO at its defaults: all samples in the Fisher matrix.

    Its critic is what it builds by default too: a linear layer on the features that it shares with the policy.
    """
    batch = RolloutBatch.of(episodes)
    spaces = _Spaces(policy.spec)
    model = sb3_contrib.TRPO(PeerPolicy, spaces, n_steps=len(batch), device="cpu",  # type: ignore[arg-type]
                             policy_kwargs={"actor": policy})  # fmt: skip
    model.set_logger(configure(None, []))
    model.rollout_buffer = _buffer(spaces, batch, model)
    began = time.process_time()
    model.train()
    return time.process_time() - began


class PeerPolicy(BasePolicy):
    """What sb3-contrib's TRPO asks of a policy, answered by our networks."""

    def __init__(self, observation_space: Any, action_space: Any, schedule: Any, *, actor: GaussianPolicy,
                 use_sde: bool = False) -> None:  # fmt: skip
        super().__init__(observation_space, action_space)
        self.actor = actor
        self.value_net = nn.Linear(actor.settings.mean.feature_width, 1)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=schedule(1))

    def get_distribution(self, obs: dict[str, Tensor]) -> DiagGaussianDistribution:
        mean, std = self.actor(obs)
        distribution = DiagGaussianDistribution(mean.shape[1])
        distribution.distribution = torch.distributions.Normal(mean, std)
        return distribution

    def predict_values(self, obs: dict[str, Tensor]) -> Tensor:
        return self.value_net(self.actor.mean.encoder(obs))

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        return self._predict(obs)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.get_distribution(observation).get_actions(deterministic)


class _Spaces(gymnasium.Env):
    """The spaces of our observations and actions, to construct the model with; never stepped."""

    def __init__(self, spec: ObservationSpec) -> None:
        size = (spec.image_height, spec.image_width)
        box = gymnasium.spaces.Box
        self.observation_space: gymnasium.spaces.Dict = gymnasium.spaces.Dict(
            rgb=box(0, 255, (*size, 3), np.uint8),
            depth=box(0, 65535, size, np.uint16),
            q=box(-np.inf, np.inf, (spec.action_size,), np.float32),
        )
        self.action_space = box(-1.0, 1.0, (spec.action_size,), np.float32)

    def reset(self, **_: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return self.observation_space.sample(), {}


def _buffer(spaces: _Spaces, batch: RolloutBatch, model: sb3_contrib.TRPO) -> DictRolloutBuffer:
    """Our batch as its rollout buffer, with values of zero and its own advantages; images stay as they lie."""
    buffer = DictRolloutBuffer(len(batch), spaces.observation_space, spaces.action_space, device="cpu",
                               gae_lambda=model.gae_lambda, gamma=model.gamma)  # fmt: skip
    for i in range(len(batch)):
        obs = {k: batch.obs[k][i].numpy()[None] for k in OBS_KEYS}
        first = np.array([float(batch.time[i] == 0)])
        buffer.add(obs, batch.action[i].numpy()[None], batch.reward[i : i + 1], first, torch.zeros(1),
                   batch.log_prob[i : i + 1])  # fmt: skip
    buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
    return buffer
