"""Rollouts in processes: the same episodes whatever their number, and clear ends."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.learning.batch import RolloutBatch
from vd_policy.learning.collector import ProcessCollector, pack_actor, unpack_actor
from vd_policy.policy.actor import GaussianActor, UniformActor
from vd_policy.policy.gaussian import PolicySettings, log_prob, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

SIDE = 16
MAKE_ENV = partial(ArmEnv, "reach", image_height=SIDE, image_width=SIDE)
SMALL = NetworkSettings(conv_channels=(4, 4), image_widths=(8,), joint_widths=(8,))


def small_actor(seed: int = 0) -> GaussianActor:
    spec = ObservationSpec(
        joints=tuple(f"j{i}" for i in range(6)), image_height=SIDE, image_width=SIDE, q_offset_rad=(0.0,) * 6,
        q_scale_rad=(3.0,) * 6, depth_max_m=2.0, max_step_rad=0.6, rate_hz=1.0,
    )  # fmt: skip
    return GaussianActor(new_policy(spec, PolicySettings(mean=SMALL, sigma=SMALL, initial_std=0.5), seed=seed))


def same(a, b) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a) if f.name != "obs"]
    pairs += [(a.obs[key], b.obs[key]) for key in a.obs]
    return all(np.array_equal(x, y) for x, y in pairs)


def test_episodes_do_not_depend_on_the_number_of_processes():
    collected = []
    for workers in (1, 3):
        with ProcessCollector(MAKE_ENV, seed=3, workers=workers) as collector:
            first = collector.collect(small_actor(0), 40, weight_version=1)
            collected.append(first + collector.collect(small_actor(1), 40, weight_version=2))
    assert len(collected[0]) == len(collected[1])
    assert all(same(a, b) for a, b in zip(*collected))
    assert [e.sequence for e in collected[0]] == list(range(len(collected[0])))
    assert collected[0][0].weight_version == 1 and collected[0][-1].weight_version == 2


def test_a_collector_goes_on_where_another_stopped():
    with ProcessCollector(MAKE_ENV, seed=5) as whole:
        whole.collect(small_actor(), 30)
        expected = whole.collect(small_actor(), 30)
        with ProcessCollector(MAKE_ENV, seed=5) as resumed:
            resumed.next_episode = expected[0].sequence
            assert all(same(a, b) for a, b in zip(expected, resumed.collect(small_actor(), 30)))


def test_stored_log_probabilities_are_those_of_the_policy_that_acted():
    actor = small_actor()
    with ProcessCollector(MAKE_ENV, seed=0) as collector:
        batch = RolloutBatch.of(collector.collect(actor, 50))
    again = log_prob(batch.action, *actor.policy(batch.obs)).detach()
    np.testing.assert_allclose(batch.log_prob.numpy(), again.numpy(), atol=1e-4)


def test_an_actor_survives_the_pipe_unchanged():
    actor = small_actor(4)
    copy = unpack_actor(pack_actor(actor)).policy
    assert copy.spec == actor.policy.spec
    assert all(torch.equal(a, b) for a, b in zip(actor.policy.parameters(), copy.parameters()))


def test_a_worker_that_dies_is_named_with_its_exit_code():
    with ProcessCollector(MAKE_ENV, seed=0, workers=2) as collector:
        collector.collect(small_actor(), 10)
        collector._workers[1].process.kill()
        with pytest.raises(VdPolicyError, match="rollout process 1 .*exit code -9"):
            for _ in range(5):
                collector.collect(small_actor(), 60)


def test_an_environment_that_cannot_be_built_is_reported_from_the_worker():
    with ProcessCollector(partial(ArmEnv, "no_such_task"), seed=0, workers=2) as collector:
        with pytest.raises(VdPolicyError, match="no_such_task"):
            collector.collect(small_actor(), 10)


def test_closing_leaves_no_process_behind():
    collector = ProcessCollector(MAKE_ENV, seed=0, workers=2)
    collector.collect(small_actor(), 10)
    processes = [worker.process for worker in collector._workers]
    collector.close()
    collector.close()
    assert not any(process.is_alive() for process in processes)


def test_actors_that_cannot_travel_are_refused_by_name():
    with ProcessCollector(MAKE_ENV, seed=0, workers=2) as collector:
        with pytest.raises(BadInput, match="UniformActor"):
            collector.collect(UniformActor(6), 10)
