"""Telling a policy that was restarted from one that repeats itself."""

from __future__ import annotations

from dataclasses import replace

from learning_samples import invented_episode, tiny_policy

from vd_policy.base.episode import Episode
from vd_policy.learning.intake import Intake
from vd_policy.nodes.rollouts import Sessions


def used(*lives: str) -> int:
    """How many rollouts of these lives are used: the same three in each, as after a restart of everything."""
    sessions, intake = Sessions(), Intake(max_weight_lag=1)
    return sum(intake.admit(sessions.named(replace(e, life=life)), version=0) for life in lives for e in episodes())


def episodes() -> list[Episode]:
    return [invented_episode(tiny_policy(), sequence, version=0, source="/policy") for sequence in range(3)]


def test_a_policy_that_was_restarted_with_its_simulator_is_heard_at_once() -> None:
    assert used("a", "b") == 6 and used("a", "a") == 3


def test_where_no_life_is_named_the_first_episode_tells_it() -> None:
    assert used("", "") == 3
    sessions = Sessions()
    first, other = episodes()[0], replace(episodes()[0], seed=99)
    assert sessions.named(first).source != sessions.named(other).source
