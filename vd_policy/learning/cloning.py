"""Behavioural cloning of an expert's labels by the means of a policy, under one of three regularisers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import Seeds
from vd_policy.base.settings import setting
from vd_policy.learning.states import State, load_module, load_optimizer, optimizer_state, prefixed, under
from vd_policy.policy.cost import filter_shares
from vd_policy.policy.filters import FilterVariationalConv2d
from vd_policy.policy.gaussian import GaussianPolicy, log_prob
from vd_policy.policy.layers import total_kl

METHODS = ("vd", "l2", "none")


@dataclass(frozen=True)
class CloningSettings:
    """Every number of the objective and its optimiser."""

    method: str = setting("vd", "regulariser: sparse variational dropout, L2, or none", choices=METHODS)
    epochs: int = setting(200, "passes over the training samples", minimum=1)
    batch: int = setting(100, "samples of one Adam step", minimum=1)
    learning_rate: float = setting(1e-3, "Adam's step size", minimum=0.0)
    decay: float | None = setting(None, "share of the steps, the last ones, in which Adam's step size falls to 0",
                                  minimum=0.01, maximum=1.0)  # fmt: skip
    likelihood_std: float = setting(0.1, "sigma_psi of the likelihood, fixed [action units]", minimum=1e-3)
    kl_warmup: float = setting(0.4, "share of all steps in which the KL's weight rises to 1", minimum=0.0, maximum=1.0)
    filter_kl: float = setting(
        0.0, "dropout of whole filters, with vd: how many weights' KL that of an average filter counts as", minimum=0.0
    )
    l2_weight: float = setting(1e-4, "weight of the sum of squares in units of the mean squared error", minimum=0.0)

    def __post_init__(self) -> None:
        if self.filter_kl > 0 and self.method != "vd":
            raise BadInput("filter_kl", self.filter_kl, f"0 with method {self.method}", "clone with method vd")
        if self.filter_kl > 0 and self.kl_warmup == 1:
            raise BadInput("kl_warmup", self.kl_warmup, "below 1 with filter_kl, which begins after it", "lower it")

    @property
    def layers(self) -> str:
        """Family of the layers that are cloned, a key of `FAMILIES`."""
        if self.method != "vd":
            return "dense"
        return "variational_filters" if self.filter_kl > 0 else "variational"


class Cloning:
    """The objective of eqs. 1-3 and its Adam steps on the means of `policy`; its standard deviations stay as they are.

    Each step's dropout noise is seeded by the step's number, so nothing but the weights, the optimiser's moments and
    the step number is needed to go on exactly.

    Args:
        policy: its means are of the family that the settings name.
        samples: N, the number of training samples that the KL divergence is shared over.
        steps: all steps of the training, for the warm-up.
        seed: root of the noise.
    """

    def __init__(
        self, policy: GaussianPolicy, settings: CloningSettings, *, samples: int, steps: int, seed: int
    ) -> None:
        self.policy, self.settings = policy, settings
        self.step_count = 0
        self._samples, self._steps = samples, steps
        self._seeds = Seeds(seed)
        self._std = torch.full((policy.spec.action_size,), settings.likelihood_std)
        self._weights = [p for n, p in policy.mean.named_parameters() if n.endswith("weight")]
        filters = [layer for layer in policy.mean.encoder.conv if isinstance(layer, FilterVariationalConv2d)]
        self._filters = list(zip(filter_shares(policy.mean.shape, policy.spec), filters))
        self._optimizer = torch.optim.Adam(policy.mean.parameters(), lr=settings.learning_rate)

    def step(self, obs: Obs, labels: np.ndarray | Tensor) -> dict[str, float]:
        """One Adam step on a batch of observations (M, ...) and labels (M, A).

        Raises:
            VdPolicyError: the loss is NaN or infinite; the weights are those of before the step.
        """
        self.policy.mean.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seeds.integer("dropout", self.step_count))
            mean = self.policy.mean(obs)
        nll = self.nll(mean, labels)
        penalty = self._penalty()
        loss = nll + penalty
        if not math.isfinite(float(loss.detach())):
            raise VdPolicyError(
                f"cloning diverged: the loss is {float(loss.detach())} at step {self.step_count}; the last "
                "checkpoint is intact; lower learning_rate, or resume from it with --allow-changed"
            )
        self._optimizer.zero_grad()
        loss.backward()
        for group in self._optimizer.param_groups:
            group["lr"] = self.step_size
        self._optimizer.step()
        self.step_count += 1
        return {"loss": float(loss.detach()), "nll": float(nll.detach()), "penalty": float(penalty.detach())}

    def nll(self, mean: Tensor, labels: np.ndarray | Tensor) -> Tensor:
        """Mean negative log-likelihood of labels (M, A) under N(mean, likelihood_std): -L_D / N of eq. 3, a scalar."""
        return -log_prob(torch.as_tensor(labels), mean, self._std.expand_as(mean)).mean()

    @property
    def step_size(self) -> float:
        """Adam's; constant until the last `decay` of the steps."""
        left = 1.0 - self.step_count / self._steps
        return self.settings.learning_rate * (min(1.0, left / self.settings.decay) if self.settings.decay else 1.0)

    @property
    def kl_weight(self) -> float:
        """beta: rises linearly from 0 to 1 over the warm-up."""
        return _risen(self.step_count, self._warmup)

    @property
    def filter_kl_weight(self) -> float:
        """Of an average filter's KL: rises once that of the weights has, over as many steps or all that are left.

        At once it can drop every filter of a network that does not see yet.
        """
        after = max(0.0, self.step_count - self._warmup)
        return self.settings.filter_kl * _risen(after, min(self._warmup, self._steps - self._warmup))

    @property
    def _warmup(self) -> float:
        """Steps in which the weights' KL rises."""
        return self.settings.kl_warmup * self._steps

    def _penalty(self) -> Tensor:
        """What the regulariser adds to the loss: beta KL / N, or the weighted sum of squares."""
        if self.settings.method == "vd":
            return (self.kl_weight * total_kl(self.policy.mean) + self._filter_kl()) / self._samples
        if self.settings.method == "l2":
            mse_to_nll = 0.5 * len(self._std) / self.settings.likelihood_std**2
            return self.settings.l2_weight * mse_to_nll * torch.stack([w.square().sum() for w in self._weights]).sum()
        return torch.zeros(())

    def _filter_kl(self) -> Tensor:
        """Weighted KL of the filters' factors, each the more the dearer its filter."""
        if not self._filters:
            return torch.zeros(())
        divergences = [share * layer.filter_kl() for share, layer in self._filters]
        return self.filter_kl_weight * torch.stack(divergences).sum()

    def state_dict(self) -> State:
        """Weights, Adam's moments and the step number, by flat names."""
        state = prefixed("policy", self.policy.state_dict()) | prefixed("adam", optimizer_state(self._optimizer))
        return state | {"step": torch.tensor(self.step_count)}

    def load_state_dict(self, state: State) -> None:
        """Go on from `state_dict`; `BadInput` where its tensors are not those of this policy."""
        load_module(self.policy, under("policy", state), "training state")
        load_optimizer(self._optimizer, under("adam", state))
        self.step_count = int(state["step"])


def _risen(steps: float, warmup: float) -> float:
    """From 0 to 1 in `warmup` steps."""
    return min(1.0, steps / warmup) if warmup > 0 else 1.0
