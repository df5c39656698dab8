"""Trust-region policy optimisation: the RL phase of the paper (section IV), for any Gaussian policy.

Source: Schulman et al. 2015; advantages by GAE (Schulman et al. 2016). `docs/papers.md` lists where the recipe
``trpo_c8`` departs from it: its surrogate reuses the last batches through importance ratios.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vd_policy.base import settings as base_settings
from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import Seeds
from vd_policy.base.settings import setting
from vd_policy.learning.average import WeightAverage
from vd_policy.learning.batch import RolloutBatch
from vd_policy.learning.critic import Critic, CriticSettings, explained_variance
from vd_policy.learning.intake import Intake
from vd_policy.learning.natural import Outputs, conjugate_gradients, fisher_product, line_search
from vd_policy.learning.parameters import FlatParameters, unmasked
from vd_policy.learning.states import State, from_json_tensor, json_tensor, load_module, prefixed, under
from vd_policy.learning.surrogate import Inputs, Surrogate, may_be_held
from vd_policy.policy.actor import Actor, GaussianActor
from vd_policy.policy.gaussian import GaussianPolicy, entropy
from vd_policy.policy.layers import regularised_layers
from vd_policy.policy.tangent import PolicyTangent

COUNTED = ("used", "unusable", "duplicate", "stale", "reordered", "lost")
"""What the learner's figures say about arriving rollouts; see `Intake`."""


@dataclass(frozen=True)
class TRPOSettings:
    """Every number of the method; the defaults are the paper's recipe where it states one."""

    batch_steps: int = setting(200, "environment steps of one iteration (section V-A)", minimum=1)
    max_kl: float = setting(0.01, "trust region: mean KL divergence of one step", minimum=0.0)
    gamma: float = setting(0.99, "discount factor", minimum=0.0, maximum=1.0)
    gae_lambda: float = setting(0.97, "decay of the advantage estimates", minimum=0.0, maximum=1.0)
    damping: float = setting(0.1, "added to the Fisher matrix's diagonal", minimum=0.0)
    cg_steps: int = setting(10, "conjugate-gradient iterations", minimum=1)
    fisher_fraction: float = setting(0.2, "share of the batch the Fisher matrix is taken on", minimum=0.0, maximum=1.0)
    backtrack_ratio: float = setting(0.7, "each try of the line search is this much shorter", minimum=0.0, maximum=1.0)
    backtrack_tries: int = setting(12, "tries of the line search before the step is given up", minimum=1)
    replay_batches: int = setting(1, "recent batches in the surrogate; 1 is plain TRPO", minimum=1)
    log_ratio_max: float = setting(1.0, "importance ratios are clamped at exp of this", minimum=0.0)
    max_weight_lag: int = setting(2, "rollouts from weights older than this many versions are dropped", minimum=0)
    averaging: float = setting(
        0.0, "a run saves the mean of the weights after each update, the last but one counting this share of the last; "
        "0: the last weights", minimum=0.0, maximum=0.999,
    )  # fmt: skip
    critic: CriticSettings = field(default_factory=CriticSettings)


