"""Cuts the stream of observations, decisions and outcomes into episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vd_policy.base.episode import OBS_KEYS, Episode, Obs


class Outcome(Protocol):
    """What `messages.outcome.decode_outcome` returns: how the step into this observation went; step 0 is a reset."""

    task: str
    episode: int
    step: int
    reward: float
    success: bool
    failure: bool
    terminated: bool
    truncated: bool
    seed: int
    scene: tuple[float, ...]


@dataclass(frozen=True)
class Choice:
    """What was decided on one observation."""

    action: np.ndarray
    """(A,) float32 in [-1, 1]."""
    log_prob: float


class RolloutBuilder:
    """Grows one episode at a time.

    Args:
        source: who acts, for the episode's record.
        max_step_rad: joint change of a whole action; `applied` is the measured change divided by it.
        life: tells this builder's episodes from those of others of the same source.

    An episode that was joined after its reset, or that misses a step, is dropped and counted: a learner must not see
    transitions that did not follow one another.
    """

    def __init__(self, source: str, max_step_rad: float, life: str = "") -> None:
        self.source, self.max_step_rad, self.life = source, max_step_rad, life
        self.sequence = 0
        self.dropped = 0
        self.drop()

    def drop(self) -> None:
        """Forget the open episode."""
        self._obs: list[Obs] = []
        self._q: list[np.ndarray] = []
        self._choices: list[Choice] = []
        self._rewards: list[float] = []
        self._first: Outcome | None = None

    def add(self, obs: Obs, q: np.ndarray, outcome: Outcome, choice: Choice | None, version: int) -> Episode | None:
        """Take the next observation with the outcome that led to it and the decision made on it.

        Args:
            obs: without leading dimension. q: (J,) float64 [rad], unrounded.
            choice: None after the last observation of an episode.
            version: of the weights that chose.

        Returns:
            The episode that this observation ends, or None.
        """
        if outcome.step == 0:
            self.dropped += self._first is not None
            self.drop()
            self._first = outcome
        elif not self._follows(outcome):
            self.dropped += self._first is not None
            self.drop()
            return None
        else:
            self._rewards.append(outcome.reward)
        self._obs.append(obs)
        self._q.append(q)
        if outcome.terminated or outcome.truncated:
            return self._close(outcome, version)
        if choice is not None:
            self._choices.append(choice)
        return None

    def _follows(self, outcome: Outcome) -> bool:
        first = self._first
        return first is not None and outcome.episode == first.episode and outcome.step == len(self._choices)

    def _close(self, last: Outcome, version: int) -> Episode | None:
        episode = self._episode(last, version) if self._choices else None
        self.sequence += episode is not None
        self.drop()
        return episode

    def _episode(self, last: Outcome, version: int) -> Episode:
        return Episode(
            obs={key: np.stack([obs[key] for obs in self._obs]) for key in OBS_KEYS},
            action=np.stack([c.action for c in self._choices]).astype(np.float32),
            applied=(np.diff(np.asarray(self._q), axis=0) / self.max_step_rad).astype(np.float32),
            label=None,
            reward=np.asarray(self._rewards, dtype=np.float32),
            log_prob=np.asarray([c.log_prob for c in self._choices], dtype=np.float32),
            terminated=last.terminated, truncated=last.truncated, success=last.success, failure=last.failure,
            source=self.source, sequence=self.sequence, weight_version=version,
            task=last.task, seed=last.seed, scene=np.asarray(last.scene, dtype=np.float64),
            life=self.life,
        )  # fmt: skip
