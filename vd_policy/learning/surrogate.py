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

    Attributes:
        start: the parameters at construction, (P,).
        value: the surrogate there.
        gradient: its masked gradient there, (P,).

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
        self.value = 0.0
        self.gradient = torch.zeros_like(self.start)
        self._old: list[tuple[Tensor, Tensor]] = []
        for batch, advantage in zip(self._batches, self._advantages, strict=True):
            self._look_at(batch, advantage)

    def _look_at(self, batch: RolloutBatch, advantage: Tensor) -> None:
        """Value, gradient and outputs at the start in one pass, with one batch in memory at a time."""
        mean, std = self._policy(batch.obs)
        gain = self._gain(mean, std, batch, advantage)
        self.value += float(gain.detach())
        self.gradient += self._parameters.gradient(gain)
        self._old.append((mean.detach(), std.detach()))

    def outputs(self, vector: Tensor, obs: object) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (N, A) each, that the policy would give with the parameters `vector`."""
        return torch.func.functional_call(self._policy, self._parameters.named(vector), (obs,))

    @torch.no_grad()
    def evaluate(self, vector: Tensor) -> tuple[float, float]:
        """Surrogate, and mean KL divergence from the start, at `vector`."""
        gain = divergence = 0.0
        for batch, advantage, old in zip(self._batches, self._advantages, self._old, strict=True):
            mean, std = self.outputs(vector, batch.obs)
            gain += float(self._gain(mean, std, batch, advantage))
            divergence += float(kl(*old, mean, std).sum()) / self._count
        return gain, divergence

    def newest(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation at the start on the newest batch, (N, A) each."""
        return self._old[-1]

    def _gain(self, mean: Tensor, std: Tensor, batch: RolloutBatch, advantage: Tensor) -> Tensor:
        log_ratio = log_prob(batch.action, mean, std) - batch.log_prob
        return (log_ratio.clamp(max=self._log_ratio_max).exp() * advantage).sum() / self._count
