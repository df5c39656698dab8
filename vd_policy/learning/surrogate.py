"""The surrogate objective of one policy step, on one or several batches of rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vd_policy.learning.batch import RolloutBatch
from vd_policy.learning.parameters import FlatParameters
from vd_policy.policy.gaussian import kl, log_prob

PART = 100
"""Samples of one pass through the network: their activations stay near the processor. 2000 at once take half as long
again."""
HELD_BYTES = 1 << 29
"""Inputs are made anew for each pass where all of them take more than this."""
Inputs = Callable[[Any], Any]
"""Makes network inputs of raw observations, and leaves network inputs as they are."""


class _Part(NamedTuple):
    """Some steps of a batch, as views."""

    obs: Any
    """Raw observations, or the network's inputs."""
    action: Tensor
    log_prob: Tensor
    advantage: Tensor


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
        inputs: makes network inputs, tensors of equal length, of observations; by default `policy` does so in each of
            its passes.
    """

    def __init__(
        self,
        policy: nn.Module,
        parameters: FlatParameters,
        batches: Sequence[RolloutBatch],
        advantages: Sequence[Tensor],
        log_ratio_max: float,
        inputs: Inputs = dict,
    ) -> None:
        self._policy = policy
        self._parameters = parameters
        self._parts = [part for pair in zip(batches, advantages, strict=True) for part in _parts(*pair)]
        self._newest = -(-len(batches[-1]) // PART)
        self._log_ratio_max = log_ratio_max
        self._count = sum(map(len, batches))
        self.start = parameters.get()
        self.value = 0.0
        self.gradient = torch.zeros_like(self.start)
        self._old: list[tuple[Tensor, Tensor]] = []
        for i, raw in enumerate(self._parts):
            part = raw._replace(obs=inputs(raw.obs))
            self._look_at(part)
            if may_be_held(part.obs, self._count):
                self._parts[i] = part

    def _look_at(self, part: _Part) -> None:
        """Value, gradient and outputs at the start in one pass, with one part's activations in memory at a time."""
        mean, std = self._policy(part.obs)
        gain = self._gain(mean, std, part)
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
        for part, old in zip(self._parts, self._old, strict=True):
            mean, std = self.outputs(vector, part.obs)
            gain += float(self._gain(mean, std, part))
            divergence += float(kl(*old, mean, std).sum()) / self._count
        return gain, divergence

    def newest_std(self) -> Tensor:
        """Standard deviation at the start on the newest batch, (N, A)."""
        return torch.cat([std for _, std in self._old[-self._newest :]])

    def _gain(self, mean: Tensor, std: Tensor, part: _Part) -> Tensor:
        log_ratio = log_prob(part.action, mean, std) - part.log_prob
        return (log_ratio.clamp(max=self._log_ratio_max).exp() * part.advantage).sum() / self._count


def may_be_held(inputs: Any, steps: int) -> bool:
    """Whether there is room for so many steps of network inputs (or observations) like these."""
    tensors = inputs.values() if isinstance(inputs, dict) else inputs
    return steps * sum(t.nbytes / len(t) for t in tensors) <= HELD_BYTES


def _parts(batch: RolloutBatch, advantage: Tensor) -> Iterator[_Part]:
    for start in range(0, len(batch), PART):
        rows = slice(start, start + PART)
        yield _Part(batch.rows(rows), batch.action[rows], batch.log_prob[rows], advantage[rows])
