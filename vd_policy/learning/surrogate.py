"""The surrogate objective of one policy step, on one or several batches of rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vd_policy.learning.batch import RolloutBatch
from vd_policy.learning.parameters import FlatParameters
from vd_policy.policy.gaussian import kl, log_prob


class Surrogate:
    """Mean of importance ratio times advantage, as a function of the flat parameters (P,).

    The ratio is against the density under which each action was really drawn, so rollouts from slightly older weights
    and replayed batches are legitimate; its logarithm is clamped from above at `log_ratio_max`. The KL divergence is
    measured from the parameters at construction. The module's own parameters are never touched.

    Args:
        policy: ``forward(obs) -> (mean, std)``.
        parameters: the flat view of `policy`.
        batches: rollouts; `advantages` has one tensor (N,) for each.
    """

    def __init__(
        self,
        policy: nn.Module,
        parameters: FlatParameters,
        batches: Sequence[RolloutBatch],
        advantages: Sequence[Tensor],
        log_ratio_max: float,
    ) -> None:
        self._policy = policy
        self._parameters = parameters
        self._batches = tuple(batches)
        self._advantages = tuple(advantages)
        self._log_ratio_max = log_ratio_max
        self._count = sum(map(len, self._batches))
        self.start = parameters.get()
        with torch.no_grad():
            self._old = [self.outputs(self.start, batch.obs) for batch in self._batches]
        self.value = self.evaluate(self.start)[0]

    def outputs(self, vector: Tensor, obs: object) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (N, A) each, that the policy would give with the parameters `vector`."""
        return torch.func.functional_call(self._policy, self._parameters.named(vector), (obs,))

    def gradient(self) -> Tensor:
        """Masked gradient at the start, (P,); one batch is in memory at a time."""
        total = torch.zeros_like(self.start)
        for batch, advantage in zip(self._batches, self._advantages, strict=True):
            mean, std = self._policy(batch.obs)
            total += self._parameters.gradient(self._gain(mean, std, batch, advantage))
        return total

    @torch.no_grad()
    def evaluate(self, vector: Tensor) -> tuple[float, float]:
        """Surrogate, and mean KL divergence from the start, at `vector`."""
        gain = divergence = 0.0
        for batch, advantage, old in zip(self._batches, self._advantages, self._old, strict=True):
            mean, std = self.outputs(vector, batch.obs)
            gain += float(self._gain(mean, std, batch, advantage))
            divergence += float(kl(*old, mean, std).sum()) / self._count
        return gain, divergence

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation at the start on the newest batch, (N, A) each."""
        return self._old[-1]

    def _gain(self, mean: Tensor, std: Tensor, batch: RolloutBatch, advantage: Tensor) -> Tensor:
        log_ratio = log_prob(batch.action, mean, std) - batch.log_prob
        return (log_ratio.clamp(max=self._log_ratio_max).exp() * advantage).sum() / self._count
