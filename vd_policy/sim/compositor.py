"""RGBD images of the moving parts, laid by depth over one cached image of what never moves."""

from __future__ import annotations

import numpy as np

from vd_policy.sim.camera import Camera
from vd_policy.sim.scene import Scene, picture_of_the_table


class Compositor:
    """Renders a scene for one camera at half the cost of drawing everything, bit for bit the same.

    Args:
        scene: its table is left out of its own images from now on.
        camera: the camera.
    """

    def __init__(self, scene: Scene, camera: Camera) -> None:
        self._scene, self._camera = scene, camera
        scene.hide_table()
        rgba, buffer = picture_of_the_table(camera)
        self._rgb = np.ascontiguousarray(rgba[..., :3])
        self._buffer = buffer.copy()
        self._depth_mm = camera.millimetres(self._buffer)

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """Fresh arrays: rgb u8 (H, W, 3) and depth u16 [mm] (H, W), 0 where nothing is in range."""
        rgba, buffer = self._scene.render(self._camera)
        front = np.flatnonzero(buffer < self._buffer)
        rgb, depth_mm = self._rgb.copy(), self._depth_mm.copy()
        rgb.reshape(-1, 3)[front] = rgba.reshape(-1, 4)[front, :3]
        depth_mm.reshape(-1)[front] = self._camera.millimetres(buffer.reshape(-1)[front])
        return rgb, depth_mm
