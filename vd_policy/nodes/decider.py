"""What the policy node asks: a run's actor, one observation at a time, with weights that can be swapped in between."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vd_policy.base.episode import OBS_KEYS, Obs
from vd_policy.control.rollout import Choice
from vd_policy.control.slot import LatestSlot
from vd_policy.policy.actor import Actor

WARM_UP = 5
"""Decisions made on nothing before the first real one: the first inference takes many times as long as the rest."""


@dataclass(frozen=True)
class Target:
    """A decision, as the arm and as a learner see it."""

    q: np.ndarray
    """Absolute joint angles [rad], (J,) float64."""
    choice: Choice

    @property
    def finite(self) -> bool:
        """Neither NaN nor Inf."""
        return bool(np.isfinite(self.choice.action).all()) and bool(np.isfinite(self.choice.log_prob))


class Decider:
    """Life cycle: `warm_up` once, `begin` at each start, then `decide`; `offer` new weights from any thread.

    Args:
        actor, version: what acts, and the version of its weights.
        max_step_rad: joint change of a whole action.
        explore: sample actions instead of taking the mean.
    """

    def __init__(self, actor: Actor, version: int, max_step_rad: float, explore: bool) -> None:
        self._actor, self.version = actor, version
        self.max_step_rad, self._explore = max_step_rad, explore
        self._offered: LatestSlot[tuple[Actor, int]] = LatestSlot()
        self.swaps = 0
        self.begin(np.random.default_rng(0))

    def begin(self, rng: np.random.Generator) -> None:
        """Forget the past; all noise until the next `begin` comes from `rng`."""
        self._state = self._actor.begin(1, [rng])

    def offer(self, actor: Actor, version: int) -> None:
        """Leave new weights for the next `swap`; only the newest offer counts."""
        self._offered.put((actor, version))

    def swap(self) -> bool:
        """Take offered weights, between two decisions; True when there were any."""
        offered = self._offered.take(timeout_s=0.0)
        if offered is None:
            return False
        self._actor, self.version = offered
        self.swaps += 1
        return True

    def decide(self, obs: Obs, q: np.ndarray) -> Target:
        """Decide on one observation without leading dimension.

        Args:
            q: the same joints unrounded [rad], (J,) float64. The target is exactly what `ArmEnv.step` makes of the
                action.
        """
        act, self._state = self._actor.act({k: obs[k][None] for k in OBS_KEYS}, self._state, explore=self._explore)
        action = act.action[0].numpy()
        target = q + np.clip(action.astype(np.float64), -1.0, 1.0) * self.max_step_rad
        return Target(target, Choice(action, float(act.log_prob[0])))

    def warm_up(self, obs: Obs, actor: Actor | None = None) -> float:
        """Let `actor` (by default the one that acts) decide on `obs` a few times; the last decision's time [s]."""
        warming = actor or self._actor
        state = warming.begin(1, [np.random.default_rng(0)])
        batch = {key: obs[key][None] for key in OBS_KEYS}
        for _ in range(WARM_UP):
            start = time.perf_counter()
            warming.act(batch, state, explore=self._explore)
        return time.perf_counter() - start
