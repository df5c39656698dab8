"""Cutting the stream into episodes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vd_policy.base.episode import Episode, Obs
from vd_policy.control.rollout import Choice, RolloutBuilder

STEP_RAD = 0.5


def outcome(step: int, episode: int = 0, last: bool = False) -> SimpleNamespace:
    return SimpleNamespace(task="reach", episode=episode, step=step, reward=-float(step), success=last, failure=False,
                           terminated=last, truncated=False, seed=11, scene=(0.4, 0.1, 0.0))  # fmt: skip


def observation(step: int) -> Obs:
    return {"rgb": np.full((2, 2, 3), step, np.uint8), "depth": np.full((2, 2), step, np.uint16),
            "q": np.array([0.1 * step, 0.0], np.float32)}  # fmt: skip


def feed(builder: RolloutBuilder, steps: list[int], length: int, episode: int = 0) -> Episode | None:
    made = None
    for step in steps:
        choice = None if step == length else Choice(np.array([0.2, 0.0], np.float32), -1.0 - step)
        q = np.array([0.1 * step, 0.0])
        made = builder.add(observation(step), q, outcome(step, episode, step == length), choice, version=4) or made
    return made


def test_an_episode_keeps_every_observation_decision_and_reward() -> None:
    episode = feed(RolloutBuilder("/policy", STEP_RAD), [0, 1, 2, 3], 3)
    assert episode is not None
    episode.check("episode")
    assert len(episode) == 3
    assert episode.obs["rgb"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert episode.reward.tolist() == [-1.0, -2.0, -3.0]
    assert episode.log_prob.tolist() == [-1.0, -2.0, -3.0]
    assert episode.applied == pytest.approx(np.array([[0.2, 0.0]] * 3))
    assert (episode.terminated, episode.success, episode.source) == (True, True, "/policy")
    assert (episode.weight_version, episode.seed, episode.scene.tolist()) == (4, 11, [0.4, 0.1, 0.0])


def test_episodes_are_numbered_in_order() -> None:
    builder = RolloutBuilder("/policy", STEP_RAD)
    made = [feed(builder, [0, 1, 2], 2, episode=i) for i in range(3)]
    assert [e.sequence for e in made if e] == [0, 1, 2]


def test_episodes_name_the_life_of_their_source() -> None:
    made = [feed(RolloutBuilder("/policy", STEP_RAD, life), [0, 1], 1) for life in ("a", "b", "")]
    assert [episode.life for episode in made if episode] == ["a", "b", ""]


def test_an_episode_joined_in_the_middle_is_left_out() -> None:
    builder = RolloutBuilder("/policy", STEP_RAD)
    assert feed(builder, [1, 2, 3], 3) is None
    assert feed(builder, [0, 1, 2, 3], 3, episode=1) is not None


@pytest.mark.parametrize("steps", [[0, 1, 3], [0, 0, 2, 3]])
def test_an_episode_with_a_hole_is_dropped_and_counted(steps: list[int]) -> None:
    builder = RolloutBuilder("/policy", STEP_RAD)
    assert feed(builder, steps, 3) is None
    assert builder.dropped


def test_an_episode_cut_short_by_a_reset_is_dropped_and_counted() -> None:
    builder = RolloutBuilder("/policy", STEP_RAD)
    feed(builder, [0, 1], 9)
    assert feed(builder, [0, 1, 2], 2, episode=1) is not None
    assert builder.dropped == 1
