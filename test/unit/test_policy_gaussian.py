"""The Gaussian policy, its actor, and what both make of an observation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from policy_samples import SMALL, lively, random_obs, small_policy, small_spec

from vd_policy.base.errors import BadInput
from vd_policy.policy.actor import GaussianActor, UniformActor
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, entropy, exploring, kl, log_prob, new_policy
from vd_policy.policy.network import Encoder, NetworkSettings
from vd_policy.policy.observation import ObservationSpec


def test_pixels_and_joints_are_centred_and_scaled():
    spec = small_spec(1, 3)
    obs = {
        "rgb": np.array([[[[0, 255, 51], [255, 0, 0], [0, 0, 255]]]], np.uint8),
        "depth": np.array([[[500, 2000, 1000]]], np.uint16),
        "q": np.array([[0.5, 0.5 + math.pi, 0.5 - math.pi]], np.float32),
    }
    image, joints = spec.normalise(obs)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6, -0.5]))
    torch.testing.assert_close(image[0, 3, 0], torch.tensor([-0.5, 1.0, 0.0]))
    torch.testing.assert_close(joints, torch.tensor([[0.0, 1.0, -1.0]]))
    assert obs["depth"][0, 0, 0] == 500, "the observation is left as it was"


def test_invalid_and_very_far_depth_is_far():
    spec = small_spec(1, 3)
    obs = random_obs(spec, 1) | {"depth": np.array([[[0, 2001, 65535]]], np.uint16)}
    assert spec.normalise(obs).image[0, 3, 0].tolist() == [1.0, 1.0, 1.0]


def test_arrays_tensors_and_normalised_observations_give_the_same_actions():
    policy = lively(small_policy())
    arrays = random_obs(policy.spec, 3)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    for obs in (tensors, policy.spec.normalise(arrays)):
        assert torch.equal(policy(obs)[0], policy(arrays)[0]) and torch.equal(policy(obs)[1], policy(arrays)[1])


@pytest.mark.filterwarnings("error")
def test_memory_that_may_only_be_read_is_taken_as_it_is():
    policy, obs = lively(small_policy()), random_obs(small_spec(), 2)
    expected = policy(obs)[0]
    for array in obs.values():
        array.setflags(write=False)
    assert torch.equal(policy(obs)[0], expected)


@pytest.mark.parametrize(("name", "shape"), [("rgb", (2, 16, 8, 3)), ("depth", (3, 16, 16)), ("q", (2, 4))])
def test_an_observation_of_another_shape_is_refused_by_name(name, shape):
    obs = random_obs(small_spec(), 2)
    obs[name] = np.zeros(shape, obs[name].dtype)
    with pytest.raises(BadInput, match=f"observation {name} shape" if name != "q" else "observation . shape"):
        small_spec().normalise(obs)


def test_an_observation_without_depth_is_refused_by_name():
    obs = random_obs(small_spec(), 2)
    del obs["depth"]
    with pytest.raises(BadInput, match="add depth"):
        small_policy()(obs)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joints", ()), ("joints", ("a", "a", "b")), ("q_scale_rad", (1.0, 0.0, 1.0)), ("q_scale_rad", (1.0,)),
        ("q_offset_rad", (0.0, math.nan, 0.0)), ("rate_hz", -1.0), ("depth_max_m", math.inf), ("image_height", 0),
    ],
)  # fmt: skip
def test_a_spec_without_sense_is_refused(field, value):
    with pytest.raises(BadInput, match=field):
        replace(small_spec(), **{field: value})


def test_a_spec_survives_its_manifest():
    assert ObservationSpec.from_manifest(small_spec().to_manifest()) == small_spec()


def test_an_encoder_stands_apart_from_its_head():
    spec = small_spec()
    features = Encoder(spec, SMALL)(random_obs(spec, 4))
    assert features.shape == (4, SMALL.feature_width) and (features >= 0).all()


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (32, 48), (5, 7)])
def test_any_image_size_gives_one_action_a_step(size):
    spec = small_spec(*size, joints=6)
    mean, std = new_policy(spec, seed=0)(random_obs(spec, 2))
    assert mean.shape == std.shape == (2, 6)


def test_exploration_starts_as_asked_in_every_state():
    policy = new_policy(small_spec(), PolicySettings(initial_std=0.07), seed=3)
    torch.testing.assert_close(policy(random_obs(policy.spec, 5))[1], torch.full((5, 3), 0.07))


def test_the_standard_deviation_stays_within_its_bounds():
    policy = new_policy(small_spec(), PolicySettings(min_std=0.01, max_std=0.5), seed=3)
    for bias, bound in ((-50.0, 0.01), (50.0, 0.5)):
        with torch.no_grad():
            policy.sigma.head.bias.fill_(bias)
        torch.testing.assert_close(policy(random_obs(policy.spec, 2))[1], torch.full((2, 3), bound))


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(BadInput, match="initial_std"):
        PolicySettings(initial_std=0.1, max_std=0.05)
    with pytest.raises(BadInput, match="sigma"):
        PolicySettings(sigma=NetworkSettings(layers="variational"))
    with pytest.raises(BadInput, match="pruned network"):
        NetworkSettings(layers="variational", masked=True)
    with pytest.raises(BadInput, match="at most 20"):
        GaussianPolicy(small_spec(), PolicySettings(mean=replace(SMALL, image_features=21)))


def test_a_seed_fixes_a_new_policy_and_nothing_else():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, other = small_policy(seed=2), small_policy(seed=2)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    assert not torch.equal(one.mean.head.weight, small_policy(seed=3).mean.head.weight)


def test_densities_agree_with_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, new_mean, action = torch.randn(3, 50, 4, generator=generator)
    std, new_std = torch.rand(2, 50, 4, generator=generator) + 0.05
    old, new = torch.distributions.Normal(mean, std), torch.distributions.Normal(new_mean, new_std)
    torch.testing.assert_close(log_prob(action, mean, std), old.log_prob(action).sum(-1))
    torch.testing.assert_close(entropy(std), old.entropy().sum(-1))
    torch.testing.assert_close(kl(mean, std, new_mean, new_std), torch.distributions.kl_divergence(old, new).sum(-1))
    assert not kl(mean, std, mean, std).any()


def test_densities_stay_finite_at_the_bounds_of_the_standard_deviation():
    mean, far = torch.zeros(1, 3), torch.full((1, 3), 100.0)
    for std in (torch.full((1, 3), 1e-3), torch.full((1, 3), 2.0)):
        assert log_prob(far, mean, std).isfinite().all() and kl(mean, std, far, 1 / std).isfinite().all()


def test_an_actor_explores_by_the_policy_and_reports_the_density_of_what_it_drew():
    policy = lively(small_policy())
    actor, obs = GaussianActor(policy), random_obs(policy.spec, 400)
    act, _ = actor.act(obs, actor.begin(400, np.random.default_rng(0)), explore=True)
    mean, std = (tensor.detach() for tensor in policy(obs))
    torch.testing.assert_close(act.log_prob, log_prob(act.action, mean, std))
    noise = (act.action - mean) / std
    assert abs(noise.mean()) < 0.15 and abs(noise.std() - 1) < 0.1 and not act.action.requires_grad
    still, _ = actor.act(obs, actor.begin(400, np.random.default_rng(0)), explore=False)
    torch.testing.assert_close(still.action, mean)


def test_a_rows_noise_does_not_depend_on_who_shares_its_batch():
    actor, obs = GaussianActor(lively(small_policy())), random_obs(small_spec(), 3)
    together, state = [], actor.begin(3, [np.random.default_rng(i) for i in range(3)])
    for _ in range(2):
        act, state = actor.act(obs, state, explore=True)
        together.append(act.action[1])
    alone_obs, state = {name: array[1:2] for name, array in obs.items()}, actor.begin(1, [np.random.default_rng(1)])
    for expected in together:
        act, state = actor.act(alone_obs, state, explore=True)
        torch.testing.assert_close(act.action[0], expected)


def test_an_actor_follows_the_policys_weights_and_leaves_its_mode():
    policy = lively(small_policy("variational")).train()
    actor, obs = GaussianActor(policy), random_obs(policy.spec, 1)
    state = actor.begin(1, np.random.default_rng(0))
    before = actor.act(obs, state, explore=False)[0].action
    assert policy.training and torch.equal(before, actor.act(obs, state, explore=False)[0].action)
    with torch.no_grad():
        policy.mean.head.bias += 0.25
    torch.testing.assert_close(actor.act(obs, state, explore=False)[0].action, before + 0.25)


def test_the_untrained_baseline_fills_the_box_of_actions():
    actor, obs = UniformActor(3), random_obs(small_spec(), 500)
    act, _ = actor.act(obs, actor.begin(500, np.random.default_rng(0)), explore=True)
    assert (
        act.action.shape == (500, 3)
        and act.action.abs().max() <= 1.0
        and act.action.std() == pytest.approx(0.577, abs=0.03)
    )
    assert act.log_prob[0].item() == pytest.approx(-3 * math.log(2))
    assert not actor.act(obs, actor.begin(500, np.random.default_rng(0)), explore=False)[0].action.any()


def test_generators_that_do_not_match_the_batch_are_refused():
    with pytest.raises(BadInput, match="one for each of 2 rows"):
        GaussianActor(small_policy()).begin(2, [np.random.default_rng(0)])


def test_exploring_anew_keeps_the_network_that_the_standard_deviations_have_of_their_own():
    policy = lively(new_policy(small_spec(), PolicySettings(mean=SMALL, sigma=SMALL), seed=0))
    obs = random_obs(policy.spec, 5)
    changed = exploring(policy, 0.3)
    mean, std = changed(obs)
    torch.testing.assert_close(std, torch.full_like(std, 0.3))
    assert torch.equal(mean, policy(obs)[0])
    assert torch.equal(changed.sigma.encoder(obs), policy.sigma.encoder(obs))
    on_features = exploring(policy, 0.3, on_features=True)
    assert on_features.settings.sigma is None and torch.equal(on_features(obs)[0], mean)
