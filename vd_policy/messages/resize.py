"""Images at another size: what a policy sees of a real camera, online and in a dataset by the same function."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

import numpy as np

from vd_policy.base.errors import BadInput

FITS = ("crop", "stretch")
"""``crop``: the largest centred part of the target's aspect ratio, which keeps angles; ``stretch``: the whole image."""

OPENCV_FIX = "pip uninstall opencv-python and pip install opencv-python-headless, which needs no libGL of the system"


def resize_color(rgb: np.ndarray, height: int, width: int, fit: str = "crop") -> np.ndarray:
    """Colour at another size, each pixel the mean of those that it replaces.

    Args:
        rgb: uint8 (H, W, 3).
        height, width: of the result [px]; an image that has them is returned as it is.
        fit: one of `FITS`.

    Raises:
        BadInput: OpenCV cannot be loaded.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    cv = _opencv()
    return np.asarray(cv.resize(fitted(rgb, height, width, fit), (width, height), interpolation=cv.INTER_AREA))


def resize_depth(depth_mm: np.ndarray, height: int, width: int, fit: str = "crop") -> np.ndarray:
    """Depth [mm], uint16 (H, W), at another size; arguments as for `resize_color`.

    Each pixel is one that was measured: the mean over an edge is a surface that is not there, and 0 means invalid.
    """
    if depth_mm.shape == (height, width):
        return depth_mm
    cv = _opencv()  # EXACT takes the pixel in the middle of those it replaces, where INTER_AREA has its centre too
    part = fitted(depth_mm, height, width, fit)
    return np.asarray(cv.resize(part, (width, height), interpolation=cv.INTER_NEAREST_EXACT))


def fitted(image: np.ndarray, height: int, width: int, fit: str) -> np.ndarray:
    """The part of `image`, (H, W) or (H, W, C), that fills height x width: a view."""
    if fit not in FITS:
        raise BadInput("fit", fit, "one of " + ", ".join(FITS), "choose one of them")
    if fit == "stretch":
        return image
    rows, columns = image.shape[:2]
    keep_rows = min(rows, max(1, round(columns * height / width)))
    keep_columns = min(columns, max(1, round(rows * width / height)))
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    return image[top : top + keep_rows, left : left + keep_columns]


@lru_cache(maxsize=1)
def _opencv() -> ModuleType:
    """OpenCV, loaded when a size first differs (0.2 s), and on one thread: its pool would take the network's core."""
    try:
        import cv2
    except ImportError as error:  # opencv-python (not -headless) needs libGL.so.1 and libglib
        raise BadInput("OpenCV", str(error), "a cv2 that loads", OPENCV_FIX) from None
    cv2.setNumThreads(1)
    return cv2
