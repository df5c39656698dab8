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
    """

    def __init__(self, spec: RobotSpec, cup_is_solid: bool) -> None:
        self._spec, self._cup_is_solid = spec, cup_is_solid

    @cached_property
    def _scene(self) -> Scene:
        return Scene(self._spec, cup_is_solid=self._cup_is_solid)

    def contact_at(self, q: np.ndarray) -> str | None:
        """What the arm would touch at joint angles (J,) [rad], as ``link:other``, or None."""
        return self._scene.contact_at(q)

    def picture(self, q: np.ndarray, cup_m: np.ndarray, camera: CameraSettings) -> np.ndarray:
        """The arm at joint angles (J,) [rad] and the cup's foot at `cup_m`, for people, u8 (360, 480, 3)."""
        self._scene.restart(cup_m)
        self._scene.set_joints(q)
        return picture(self._scene, camera)

    def close(self) -> None:
        if "_scene" in self.__dict__:
            self._scene.close()
