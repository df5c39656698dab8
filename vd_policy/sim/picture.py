"""Pictures for people: larger than observations, smooth at the edges, with shadows."""

from __future__ import annotations

import numpy as np

from vd_policy.sim.camera import Camera, CameraSettings
from vd_policy.sim.scene import Scene

HEIGHT, WIDTH = 360, 480
SMOOTHING = 2
"""Rendered pixels per pixel of the picture, along each side."""
LIGHT = {
    "shadow": 1,
    "lightDirection": (0.5, 0.8, 2.0),
    "lightDistance": 3.0,
    "lightAmbientCoeff": 0.6,
    "lightDiffuseCoeff": 0.4,
    "lightSpecularCoeff": 0.0,
}


def picture(scene: Scene, settings: CameraSettings) -> np.ndarray:
    """The scene as the task's camera would see it, u8 (360, 480, 3), in about 0.2 s."""
    rgba, _ = scene.render(Camera(settings, HEIGHT * SMOOTHING, WIDTH * SMOOTHING), LIGHT)
    blocks = rgba[..., :3].reshape(HEIGHT, SMOOTHING, WIDTH, SMOOTHING, 3)
    return blocks.mean(axis=(1, 3)).astype(np.uint8)
