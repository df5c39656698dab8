"""The same actor, computed by ONNX Runtime instead of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vd_policy.base.episode import OBS_KEYS, Obs
from vd_policy.base.errors import VdPolicyError
from vd_policy.policy.actor import Act, Actor, GaussianActor, State, noise, row_generators
from vd_policy.policy.export import TOLERANCE, onnx_session, parity
from vd_policy.policy.gaussian import GaussianPolicy, log_prob
from vd_policy.policy.onnx_graph import OUTPUTS, onnx_model


class OnnxActor:
    """Acts like `GaussianActor` on the weights that the policy has now; later changes of the policy do not show.

    Raises:
        Missing: onnx or onnxruntime is not installed. BadInput: the policy still has dropout rates.
        VdPolicyError: ONNX Runtime computes something else than torch.
    """

    def __init__(self, policy: GaussianPolicy, threads: int = 1) -> None:
        model = onnx_model(policy)
        difference = parity(policy, model)
        if not difference <= TOLERANCE:
            raise VdPolicyError(f"ONNX Runtime differs from torch by {difference:.2g}, more than {TOLERANCE}")
        self._session = onnx_session(model, threads)

    def begin(self, batch: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> State:
        return row_generators(batch, rng)

    def act(self, obs: Obs, state: State, *, explore: bool) -> tuple[Act, State]:
        """Decide for raw observations with leading dimension (B,), arrays."""
        feed = {key: np.ascontiguousarray(obs[key]) for key in OBS_KEYS}
        mean, std = self._session.run(OUTPUTS, feed)
        action = torch.from_numpy(mean + std * noise(state, mean.shape[1]) if explore else mean)
        mean, std = torch.from_numpy(mean), torch.from_numpy(std)
        return Act(action, log_prob(action, mean, std), mean, std), state


def actor_for(policy: GaussianPolicy, backend: str, threads: int = 1) -> Actor:
    """What acts with a policy's weights: ``torch``, whose threads are the process's, or ``onnx`` with its own."""
    return OnnxActor(policy, threads) if backend == "onnx" else GaussianActor(policy)
