"""A running average of weights: steadier than any of the policies that it is made of.

Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992), here with a fading memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vd_policy.learning.states import State


class WeightAverage:
    """Mean of the vectors (P,) added so far, each counting `decay` times as much as the next one.

    Args:
        decay: 0 is the newest vector alone, close to 1 a long memory.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.value: Tensor | None = None
        """(P,); none before the first `add`."""
        self._count = 0

    def add(self, vector: Tensor) -> None:
        """Take in the newest vector."""
        self._count += 1
        share = (1.0 - self.decay) / (1.0 - self.decay**self._count)
        self.value = vector.clone() if self.value is None else torch.lerp(self.value, vector, share)

    def state(self) -> State:
        """Value and count, by flat names; empty before the first `add`."""
        return {} if self.value is None else {"value": self.value, "count": torch.tensor(self._count)}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.value = state["value"].clone() if state else None
        self._count = int(state["count"]) if state else 0
