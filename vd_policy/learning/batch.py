"""Whole episodes laid end to end, as a policy-gradient step wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vd_policy.base.episode import Episode


@dataclass
class RolloutBatch:
    """N steps of several episodes, without the observations after the last actions: every end is terminal."""

    obs: dict[str, Tensor]
    """Raw observations, (N, ...)."""
    action: Tensor
    """(N, A)."""
    log_prob: Tensor
    """Under the policy that acted, (N,)."""
    reward: np.ndarray
    """(N,) float64."""
    time: Tensor
    """Position in the episode, (N,) float32."""
    lengths: list[int]
    """Steps of each episode; their sum is N."""
    features: Tensor = field(default_factory=lambda: torch.empty(0))
    """What the critic sees, (N, F); the learner fills it in."""
    inputs: Any = None
    """What the network makes of `obs`, tensors (N, ...) in a named tuple, while an update needs it; never saved."""

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> RolloutBatch:
        """Episodes of at least one step each."""
        lengths = [len(e) for e in episodes]
        obs = {k: np.concatenate([np.asarray(e.obs[k])[:-1] for e in episodes]) for k in episodes[0].obs}
        times = np.concatenate([np.arange(n, dtype=np.float32) for n in lengths])
        return cls(
            obs={k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in obs.items()},
            action=torch.from_numpy(np.concatenate([e.action for e in episodes]).astype(np.float32)),
            log_prob=torch.from_numpy(np.concatenate([e.log_prob for e in episodes]).astype(np.float32)),
            reward=np.concatenate([e.reward for e in episodes]).astype(np.float64),
            time=torch.from_numpy(times),
            lengths=lengths,
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by flat names; `from_tensors` takes it back."""
        state = {f"obs.{k}": v for k, v in self.obs.items()}
        state |= {name: getattr(self, name) for name in ("action", "log_prob", "time")}
        return state | {
            "reward": torch.from_numpy(self.reward),
            "lengths": torch.tensor(self.lengths),
            "features": self.features,
        }

    @classmethod
    def from_tensors(cls, state: dict[str, Tensor]) -> RolloutBatch:
        """The inverse of `tensors`."""
        return cls(
            obs={k.removeprefix("obs."): v for k, v in state.items() if k.startswith("obs.")},
            reward=state["reward"].numpy(),
            lengths=state["lengths"].tolist(),
            **{name: state[name] for name in ("action", "log_prob", "time", "features")},
        )

    def __len__(self) -> int:
        return len(self.reward)

    def rows(self, rows: slice) -> Any:
        """`inputs` where they are there, else `obs`, of some steps, as views."""
        if self.inputs is not None:
            return type(self.inputs)(*(values[rows] for values in self.inputs))
        return {name: values[rows] for name, values in self.obs.items()}

    def subset(self, indices: Tensor) -> dict[str, Tensor]:
        """The observations at `indices` (M,)."""
        return {k: v[indices] for k, v in self.obs.items()}

    def returns(self, gamma: float) -> Tensor:
        """Discounted sum of the rewards to the end of the episode, (N,) float32."""
        return self._backwards(self.reward, gamma)

    def advantages(self, values: Tensor, gamma: float, gae_lambda: float) -> Tensor:
        """Generalised advantage estimates for the critic's `values` (N,), (N,) float32.

        The end of an episode counts as terminal, the time limit included: bootstrapping there makes failing fast the
        best policy of the reach task. Source: Schulman et al. 2016, eq. 16.
        """
        value = values.detach().numpy().astype(np.float64)
        following = np.append(value[1:], 0.0)
        following[np.cumsum(self.lengths) - 1] = 0.0
        return self._backwards(self.reward + gamma * following - value, gamma * gae_lambda)

    def _backwards(self, values: np.ndarray, decay: float) -> Tensor:
        """``out[t] = values[t] + decay * out[t + 1]`` within each episode."""
        out = np.empty(len(values))
        start = 0
        for length in self.lengths:
            carried = 0.0
            for t in range(start + length - 1, start - 1, -1):
                carried = values[t] + decay * carried
                out[t] = carried
            start += length
        return torch.from_numpy(out.astype(np.float32))
