"""The fingers of a scene: whether closing them would hold the cup, and closing them in earnest."""

from __future__ import annotations

import itertools

import numpy as np

from vd_policy.arm.spec import RobotSpec
from vd_policy.base.errors import BadInput
from vd_policy.sim.scene import Scene

CLOSING_POSES = 12
"""Poses of the fingers between open and closed in which contacts are looked for: 6 mm apart at the tips."""
OPPOSED = -0.5
"""Two touches hold the cup where the cosine between their directions from its axis is at most this: 120 degrees."""
CLOSING_PERIOD_S, LIFTING_S = 0.05, 3.0
FINGER_SPEED_RAD_S = 1.0
CLOSING_PERIODS = 36
"""Enough for the fingers to close at that speed, and to settle."""
SQUEEZE_RAD = 0.15
"""How far a finger that touches presses on; it then stands like one with a worm gear, which a push does not turn."""
HELD_SHARE = 0.8
"""A cup is held that rises by at least this share of what the hand does."""


class Gripper:
    """The fingers of one scene.

    Args:
        scene: the world.
        spec: the robot, which must know its open and its closed hand.

    Raises:
        BadInput: the robot's file does not say how its hand opens and closes.
    """

    def __init__(self, scene: Scene, spec: RobotSpec) -> None:
        self._scene = scene
        self._open, self._closed = open_hand(spec), np.array(spec.finger_closed_rad)

    def encloses_cup(self) -> bool:
        """Whether the fingers, closed step by step where the hand is, meet the cup from opposite sides.

        Nothing moves for it: the fingers are open again afterwards.
        """
        touches: dict[str, np.ndarray] = {}
        for share in np.linspace(0.0, 1.0, CLOSING_POSES + 1)[1:]:
            self._scene.set_fingers(self._open + share * (self._closed - self._open))
            for finger, direction in self._scene.finger_touches().items():
                touches.setdefault(finger, direction)
        self._scene.set_fingers(self._open)
        return opposed(list(touches.values()))

    def lifts_cup(self, raised_rad: np.ndarray) -> bool:
        """Close the fingers under position control, raise the arm, and see whether the cup came along.

        Args:
            raised_rad: joint angles that lift the hand without turning it, (J,).
        """
        scene = self._scene
        self._squeeze()
        cup_m, hand_m = scene.cup()[2, 3], scene.effector_m()[2]
        scene.aim(raised_rad)
        scene.run(LIFTING_S)
        risen_m = scene.effector_m()[2] - hand_m
        return bool(risen_m > 0.0 and scene.cup()[2, 3] - cup_m >= HELD_SHARE * risen_m)

    def _squeeze(self) -> None:
        """Close each finger until it touches the cup, then a little farther."""
        scene, stopped = self._scene, np.zeros(len(self._open), bool)
        targets = self._open.copy()
        for _ in range(CLOSING_PERIODS):
            step = np.minimum(FINGER_SPEED_RAD_S * CLOSING_PERIOD_S, self._closed - targets)
            targets = np.where(stopped, targets, targets + step)
            scene.aim_fingers(targets)
            scene.run(CLOSING_PERIOD_S)
            touching = scene.fingers_touching() & ~stopped
            targets = np.where(touching, scene.fingers() + SQUEEZE_RAD, targets)
            stopped |= touching
        scene.aim_fingers(targets)


def open_hand(spec: RobotSpec) -> np.ndarray:
    """Finger joints of the open hand [rad]."""
    for field in ("finger_open_rad", "finger_closed_rad"):
        if not getattr(spec, field):
            raise BadInput(f"{field} of {spec.name}", (), "the angles of its finger joints", "add them to its YAML")
    return np.array(spec.finger_open_rad)


def opposed(directions: list[np.ndarray]) -> bool:
    """Whether two unit vectors, (3,) each, point away from each other."""
    return any(a @ b <= OPPOSED for a, b in itertools.combinations(directions, 2))
