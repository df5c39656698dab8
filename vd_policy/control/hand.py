"""A hand: its joints, and when it closes and opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vd_policy.arm.spec import RobotSpec
from vd_policy.base.errors import BadInput

HAND_MOVING_S = 1.5
"""How long a hand may take to open or close [s]."""


@dataclass(frozen=True)
class HandJoints:
    """The F finger joints of a robot."""

    names: tuple[str, ...]
    open_rad: np.ndarray
    """(F,)."""
    closed_rad: np.ndarray
    """With nothing in the hand, (F,)."""

    def angles(self, closed: bool) -> np.ndarray:
        """Of the closed or of the open hand [rad], (F,)."""
        return self.closed_rad if closed else self.open_rad

    def clip(self, angles: np.ndarray) -> np.ndarray:
        """Angles (F,) [rad] brought between the open and the closed hand."""
        low, high = np.minimum(self.open_rad, self.closed_rad), np.maximum(self.open_rad, self.closed_rad)
        return np.clip(angles, low, high)


def hand_of(spec: RobotSpec) -> HandJoints:
    """The hand of a robot; `BadInput` for one whose file does not say how it opens and closes."""
    for field in ("finger_joints", "finger_open_rad", "finger_closed_rad"):
        if not getattr(spec, field):
            raise BadInput(f"{field} of {spec.name}", (), "a hand that opens and closes",
                           "describe it in the robot file, or leave the gripper out")  # fmt: skip
    return HandJoints(spec.finger_joints, np.array(spec.finger_open_rad), np.array(spec.finger_closed_rad))


class Judged(Protocol):
    """What `messages.outcome.decode_outcome` returns."""

    @property
    def episode(self) -> int: ...
    @property
    def in_hand(self) -> bool: ...


class Hand:
    """Wanted posture of one hand.

    Open from the beginning of each episode, closed from the moment on that the cup stands between the fingers. A hand
    that closed does not open again before the next episode, however the cup stands then: it may hold something. An
    operator's word counts until the next episode or grasp.

    Attributes:
        closed: None while nobody has said anything; then the hand is left as it is.
    """

    def __init__(self) -> None:
        self.closed: bool | None = None
        self._episode: int | None = None

    def hear(self, outcome: Judged) -> bool:
        """Whether the hand shall be closed after this outcome."""
        if outcome.episode != self._episode:
            self._episode, self.closed = outcome.episode, False
        self.closed = outcome.in_hand or bool(self.closed)
        return self.closed
