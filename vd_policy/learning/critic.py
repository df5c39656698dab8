"""The value baseline: what return to expect from here on, seen through the policy's own features."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vd_policy.base.settings import setting
from vd_policy.learning.states import State, load_module, load_optimizer, optimizer_state, prefixed, under

STD_FLOOR = 1e-3
"""Features that hardly vary (units that pruning or ReLU silenced) are not blown up."""
FEATURE_LIMIT = 5.0
"""Standardised features are clamped to this, so that a state unlike the recent ones cannot throw the value far off."""


@dataclass(frozen=True)
class CriticSettings:
    """How the critic is built and fitted."""

    hidden: tuple[int, ...] = setting((32,), "widths of the hidden layers", minimum=1)
    window_batches: int = setting(15, "recent batches it is fitted on", minimum=1)
    warmup_batches: int = setting(3, "batches it is fitted on before the policy's first step", minimum=0)
    learning_rate: float = setting(1e-3, "Adam's step size", minimum=0.0)
    fit_steps: int = setting(30, "Adam steps after each batch", minimum=1)
    minibatch: int = setting(256, "samples of one Adam step", minimum=1)
    huber_delta: float = setting(0.2, "error from which the loss is linear [standard deviations]", minimum=1e-3)
    weight_decay: float = setting(0.1, "decoupled weight decay, as of AdamW", minimum=0.0)


class Critic(nn.Module):
    """An MLP from (policy features, joints, time step) to the expected return.

    It sees nothing that the policy does not see but the position in the episode: no cup position, no distance. Inputs
    and returns are standardised by the batches of the window.

    Life cycle: `values` of a batch first, then `remember` and `fit` on it, so that no advantage of a new batch is
    measured against a value that has seen its own return. Those of replayed batches (`replay_batches`) are.
    """

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor

    def __init__(self, inputs: int, settings: CriticSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.generator = generator
        widths = [inputs, *settings.hidden]
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [_linear(a, b, generator), nn.Tanh()]
        self.net = nn.Sequential(*layers, _linear(widths[-1], 1, generator))
        for name, size in (("input", inputs), ("output", 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.window: deque[tuple[Tensor, Tensor]] = deque(maxlen=settings.window_batches)

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Expected return of each sample: features (N, F) to (N,)."""
        return self._standard_values(features) * self.output_std + self.output_mean

    def remember(self, features: Tensor, returns: Tensor) -> None:
        """Add one batch, features (N, F) and returns (N,), to the window."""
        self.window.append((features, returns))

    def fit(self) -> dict[str, float]:
        """Adam steps on the window; returns ``critic_loss``, the mean of the last ten.

        The Huber loss keeps a few failed episodes, whose returns lie far below all others, from spoiling the values of
        the many good ones: there it halved the error (4.6 to 2.0, with returns that spread by 2.1).
        """
        features = torch.cat([f for f, _ in self.window])
        returns = torch.cat([r for _, r in self.window])
        self._standardise(features, returns)
        target = (returns - self.output_mean) / self.output_std
        losses, delta = [], self.settings.huber_delta
        for _ in range(self.settings.fit_steps):
            picked = torch.randint(len(target), (self.settings.minibatch,), generator=self.generator)
            loss = F.huber_loss(self._standard_values(features[picked]), target[picked], delta=delta)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return {"critic_loss": float(torch.stack(losses[-10:]).mean())}

    def _standardise(self, features: Tensor, returns: Tensor) -> None:
        for name, data in (("input", features), ("output", returns[:, None])):
            getattr(self, f"{name}_mean").copy_(data.mean(0))
            getattr(self, f"{name}_std").copy_(data.std(0, correction=0).clamp(min=STD_FLOOR))

    def _standard_values(self, features: Tensor) -> Tensor:
        standard = ((features - self.input_mean) / self.input_std).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        return self.net(standard).squeeze(-1)

    def full_state(self) -> State:
        """Weights, statistics, the optimiser's moments and the window, by flat names."""
        state = prefixed("net", self.state_dict()) | prefixed("adam", optimizer_state(self.optimizer))
        for i, (features, returns) in enumerate(self.window):
            state |= {f"window.{i}.features": features, f"window.{i}.returns": returns}
        return state

    def load_full_state(self, state: State) -> None:
        """Go on from `full_state`."""
        load_module(self, under("net", state), "critic state")
        load_optimizer(self.optimizer, under("adam", state))
        window = under("window", state)
        self.window.clear()
        for i in range(len(window) // 2):
            self.window.append((window[f"{i}.features"], window[f"{i}.returns"]))


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Share of the returns' variance that the values account for; 1 is perfect, 0 no better than their mean."""
    variance = returns.var(correction=0)
    return float(1.0 - (returns - values).var(correction=0) / variance) if variance > 0 else 0.0


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    bound = inputs**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer
