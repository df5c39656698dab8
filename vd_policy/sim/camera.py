"""A pinhole RGBD camera: its pose, its calibration, and the conversion of depth buffers to millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting

FRAME_ID = "camera_color_optical_frame"


@dataclass(frozen=True)
class CameraSettings:
    """Where the camera stands and what it sees."""

    position_m: tuple[float, float, float] = setting((1.40, 0.0, 0.90), "optical centre in the base frame [m]")
    look_at_m: tuple[float, float, float] = setting((0.25, 0.0, 0.30), "point in the middle of the image [m]")
    field_of_view_deg: float = setting(52.0, "vertical field of view [deg]", minimum=1.0, maximum=170.0)
    aspect: float = setting(1.0, "columns a row of the images, unless asked otherwise", minimum=0.1, maximum=10.0)
    near_m: float = setting(0.1, "nothing nearer is seen [m]", minimum=1e-3)
    far_m: float = setting(4.0, "nothing farther is seen; depth is 0 there [m]", maximum=65.0)


class Camera:
    """A camera of one image size.

    Attributes:
        matrix: calibration matrix K, (3, 3), pixel centres at whole numbers.
        height, width: image size [px].
        frame_id: name of the optical frame (REP-103: z forward, x right, y down).
        pose: optical frame in the base frame, (4, 4).
        view, projection: the same as OpenGL matrices in column-major order, 16 numbers each.
    """

    frame_id = FRAME_ID

    def __init__(self, settings: CameraSettings, height: int, width: int) -> None:
        for name, value in (("image_height", height), ("image_width", width)):
            if isinstance(value, bool) or not isinstance(value, int) or not 8 <= value <= 4096:
                raise BadInput(name, value, "a whole number of pixels from 8 to 4096", "choose another size")
        if settings.near_m >= settings.far_m:
            raise BadInput("camera near_m", settings.near_m, f"below far_m, {settings.far_m}", "lower it")
        self.settings, self.height, self.width = settings, height, width
        focal = 0.5 * height / math.tan(math.radians(settings.field_of_view_deg) / 2)
        # TinyRenderer samples at whole pixels, then turns the image upside down: the centre moves up by one row.
        self.matrix = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2 - 1], [0.0, 0.0, 1.0]])
        self.pose = _look_at(np.array(settings.position_m), np.array(settings.look_at_m))
        self.view = _view(self.pose).T.ravel().tolist()
        self.projection = self._projection(focal).T.ravel().tolist()

    def _projection(self, focal: float) -> np.ndarray:
        near, far = self.settings.near_m, self.settings.far_m
        return np.array([
            [2 * focal / self.width, 0.0, 0.0, 0.0],
            [0.0, 2 * focal / self.height, 0.0, 0.0],
            [0.0, 0.0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0.0, 0.0, -1.0, 0.0],
        ])  # fmt: skip

    def millimetres(self, buffer: np.ndarray) -> np.ndarray:
        """Depth along the optical axis [mm], u16, 0 where nothing is in range, from a depth buffer in [0, 1] (f32)."""
        near, far = self.settings.near_m, self.settings.far_m
        depth = np.float32(1000.0 * far * near) / (np.float32(far) - np.float32(far - near) * buffer)
        depth += np.float32(0.5)
        depth[buffer >= 1.0] = 0.0
        return depth.astype(np.uint16)


def _look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Optical frame at `position` whose z points to `target` and whose image is upright."""
    forward = target - position
    length = np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if length < 1e-9 or np.linalg.norm(right) < 1e-9 * length:
        raise BadInput(
            "camera look_at_m", tuple(target.tolist()), "a point not straight above or below the camera", "move it"
        )
    forward, right = forward / length, right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, position
    return pose


def _view(pose: np.ndarray) -> np.ndarray:
    """OpenGL view matrix (x right, y up, z backward) of an optical frame."""
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    return flip @ np.linalg.inv(pose)
