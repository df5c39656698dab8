"""What a learning method is to the rest of the package."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from vd_policy.base.episode import Episode
from vd_policy.policy.actor import Actor
from vd_policy.policy.gaussian import GaussianPolicy


class Learner(Protocol):
    """Life cycle: `observe` episodes as they come, call `update` while `due`, act with `actor`.

    A learner owns its policy. `version` counts the weights it has published, so that rollouts can say which
    weights acted.
    """

    method: str
    """Short name for metrics: ``train/<method>/...``."""
    version: int
    collect_steps: int
    """Environment steps to gather between two looks at `due`."""
    policy: GaussianPolicy

    def observe(self, episodes: list[Episode]) -> None:
        """Take in finished episodes; unusable ones are dropped and counted."""

    def due(self) -> int:
        """Updates owed now: 0 or 1 for TRPO, many for an off-policy learner."""

    def update(self) -> dict[str, float]:
        """One update; its figures."""

    def actor(self) -> Actor:
        """What acts with the present weights."""

    def product(self) -> GaussianPolicy:
        """The policy to put to use, which a run saves: `policy`, or one made from several of its states."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on exactly, random state included."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict`; refuses one of another architecture."""
