"""The inverse-kinematics expert."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vd_policy.arm.expert import Expert, ExpertSettings
from vd_policy.base.errors import BadInput

STEP = math.pi / 5
CONTINUOUS = (True, False, True)
GOALS = np.array([[0.0, 1.0, 0.0], [3.0, 3.0, 3.0]])


def expert(**settings) -> Expert:
    return Expert(GOALS, CONTINUOUS, ExpertSettings(**settings))


def test_the_clipped_expert_ends_exactly_at_the_goal_and_stays_there() -> None:
    q, steps = np.array([1.0, 2.0, -1.0]), 0
    while np.abs(q - GOALS[0]).max() > 1e-12:
        q, steps = q + expert().decide(q), steps + 1
    assert steps == math.ceil(1.0 / STEP)
    assert np.array_equal(expert().decide(GOALS[0]), np.zeros(3))


def test_the_literal_expert_always_takes_a_full_step_and_so_never_arrives() -> None:
    q = np.array([0.1, 1.1, -0.1])
    for _ in range(6):
        step = expert(rule="literal").decide(q)
        assert np.abs(step).max() == pytest.approx(STEP)
        q = q + step
    assert np.abs(q - GOALS[0]).max() > 0.05


def test_the_literal_expert_stands_still_at_the_goal_instead_of_dividing_by_zero() -> None:
    assert np.array_equal(expert(rule="literal").decide(GOALS[1]), np.zeros(3))


@pytest.mark.parametrize("rule", ["clipped", "literal"])
def test_no_decision_moves_a_joint_farther_than_the_largest_step(rule: str) -> None:
    rng = np.random.default_rng(1)
    steps = [expert(rule=rule).decide(rng.uniform(-20, 20, 3)) for _ in range(200)]
    assert np.abs(steps).max() <= STEP + 1e-12


def test_the_goal_with_the_least_sum_of_joint_distances_is_chosen() -> None:
    assert np.allclose(expert().decide(GOALS[1] - 0.1), 0.1)


def test_a_nearer_goal_is_sought_from_the_nearest_ones_and_the_goal_set_counts_where_there_is_none() -> None:
    goals, asked = np.arange(6.0)[:, None] * np.ones(3), []

    def nearer(q: np.ndarray, some: np.ndarray) -> np.ndarray | None:
        asked.append(some)
        return q + 0.01 if q[1] < 1.0 else None

    chooser = Expert(goals, (False,) * 3, nearer=nearer)
    assert np.allclose(chooser.decide(np.full(3, 0.4)), 0.01)
    assert np.allclose(asked[0], goals[:4]), "the four nearest, nearest first"
    assert np.allclose(chooser.decide(np.full(3, 1.9)), 0.1)


def test_whole_turns_of_continuous_joints_change_nothing_and_limited_joints_never_take_the_short_way() -> None:
    q = np.array([0.3, 1.2, -0.2])
    assert np.allclose(expert().decide(q + np.array([2 * np.pi, 0.0, -4 * np.pi])), expert().decide(q))
    assert expert().decide(np.array([0.0, 1.0 + 2 * np.pi, 0.0]))[1] == pytest.approx(-STEP)


def test_noise_moves_the_action_and_never_the_label() -> None:
    q, rng = np.array([2.0, 1.0, 1.0]), np.random.default_rng(2)
    pairs = [expert(noise_std_rad=0.25).act(q, rng) for _ in range(2000)]
    noise = np.array([noisy - label for noisy, label in pairs])
    assert all(np.array_equal(label, expert().decide(q)) for _, label in pairs)
    assert noise.std() == pytest.approx(0.25, rel=0.05) and abs(noise.mean()) < 0.02
    assert np.abs([noisy for noisy, _ in pairs]).max() > STEP


def test_noise_can_be_clipped_to_the_largest_step_and_is_fixed_by_its_generator() -> None:
    q = np.array([2.0, 1.0, 1.0])
    settings = {"noise_std_rad": 2.0, "clip_noise": True}
    first, again = (
        [expert(**settings).act(q, rng)[0] for _ in range(50)] for rng in (np.random.default_rng(3) for _ in range(2))
    )
    assert np.abs(first).max() == STEP and np.array_equal(first, again)


def test_an_expert_without_goals_is_refused() -> None:
    with pytest.raises(BadInput, match="expert goals"):
        Expert(np.empty((0, 3)), CONTINUOUS)
    with pytest.raises(BadInput, match="expert goals"):
        Expert(np.zeros((2, 6)), CONTINUOUS)


def test_a_nearer_goal_that_is_not_nearer_after_all_is_not_taken() -> None:
    goals = np.arange(3.0)[:, None] * np.ones(3)
    chooser = Expert(goals, (False,) * 3, nearer=lambda q, some: q + 0.3)
    assert np.allclose(chooser.decide(np.full(3, 0.1)), -0.1)
    assert np.allclose(chooser.decide(np.full(3, 0.4)), 0.3)
