"""What chooses actions: all that a policy node and a collector know of learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.policy.gaussian import GaussianPolicy, log_prob

State = dict[str, Any]
"""What an actor remembers between two steps of the same episodes; private to the actor."""


class Act(NamedTuple):
    """One decision for each of B episodes, in action units."""

    action: Tensor
    """(B, A) float32, not clipped."""
    log_prob: Tensor
    """Log density of `action`, (B,)."""
    mean: Tensor
    """(B, A)."""
    std: Tensor
    """(B, A)."""


class Actor(Protocol):
    """Anything that acts. `begin` once when B episodes start, then `act` once a step."""

    def begin(self, batch: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> State: ...

    def act(self, obs: Obs, state: State, *, explore: bool) -> tuple[Act, State]: ...


def row_generators(batch: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> State:
    """One generator for each row, so that a row's noise does not depend on who shares its batch.

    Args:
        batch: B.
        rng: a generator whose children the rows get, or one generator for each row.
    """
    rows = list(rng) if isinstance(rng, Sequence) else rng.spawn(batch)
    if len(rows) != batch:
        raise BadInput(
            "generators", len(rows), f"one for each of {batch} rows", "pass one generator, or a list of that length"
        )
    return {"rngs": rows}


def noise(state: State, size: int) -> np.ndarray:
    """Standard normal noise, each row from its own of the `row_generators`, (B, size) float32."""
    return np.stack([rng.standard_normal(size, dtype=np.float32) for rng in state["rngs"]])


class GaussianActor:
    """Acts by a `GaussianPolicy`: a sample when exploring, the mean otherwise.

    The policy is read, never copied: a change of its weights shows in the next act.
    """

    def __init__(self, policy: GaussianPolicy) -> None:
        self.policy = policy

    def begin(self, batch: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> State:
        return row_generators(batch, rng)

    def act(self, obs: Obs, state: State, *, explore: bool) -> tuple[Act, State]:
        """Decide for raw observations with leading dimension (B,), arrays or tensors."""
        was_training = self.policy.training
        if was_training:
            self.policy.eval()
        with torch.inference_mode():
            mean, std = self.policy(obs)
            action = mean + std * torch.from_numpy(noise(state, mean.shape[1])).to(mean.device) if explore else mean
            act = Act(action, log_prob(action, mean, std), mean, std)
        if was_training:
            self.policy.train()
        return act, state


class UniformActor:
    """The untrained baseline: every action of the box [-1, 1]^A is equally likely."""

    def __init__(self, action_size: int) -> None:
        self.action_size = action_size

    def begin(self, batch: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> State:
        return row_generators(batch, rng)

    def act(self, obs: Obs, state: State, *, explore: bool) -> tuple[Act, State]:
        """Draw from the box, or stay still when not exploring."""
        shape = (len(state["rngs"]), self.action_size)
        mean, std = torch.zeros(shape), torch.full(shape, 1.0 / math.sqrt(3.0))
        rows = [rng.uniform(-1.0, 1.0, self.action_size) for rng in state["rngs"]]
        action = torch.from_numpy(np.stack(rows).astype(np.float32)) if explore else mean
        return Act(action, torch.full(shape[:1], -self.action_size * math.log(2.0)), mean, std), state
