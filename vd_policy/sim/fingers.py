"""Fingers that follow their commands by the clock, without physics: what the simulator in real time has for a hand."""

from __future__ import annotations

import math

import numpy as np

from vd_policy.arm.hand import hand_of
from vd_policy.arm.spec import RobotSpec
from vd_policy.sim.gripper import FINGER_SPEED_RAD_S, opposed, with_parents
from vd_policy.sim.scene import Scene

SUB_STEP_RAD = 0.1
"""Largest motion between two looks at contacts: 6 mm at the tips."""


class Fingers:
    """The fingers of one scene. Each stops where it, or the link that it carries, touches the cup.

    Args:
        scene: the world.
        spec: the robot, which must know its open and its closed hand.
    """

    def __init__(self, scene: Scene, spec: RobotSpec) -> None:
        self._scene = scene
        self._joints = hand_of(spec)
        self.restart()

    def restart(self) -> None:
        """Open, at once, as the scene is after a restart of its own."""
        self.angles = self._target = self._joints.open_rad
        self._touches: dict[int, np.ndarray] = {}

    def aim(self, target: np.ndarray) -> None:
        """Where to go from now on: finger joints [rad], (F,), kept between the open and the closed hand."""
        self._target = self._joints.clip(target)

    def advance(self, seconds: float) -> None:
        """Move for a while."""
        reach = FINGER_SPEED_RAD_S * seconds
        way = np.clip(self._target - self.angles, -reach, reach)
        count = math.ceil(float(np.abs(way).max(initial=0.0)) / SUB_STEP_RAD)
        for _ in range(count):
            self._move(way / count)

    def _move(self, step: np.ndarray) -> None:
        closing = step * (self._joints.closed_rad - self._joints.open_rad) > 0.0
        if not closing.all():
            self._touches = {joint: side for joint, side in self._touches.items() if closing[joint] or not step[joint]}
        self._scene.set_fingers(self.angles + step)
        touches = self._scene.finger_touches()
        stopped = closing & np.isin(range(len(step)), with_parents(self._scene, touches))
        self._touches.update({joint: side for joint, side in touches.items() if closing[joint]})
        self.angles = np.where(stopped, self.angles, self.angles + step)
        self._scene.set_fingers(self.angles)

    def hold_cup(self) -> bool:
        """Whether fingers that were closed stand at the cup on opposite sides."""
        return opposed(list(self._touches.values()))
