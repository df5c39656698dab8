"""The fingers of a scene: whether closing them would hold the cup, and closing them in earnest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from vd_policy.arm.hand import hand_of
from vd_policy.arm.spec import RobotSpec
from vd_policy.sim.scene import Scene

CLOSING_POSES = 12
"""Poses of the fingers between open and closed in which contacts are looked for: 6 mm apart at the tips."""
OPPOSED = -0.5
"""Two touches hold the cup where the cosine between their directions from its axis is at most this: 120 degrees."""
FINGER_SPEED_RAD_S = 1.0
CLOSING_PERIOD_S, CLOSING_PERIODS = 0.05, 30
"""Enough for the fingers to close at that speed."""
PRESS_NM, PRESS_S = 0.5, 0.5
"""Torque that presses on the cup, a quarter of what a finger stands."""
LIFTING_POSES, LIFTING_S = 30, 1.5
"""Targets on the way up: motors that start at full speed would jerk the cup out of the fingers."""
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
        joints = hand_of(spec)
        self._open, self._closed = joints.open_rad, joints.closed_rad

    def encloses_cup(self) -> bool:
        """Whether the fingers, closed step by step where the hand is, meet the cup from opposite sides.

        Nothing moves for it: the fingers are open again afterwards.
        """
        touches: dict[int, np.ndarray] = {}
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
        self._close()
        self._press()
        cup_m, hand_m = scene.cup()[2, 3], scene.effector_m()[2]
        start = scene.joints()
        for share in np.linspace(0.0, 1.0, LIFTING_POSES + 1)[1:]:
            scene.aim(start + share * (raised_rad - start))
            scene.run(LIFTING_S / LIFTING_POSES)
        risen_m = scene.effector_m()[2] - hand_m
        return bool(risen_m > 0.0 and scene.cup()[2, 3] - cup_m >= HELD_SHARE * risen_m)

    def _close(self) -> None:
        """Close each finger until it touches the cup: a joint stops where its link or one beyond does."""
        scene, stopped, targets = self._scene, np.zeros(len(self._open), bool), self._open.copy()
        for _ in range(CLOSING_PERIODS):
            farther = np.minimum(targets + FINGER_SPEED_RAD_S * CLOSING_PERIOD_S, self._closed)
            targets = np.where(stopped, targets, farther)
            scene.aim_fingers(targets)
            scene.run(CLOSING_PERIOD_S)
            touching = np.isin(range(len(stopped)), with_parents(scene, scene.finger_touches()))
            targets = np.where(touching & ~stopped, scene.fingers(), targets)
            stopped |= touching
        scene.aim_fingers(targets)

    def _press(self) -> None:
        """One finger stands, the ones opposite press on the cup with their outermost touching links.

        Were all to press alike, two fingers would push the third one, and the cup, away.
        """
        touches = self._scene.finger_touches()
        if len(touches) < 2:
            return
        whole = np.sum(list(touches.values()), axis=0)
        standing = min(touches, key=lambda joint: float(touches[joint] @ (whole - touches[joint])))
        away = [j for j in touches if touches[j] @ touches[standing] < 0.0]
        pressing = [j for j in away if not any(self._scene.finger_parents[k] == j for k in away)]
        self._scene.press_fingers({joint: float(self._closed[joint]) for joint in pressing}, PRESS_NM)
        self._scene.run(PRESS_S)


def with_parents(scene: Scene, touches: Iterable[int]) -> list[int]:
    """The finger joints whose links touch, and those that carry them."""
    return [joint for touching in touches for joint in (touching, scene.finger_parents[touching])]


def opposed(directions: list[np.ndarray]) -> bool:
    """Whether two unit vectors, (3,) each, point away from each other."""
    return any(a @ b <= OPPOSED for a, b in itertools.combinations(directions, 2))
