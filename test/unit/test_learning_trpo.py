"""TRPO: its natural gradient, its trust region, and that it solves a small control task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput
from vd_policy.learning.batch import RolloutBatch
from vd_policy.learning.critic import CriticSettings
from vd_policy.learning.natural import conjugate_gradients, fisher_product, line_search
from vd_policy.learning.parameters import FlatParameters
from vd_policy.learning.surrogate import Surrogate
from vd_policy.learning.trpo import TRPO, TRPOSettings, build
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.gaussian import kl


class TinyPolicy(nn.Module):
    """Mean from one hidden layer, standard deviation that depends on the state a little."""

    def __init__(self, inputs: int = 4, hidden: int = 5, actions: int = 2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.hidden = nn.Linear(inputs, hidden)
            self.mean = nn.Linear(hidden, actions)
            self.log_std = nn.Linear(inputs, actions)
            nn.init.constant_(self.log_std.bias, -0.7)
            nn.init.normal_(self.log_std.weight, std=0.05)

    def features(self, obs):
        return torch.tanh(self.hidden(torch.as_tensor(obs["q"])))

    def forward(self, obs):
        return self.mean(self.features(obs)), self.log_std(torch.as_tensor(obs["q"])).clamp(-2.5, 0.5).exp()


class PointTask:
    """A point in the plane, moved by up to 0.4 a step, that is paid for being near a target it sees; 10 steps long."""

    STEPS = 10

    def rollout(self, actor, rng, sequence=0, version=1, explore=True) -> Episode:
        place, target = np.zeros(2), rng.uniform(-1, 1, 2)
        seen, actions, rewards, log_probs = [self._observation(place, target)], [], [], []
        state = actor.begin(1, [rng])
        for _ in range(self.STEPS):
            act, state = actor.act({"q": seen[-1][None]}, state, explore=explore)
            action = act.action[0].numpy()
            place = place + 0.4 * np.clip(action, -1, 1)
            seen.append(self._observation(place, target))
            actions.append(action)
            log_probs.append(float(act.log_prob[0]))
            rewards.append(-float(np.linalg.norm(place - target)))
        arrays = (np.array(a, np.float32) for a in (actions, actions))
        return Episode(
            {"q": np.stack(seen)}, *arrays, None, np.array(rewards, np.float32), np.array(log_probs, np.float32),
            False, True, False, False, "point", sequence, version, "point", 0, target,
        )  # fmt: skip

    def _observation(self, place, target):
        return np.concatenate([place, target]).astype(np.float32)


def learner_of(policy, seed=0, **changes) -> TRPO:
    critic = CriticSettings(warmup_batches=1, fit_steps=20)
    return TRPO(policy, TRPOSettings(critic=critic, **changes), seed=seed, features=policy.features)


def episodes_for(learner, rng, first, count=20):
    task, actor = PointTask(), learner.actor()
    return [task.rollout(actor, rng, first + i, learner.version) for i in range(count)]


def explicit_fisher(policy, parameters, obs) -> torch.Tensor:
    """E[grad log p grad log p'] written out sample by sample, in the outputs' own coordinates."""

    def outputs(vector):
        mean, std = torch.func.functional_call(policy, parameters.named(vector), (obs,))
        return torch.cat([mean, std.log()], dim=1)

    at = parameters.get()
    jacobian = torch.func.jacrev(outputs)(at)
    std = outputs(at)[:, 2:].exp()
    weights = torch.cat([std**-2, torch.full_like(std, 2.0)], dim=1)
    return torch.einsum("nop,no,noq->pq", jacobian, weights, jacobian) / len(std)


@pytest.fixture
def tiny():
    policy = TinyPolicy().double()
    obs = {"q": torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))}
    return policy, FlatParameters(policy), obs


def test_fisher_products_equal_the_explicit_fisher_matrix(tiny):
    policy, parameters, obs = tiny

    def outputs(vector):
        mean, std = torch.func.functional_call(policy, parameters.named(vector), (obs,))
        return mean, std.log()

    product = fisher_product(outputs, parameters.get(), damping=0.1)
    fisher = explicit_fisher(policy, parameters, obs) + 0.1 * torch.eye(len(parameters.get()), dtype=torch.float64)
    for seed in range(3):
        vector = torch.randn(len(fisher), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(product(vector), fisher @ vector, rtol=1e-9, atol=1e-12)


def test_the_fisher_matrix_is_the_curvature_of_the_kl(tiny):
    policy, parameters, obs = tiny
    at = parameters.get()
    with torch.no_grad():
        old = policy(obs)

    def divergence(vector):
        return kl(*old, *torch.func.functional_call(policy, parameters.named(vector), (obs,))).mean()

    hessian = torch.func.hessian(divergence)(at)
    torch.testing.assert_close(hessian, explicit_fisher(policy, parameters, obs), rtol=1e-8, atol=1e-10)


def test_conjugate_gradients_solve_what_numpy_solves():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    matrix, target = root @ root.T + 0.5 * np.eye(12), rng.normal(size=12)
    solution = conjugate_gradients(lambda v: torch.from_numpy(matrix) @ v, torch.from_numpy(target), steps=40)
    np.testing.assert_allclose(solution.numpy(), np.linalg.solve(matrix, target), rtol=1e-5, atol=1e-8)


def test_line_search_takes_the_longest_step_inside_the_trust_region():
    def evaluate(point):
        return float(point.sum()), float(point.square().sum())

    found = line_search(evaluate, torch.zeros(1), torch.ones(1), surrogate_start=0.0, max_kl=0.3, ratio=0.5, tries=5)
    assert found is not None and float(found.parameters) == 0.5 and found.backtracks == 1


def test_line_search_gives_up_where_nothing_improves():
    def worse(point):
        return -float(point.sum()), 0.0

    assert line_search(worse, torch.zeros(1), torch.ones(1), surrogate_start=0.0, max_kl=1, ratio=0.5, tries=5) is None


def test_advantages_treat_the_end_of_every_episode_as_terminal():
    rng = np.random.default_rng(0)
    learner = learner_of(TinyPolicy())
    batch = RolloutBatch.of(episodes_for(learner, rng, 0, count=3))
    values = torch.from_numpy(rng.normal(size=len(batch)).astype(np.float32))
    full = batch.advantages(values, gamma=0.9, gae_lambda=1.0)
    torch.testing.assert_close(full, batch.returns(0.9) - values, rtol=1e-4, atol=1e-5)
    one_step = batch.advantages(values, gamma=0.9, gae_lambda=0.0)
    last = PointTask.STEPS - 1
    assert float(one_step[last]) == pytest.approx(batch.reward[last] - float(values[last]), abs=1e-5)


def test_one_update_improves_the_surrogate_and_keeps_the_kl_in_the_trust_region():
    policy = TinyPolicy()
    learner = learner_of(policy, max_kl=0.02)
    rng = np.random.default_rng(1)
    learner.observe(episodes_for(learner, rng, 0))
    learner.update()
    before = [p.clone() for p in policy.parameters()]
    episodes = episodes_for(learner, rng, 100)
    with torch.no_grad():
        obs = RolloutBatch.of(episodes).obs
        old = policy(obs)
    learner.observe(episodes)
    figures = learner.update()
    with torch.no_grad():
        divergence = float(kl(*old, *policy(obs)).mean())
    assert figures["accepted"] == 1 and figures["surrogate_gain"] > 0
    assert 0 < divergence <= 0.02 and divergence == pytest.approx(figures["kl"], abs=1e-6)
    assert any(not torch.equal(a, b) for a, b in zip(before, policy.parameters()))


def test_the_critic_is_fitted_before_the_first_policy_step():
    policy = TinyPolicy()
    learner = learner_of(policy)
    before = FlatParameters(policy).get()
    learner.observe(episodes_for(learner, np.random.default_rng(0), 0))
    assert learner.due() == 1
    figures = learner.update()
    assert torch.equal(before, FlatParameters(policy).get()) and "critic_loss" in figures and learner.version == 1


def test_no_update_is_due_before_a_batch_of_steps_is_there():
    learner = learner_of(TinyPolicy())
    learner.observe(episodes_for(learner, np.random.default_rng(0), 0, count=19))
    assert learner.due() == 0


def test_trpo_learns_to_steer_a_point_to_its_target():
    policy = TinyPolicy(hidden=16)
    learner = learner_of(policy, max_kl=0.05)
    rng = np.random.default_rng(2)

    def score():
        task, actor = PointTask(), GaussianActor(policy)
        return np.mean([task.rollout(actor, np.random.default_rng(i), explore=False).reward.sum() for i in range(40)])

    before = score()
    for iteration in range(60):
        learner.observe(episodes_for(learner, rng, 1000 * iteration))
        learner.update()
    assert before < -5.0, "the task must not be solved before learning"
    assert score() > -3.0  # straight to the target scores about -1.9


def test_replayed_batches_enter_the_surrogate_with_their_importance_ratios():
    policy = TinyPolicy()
    learner = learner_of(policy, replay_batches=3, max_kl=0.05)
    rng = np.random.default_rng(0)
    for iteration in range(5):
        learner.observe(episodes_for(learner, rng, 1000 * iteration))
        figures = learner.update()
    assert len(learner._window) == 3
    batch = learner._window[0]
    ones = [torch.ones(len(batch))]
    replayed = Surrogate(policy, FlatParameters(policy), [batch], ones, log_ratio_max=0.0)
    assert replayed.value < 1.0, "ratios of an old batch differ from 1 and are clamped"
    assert figures["accepted"] == 1


def test_the_surrogate_is_the_same_in_parts_of_any_size(monkeypatch):
    policy = TinyPolicy()
    learner = learner_of(policy, replay_batches=2)
    rng = np.random.default_rng(0)
    for iteration in range(2):
        learner.observe(episodes_for(learner, rng, 1000 * iteration))
        learner.update()
    batches, parameters = list(learner._window), FlatParameters(policy)
    advantages = [torch.randn(len(batch), generator=torch.Generator().manual_seed(len(batch))) for batch in batches]
    found = []
    for part in (7, len(batches[-1]), 10**6):
        monkeypatch.setattr("vd_policy.learning.surrogate.PART", part)
        surrogate = Surrogate(policy, parameters, batches, advantages, log_ratio_max=1.0)
        beside = surrogate.evaluate(surrogate.start + 0.01)
        found.append((torch.tensor([surrogate.value, *beside]), surrogate.gradient, surrogate.newest_std()))
    assert found[0][1].any() and len(found[0][2]) == len(batches[-1])
    for other in found[1:]:
        for a, b in zip(found[0], other):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_product_is_the_mean_of_the_weights_that_fades_into_the_past():
    learner, rng, seen = learner_of(TinyPolicy(), averaging=0.5), np.random.default_rng(0), []
    assert learner.product() is learner.policy, "nothing to average yet"
    for iteration in range(4):
        learner.observe(episodes_for(learner, rng, 1000 * iteration))
        learner.update()
        seen.append(FlatParameters(learner.policy).get())
    mean = sum(0.5 ** (3 - i) * weights for i, weights in enumerate(seen)) / sum(0.5**i for i in range(4))
    torch.testing.assert_close(FlatParameters(learner.product()).get(), mean)
    assert torch.equal(FlatParameters(learner.policy).get(), seen[-1]) and not torch.equal(seen[-1], mean)
    resumed = learner_of(TinyPolicy(seed=9), seed=5, averaging=0.5)
    resumed.load_state_dict({k: v.clone() for k, v in learner.state_dict().items()})
    assert torch.equal(FlatParameters(resumed.product()).get(), FlatParameters(learner.product()).get())
    other = learner_of(TinyPolicy(seed=9), seed=5)
    other.load_state_dict({k: v.clone() for k, v in learner.state_dict().items()})
    assert other.product() is other.policy, "whoever no longer averages gets the last weights"
    for each in (learner, resumed):
        each.observe(episodes_for(each, np.random.default_rng(9), 9000))
        each.update()
    assert torch.equal(FlatParameters(resumed.product()).get(), FlatParameters(learner.product()).get())


@pytest.mark.parametrize("replay", [1, 3])
def test_a_learner_restored_from_its_state_goes_on_to_the_bit(replay):
    def run(split: bool) -> torch.Tensor:
        rng = np.random.default_rng(0)
        learner = learner_of(TinyPolicy(), replay_batches=replay)
        for iteration in range(6):
            if split and iteration == 4:
                state = {k: v.clone() for k, v in learner.state_dict().items()}
                learner = learner_of(TinyPolicy(seed=9), seed=5, replay_batches=replay)
                learner.load_state_dict(state)
            learner.observe(episodes_for(learner, rng, 1000 * iteration))
            learner.update()
        return FlatParameters(learner.policy).get()

    assert torch.equal(run(split=False), run(split=True))


def test_state_of_another_architecture_is_refused_by_the_name_of_the_tensor():
    other = learner_of(TinyPolicy(hidden=6)).state_dict()
    with pytest.raises(BadInput, match="hidden"):
        learner_of(TinyPolicy()).load_state_dict(other)


def test_a_misspelt_setting_is_refused_with_the_nearest_name():
    with pytest.raises(BadInput, match="max_kl"):
        build({"max_kll": 0.1}, TinyPolicy())
