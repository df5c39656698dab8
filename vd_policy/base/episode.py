"""One episode of experience: the record that demonstrations, rollouts and learners exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput

Array = Any
"""A NumPy array or a torch tensor."""

Obs = dict[str, Array]
"""Raw: ``rgb`` u8 (..., H, W, 3); ``depth`` u16 [mm] (..., H, W), 0 where invalid; ``q`` f32 [rad] (..., J).

The leading dimensions are (B,) for a batch or (T+1,) for an episode.
"""

OBS_KEYS = ("rgb", "depth", "q")

IN_HAND = "in hand"
"""Reason of a step after which a grasp only wants the hand to close."""

ENDINGS = ("success", "failure", "horizon")
"""How an episode can end."""


def how_ended(success: bool, failure: bool) -> str:
    """One of `ENDINGS`, by the flags of an episode's last step."""
    return "success" if success else "failure" if failure else "horizon"


@dataclass(frozen=True)
class Episode:
    """T transitions and T + 1 observations (the last one is kept).

    Actions are joint deltas divided by the task's largest step, so they lie in [-1, 1].
    """

    obs: Obs
    """Arrays with leading dimension T + 1."""
    action: np.ndarray
    """What the policy or the noisy expert asked for, (T, A) float32."""
    applied: np.ndarray
    """What was executed after limits and the safety gate, (T, A) float32."""
    label: np.ndarray | None
    """The expert's noiseless decision, (T, A) float32, or None for a policy's rollout."""
    reward: np.ndarray
    """(T,) float32."""
    log_prob: np.ndarray
    """Log density of `action` under the policy that chose it, (T,) float32; zeros for an expert."""
    terminated: bool
    """Success or failure ended the episode."""
    truncated: bool
    """The horizon ended it."""
    success: bool
    """The last step was in a goal state."""
    failure: bool
    """The last step was in a failure state."""
    source: str
    """Who acted: ``expert``, ``env-3``, ``/robot_a/policy``."""
    sequence: int
    """Running number of the episode within its source."""
    weight_version: int
    """Version of the weights that acted; 0 for an expert."""
    task: str
    seed: int
    scene: np.ndarray
    """Task-defined; for reach and grasp the cup's base position [m], (3,)."""
    life: str = ""
    """Names one life of the source, whose sequence numbers begin at 0; empty where the source does not say."""

    def __len__(self) -> int:
        return len(self.reward)

    def check(self, where: str) -> Episode:
        """Return self, or raise `BadInput` when the arrays disagree about T, or hold NaN or Inf."""
        steps = len(self.reward)
        for key in OBS_KEYS:
            if key not in self.obs or len(self.obs[key]) != steps + 1:
                shape, allowed = np.shape(self.obs.get(key, ())), f"leading dimension {steps + 1}"
                raise BadInput(f"{where}: obs[{key!r}] shape", shape, allowed, "drop the episode")
        for name in ("action", "applied", "log_prob") + (() if self.label is None else ("label",)):
            if len(getattr(self, name)) != steps:
                raise BadInput(f"{where}: {name} length", len(getattr(self, name)), str(steps), "drop the episode")
            if not np.isfinite(getattr(self, name)).all():
                raise BadInput(f"{where}: {name}", "NaN or Inf", "finite numbers", "drop the episode")
        if not np.isfinite(self.reward).all():
            raise BadInput(f"{where}: reward", "NaN or Inf", "finite numbers", "drop the episode")
        return self
