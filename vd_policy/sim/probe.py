"""A second world, so that asking about the arm does not disturb its episode."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from vd_policy.arm.spec import RobotSpec
from vd_policy.sim.camera import CameraSettings
from vd_policy.sim.picture import picture
from vd_policy.sim.scene import Scene


class Probe:
    """Answers what a configuration would touch and look like. Its world opens when first asked; `close()` frees it.

    Args:
        spec: the robot.
        cup_is_solid: whether the arm can touch the cup.
        fingers_rad: posture of the gripper; None for the robot's.
    """

    def __init__(self, spec: RobotSpec, cup_is_solid: bool, fingers_rad: np.ndarray | None = None) -> None:
        self._spec, self._cup_is_solid, self._fingers_rad = spec, cup_is_solid, fingers_rad

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self._spec, cup_is_solid=self._cup_is_solid, fingers_rad=self._fingers_rad)

    def contact_at(self, q: np.ndarray) -> str | None:
        """What the arm would touch at joint angles (J,) [rad], as ``link:other``, or None."""
        return self._scene.contact_at(q)

    def contact_beside(self, q: np.ndarray, cup_m: np.ndarray) -> str | None:
        """`contact_at`, with a cup's foot at `cup_m`."""
        self._place(cup_m)
        return self._scene.contact_at(q)

    def obstacle(self, start: np.ndarray, target: np.ndarray, cup_m: np.ndarray) -> str | None:
        """What is in the way of a straight joint-space line (J,) to (J,) [rad] beside a cup's foot, or None."""
        self._place(cup_m)
        return self._scene.sweep(start, target)[1]

    def _place(self, cup_m: np.ndarray) -> None:
        if self._cup_is_solid:
            self._scene.restart(cup_m)

    def picture(self, q: np.ndarray, cup_m: np.ndarray, camera: CameraSettings) -> np.ndarray:
        """The arm at joint angles (J,) [rad] and the cup's foot at `cup_m`, for people, u8 (360, 480, 3)."""
        self._scene.restart(cup_m)
        self._scene.set_joints(q)
        return picture(self._scene, camera)

    def close(self) -> None:
        if "_scene" in self.__dict__:
            self._scene.close()