class TRPO:
    """A `Learner`: natural-gradient steps on whole episodes.

    The end of an episode counts as terminal, its time limit included. An update that turns out unusable (NaN gradient,
    curvature not positive, no try of the line search inside the trust region) changes nothing, is counted in
    `rejected`, and training goes on.

    Args:
        policy: or any module with ``forward(obs) -> (mean, std)``, (N, A) each; its trainable parameters are the ones
            that move.
        settings: see `TRPOSettings`.
        seed: root of the learner's own random numbers.
        version: weight version that `policy` starts with.
        features: what the critic sees of an observation, (N, F); by default the policy's own encoder.
    """

    method = "trpo"

    def __init__(
        self,
        policy: GaussianPolicy,
        settings: TRPOSettings | None = None,
        *,
        seed: int = 0,
        version: int = 1,
        features: Callable[[dict[str, Tensor]], Tensor] | None = None,
    ) -> None:
        self.policy = policy.eval()  # no layer with dropout is left; acting need not switch back and forth
        self.settings = settings or TRPOSettings()
        self.version = version
        self.updates = 0
        self.rejected: Counter[str] = Counter()
        self.intake = Intake(self.settings.max_weight_lag, _observation_shapes(policy))
        self._features = features or policy.mean.encoder
        self._parameters = FlatParameters(policy)
        self._unmasked = unmasked(policy)
        spec = getattr(policy, "spec", None)
        self._inputs: Inputs = dict if spec is None else spec.normalise
        self._generator = torch.Generator().manual_seed(Seeds(seed).integer("trpo"))
        self._pending: list[Episode] = []
        self._window: deque[RolloutBatch] = deque(maxlen=self.settings.replay_batches)
        self._critic: Critic | None = None
        self._average = WeightAverage(self.settings.averaging)

    @property
    def collect_steps(self) -> int:
        """One batch."""
        return self.settings.batch_steps

    def observe(self, episodes: list[Episode]) -> None:
        """Queue episodes for the next update; what `Intake` does not admit is dropped and counted."""
        self._pending += [e for e in episodes if self.intake.admit(e, self.version)]

    def due(self) -> int:
        """1 once the queued episodes hold a batch of steps, else 0."""
        return int(sum(map(len, self._pending)) >= self.settings.batch_steps)

    def update(self) -> dict[str, float]:
        """Fit the critic on all queued episodes and, once it is warm, take one policy step."""
        episodes = [e for e in self._pending if self.intake.is_fresh(e, self.version)]
        self.intake.counts["stale"] += len(self._pending) - len(episodes)
        self._pending = []
        if not episodes:
            return self._counters()
        batch = self._prepare(RolloutBatch.of(episodes))
        self._window.append(batch)
        critic, returns = self._critic_for(batch), batch.returns(self.settings.gamma)
        figures = {"explained_variance": explained_variance(critic.values(batch.features), returns)}
        if self.updates >= self.settings.critic.warmup_batches:
            figures |= self._policy_step(critic)
        critic.remember(batch.features, returns)
        figures |= critic.fit()
        batch.inputs = None
        self.updates += 1
        if self.settings.averaging:
            self._average.add(self._parameters.get())
        return figures | self._counters()

    def actor(self) -> Actor:
        """Acts with the learner's own policy: after an update it acts with the new weights."""
        return GaussianActor(self.policy)

    def product(self) -> GaussianPolicy:
        """The policy with the mean of the weights so far where `averaging` asks for it, else the policy itself."""
        if not self.settings.averaging or self._average.value is None:
            return self.policy
        product = copy.deepcopy(self.policy)
        FlatParameters(product).set(self._average.value)
        return product

    def _prepare(self, batch: RolloutBatch) -> RolloutBatch:
        with torch.no_grad():
            inputs = self._inputs(batch.obs)
            features = self._features(inputs)
        if not isinstance(inputs, dict) and may_be_held(inputs, len(batch)):
            batch.inputs = inputs
        joints = batch.obs["q"].to(torch.float32).flatten(1)
        batch.features = torch.cat([features, joints, batch.time[:, None]], dim=1)
        return batch

    def _critic_for(self, batch: RolloutBatch) -> Critic:
        if self._critic is None:
            self._critic = Critic(batch.features.shape[1], self.settings.critic, self._generator)
        return self._critic

    def _policy_step(self, critic: Critic) -> dict[str, float]:
        s = self.settings
        advantages = [b.advantages(critic.values(b.features), s.gamma, s.gae_lambda) for b in self._window]
        surrogate = Surrogate(self._unmasked, self._parameters, self._window, _standardised(advantages),
                              s.log_ratio_max, self._inputs)  # fmt: skip
        std = surrogate.newest_std()
        figures = {"entropy": float(entropy(std).mean()), "std": float(std.mean()), "accepted": 0.0, "kl": 0.0}
        figures["gradient_norm"] = float(surrogate.gradient.norm())
        step = self._trust_region_step(surrogate)
        if step is None:
            return figures
        found = line_search(
            surrogate.evaluate, surrogate.start, step, surrogate_start=surrogate.value, max_kl=s.max_kl,
            ratio=s.backtrack_ratio, tries=s.backtrack_tries,
        )  # fmt: skip
        if found is None:
            self.rejected["line_search"] += 1
            return figures
        self._parameters.set(found.parameters)
        self.version += 1
        gain, backtracks = found.surrogate - surrogate.value, float(found.backtracks)
        return figures | {"accepted": 1.0, "kl": found.kl, "surrogate_gain": gain, "backtracks": backtracks}

    def _trust_region_step(self, surrogate: Surrogate) -> Tensor | None:
        """The natural-gradient step of length ``sqrt(2 max_kl / s'Hs)``, (P,), or None where there is none."""
        gradient = surrogate.gradient
        if not torch.isfinite(gradient).all():
            self.rejected["gradient"] += 1
            return None
        newest = self._window[-1]
        count = max(1, round(self.settings.fisher_fraction * len(newest)))
        sample = self._inputs(newest.subset(torch.randperm(len(newest), generator=self._generator)[:count]))

        def outputs(vector: Tensor) -> tuple[Tensor, Tensor]:
            mean, std = surrogate.outputs(vector, sample)
            return mean, std.log()

        fisher = fisher_product(outputs, surrogate.start, self.settings.damping, self._tangent(sample))

        def product(vector: Tensor) -> Tensor:
            return fisher(vector) * self._parameters.mask

        direction = conjugate_gradients(product, gradient, self.settings.cg_steps)
        curvature = float(direction.dot(product(direction)))
        if not 0.0 < curvature < float("inf"):
            self.rejected["curvature"] += 1
            return None
        return (2.0 * self.settings.max_kl / curvature) ** 0.5 * direction

    def _tangent(self, sample: Any) -> Outputs | None:
        """How the outputs on a sample change along a direction, at the policy's present weights."""
        if not isinstance(self._unmasked, GaussianPolicy):
            return None
        tangent = PolicyTangent(self._unmasked, sample)
        return lambda vector: tangent.push(self._parameters.named(vector))

    def _counters(self) -> dict[str, float]:
        counts = {f"rollouts_{name}": self.intake.counts[name] for name in COUNTED}
        return {name: float(n) for name, n in (counts | {"rejected_updates": self.rejected.total()}).items()}

    def state_dict(self) -> State:
        """Policy, critic, replayed batches, counters and random state, by flat names.

        Episodes that wait for the next update are not part of it; the train loop saves when none wait.
        """
        counters: dict[str, Any] = {"version": self.version, "updates": self.updates, "rejected": dict(self.rejected)}
        counters["intake"] = self.intake.state()
        state = prefixed("policy", self.policy.state_dict())
        state |= {"random": self._generator.get_state(), "counters": json_tensor(counters)}
        if self._critic is not None:
            state |= prefixed("critic", self._critic.full_state())
        state |= prefixed("average", self._average.state())
        for i, batch in enumerate(self._window):
            state |= prefixed(f"window.{i}", batch.tensors())
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from `state_dict`; `BadInput` where its tensors are not those of this policy."""
        load_module(self.policy, under("policy", state), "learner state")
        counters = from_json_tensor(state["counters"])
        self.version, self.updates = counters["version"], counters["updates"]
        self.rejected = Counter(counters["rejected"])
        self.intake.load(counters["intake"])
        self._pending = []
        self._critic = None
        if critic := under("critic", state):
            self._critic = Critic(len(critic["net.input_mean"]), self.settings.critic, self._generator)
            self._critic.load_full_state(critic)
        self._average.load(under("average", state))
        window = under("window", state)
        self._window.clear()
        for i in range(sum(name.endswith(".log_prob") for name in window)):
            self._window.append(RolloutBatch.from_tensors(under(str(i), window)))
        self._generator.set_state(state["random"])  # last: building the critic drew from it


def build(config: Mapping[str, Any], policy: GaussianPolicy, *, seed: int = 0, version: int = 1) -> TRPO:
    """The learner that a recipe describes.

    Args:
        config: fields of `TRPOSettings` by name, ``critic`` as a nested mapping.
        policy: a policy without dropout layers, pruned or dense.

    Raises:
        BadInput: a setting is wrong, or `policy` still holds dropout layers.
    """
    if regularised_layers(policy):
        raise BadInput("policy", "with dropout layers", "a pruned or dense policy", "vd_policy prune RUN --out PRUNED")
    return TRPO(policy, base_settings.build(TRPOSettings, config, "trpo"), seed=seed, version=version)


def _observation_shapes(policy: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of one step's observation, by the policy's spec; empty for a policy without one."""
    spec = getattr(policy, "spec", None)
    if spec is None:
        return {}
    size = (spec.image_height, spec.image_width)
    return {"rgb": (*size, 3), "depth": size, "q": (spec.action_size,)}


def _standardised(advantages: list[Tensor]) -> list[Tensor]:
    together = torch.cat(advantages)
    mean, std = together.mean(), together.std(correction=0) + 1e-8
    return [(a - mean) / std for a in advantages]
