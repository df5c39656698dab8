"""The simulated arm in lockstep: one command, one decision period, as fast as the machine goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vd_policy.base.episode import Obs
from vd_policy.base.seeds import EPISODE, Seeds
from vd_policy.messages.outcome import Outcome, outcome_of
from vd_policy.messages.trajectory import JointTarget
from vd_policy.sim.env import ArmEnv

FIRST_STAMP_NS = 1_000_000_000
"""Simulated time of the first observation; not 0, which means "now" in a command."""


@dataclass(frozen=True)
class Moment:
    """One observation and what the task says of it, under one stamp."""

    obs: Obs
    q: np.ndarray
    """Joint angles [rad], (J,) float64: what `obs` holds as float32."""
    outcome: Outcome
    stamp_ns: int


class Lockstep:
    """Episodes of an environment under simulated time.

    Episode ``i`` of seed ``s`` starts from ``Seeds(s).integer(EPISODE, i)``. Time advances by the decision period
    with every observation, the first one of an episode included, so that no two share a stamp.
    """

    def __init__(self, env: ArmEnv, seed: int) -> None:
        self._env = env
        self._seeds = Seeds(seed)
        self._period_ns = round(env.settings.period_s * 1e9)
        self._asked_for = False
        self.moment = self._first(0, FIRST_STAMP_NS)

    def begin(self) -> Moment:
        """The next episode's first observation; an unfinished one is thereby over."""
        self._asked_for = False
        self.moment = self._first(self.moment.outcome.episode + 1, self.moment.stamp_ns + self._period_ns)
        return self.moment

    def reset(self) -> bool:
        """Begin another episode, unless the last reset's episode has not moved yet: two resets at once are one."""
        if self._asked_for and self.moment.outcome.step == 0:
            return False
        self.begin()
        self._asked_for = True
        return True

    def execute(self, target: JointTarget) -> Moment | None:
        """Advance one decision period towards the target; None when it does not answer the current observation."""
        if target.stamp_ns != self.moment.stamp_ns or self.moment.outcome.last:
            return None
        obs, reward, terminated, truncated, info = self._env.step_to(target.positions)
        before = self.moment.outcome
        outcome = outcome_of(
            before.task, before.episode, before.step + 1, before.seed, reward, terminated, truncated, info
        )
        self.moment = Moment(obs, self._env.q, outcome, self.moment.stamp_ns + self._period_ns)
        return self.moment

    def _first(self, episode: int, stamp_ns: int) -> Moment:
        seed = self._seeds.integer(EPISODE, episode)
        obs, info = self._env.reset(seed=seed)
        outcome = outcome_of(self._env.settings.task, episode, 0, seed, 0.0, False, False, info)
        return Moment(obs, self._env.q, outcome, stamp_ns)
