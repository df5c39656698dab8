"""Colour and depth images (`sensor_msgs/Image`, REP-118 depth) and `CameraInfo`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.messages.header import header
from vd_policy.messages.types import MessageFactory, as_array

COLOR_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
DEPTH_TYPES: dict[str, np.dtype] = {"16UC1": np.dtype("u2"), "32FC1": np.dtype("f4")}
MAX_SIDE = 16384
MAX_DEPTH_MM = 65535


def encode_color(factory: MessageFactory, rgb: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """An ``rgb8`` image of `rgb`, uint8 (H, W, 3)."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise BadInput("colour image", (rgb.shape, str(rgb.dtype)), "uint8 (H, W, 3)", "convert it first")
    return _image(factory, np.ascontiguousarray(rgb), "rgb8", 3, stamp_ns, frame_id)


def encode_depth(factory: MessageFactory, depth_mm: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """A ``32FC1`` image [m] of `depth_mm`, uint16 (H, W); `decode_depth` gives the same millimetres back."""
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise BadInput("depth image", (depth_mm.shape, str(depth_mm.dtype)), "uint16 [mm] (H, W)", "convert it first")
    metres = depth_mm.astype("<f4") / np.float32(1000)
    return _image(factory, metres, "32FC1", 4, stamp_ns, frame_id)


def decode_color(msg: Any) -> np.ndarray:
    """Colour as uint8 (H, W, 3), for ``rgb8`` a view of the message's own bytes.

    ``bgr8``, ``rgba8``, ``bgra8`` and ``mono8`` are converted; any other encoding goes through `cv_bridge` where that
    is installed.

    Raises:
        BadInput: an encoding nobody here can convert, or a buffer too short for its height, width and step.
    """
    channels = COLOR_CHANNELS.get(msg.encoding)
    if channels is None:
        return np.ascontiguousarray(_through_cv_bridge(msg, "rgb8", sorted(COLOR_CHANNELS)))
    pixels = _pixels(msg, np.dtype("u1"), channels)
    if msg.encoding.startswith("bgr"):
        return np.ascontiguousarray(pixels[:, :, 2::-1])
    if channels == 4:
        return np.ascontiguousarray(pixels[:, :, :3])
    return np.repeat(pixels, 3, axis=2) if channels == 1 else pixels


def decode_depth(msg: Any) -> np.ndarray:
    """Depth as uint16 [mm] (H, W), 0 where invalid (NaN, Inf, zero, negative, or beyond 65.535 m).

    ``16UC1`` is millimetres, ``32FC1`` metres (REP-118).

    Raises:
        BadInput: another encoding, or a buffer too short for its height, width and step.
    """
    dtype = DEPTH_TYPES.get(msg.encoding)
    if dtype is None:
        metres_or_mm = _through_cv_bridge(msg, "passthrough", sorted(DEPTH_TYPES))
        if metres_or_mm.ndim != 2 or metres_or_mm.dtype not in (np.uint16, np.float32, np.float64):
            raise _refused(msg.encoding, sorted(DEPTH_TYPES))
        return metres_or_mm if metres_or_mm.dtype == np.uint16 else metres_to_mm(metres_or_mm)
    big = bool(msg.is_bigendian)
    values = _pixels(msg, dtype.newbyteorder(">" if big else "<"), 1)[:, :, 0]
    if dtype.kind == "f":
        return metres_to_mm(values)
    return values.astype(np.uint16) if big != (sys.byteorder == "big") else values


def metres_to_mm(metres: np.ndarray) -> np.ndarray:
    """Depth [m] as uint16 [mm], rounded; 0 where it is NaN, Inf, not positive, or does not fit."""
    mm = metres * np.float32(1000)
    with np.errstate(invalid="ignore"):
        np.rint(mm, out=mm)
        bad = ~((mm > 0) & (mm <= MAX_DEPTH_MM))
    mm[bad] = 0
    return mm.astype(np.uint16)


def camera_info(
    factory: MessageFactory, matrix: np.ndarray, height: int, width: int, stamp_ns: int, frame_id: str
) -> Any:
    """`CameraInfo` of an undistorted pinhole camera with intrinsics `matrix` K, (3, 3) [pixel]."""
    k = np.asarray(matrix, np.float64).reshape(3, 3)
    region = factory.make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return factory.make(
        "sensor_msgs/msg/CameraInfo",
        header=header(factory, stamp_ns, frame_id),
        height=int(height),
        width=int(width),
        distortion_model="plumb_bob",
        d=factory.f64(np.zeros(5)),
        k=factory.f64(k.ravel()),
        r=factory.f64(np.eye(3).ravel()),
        p=factory.f64(np.hstack([k, np.zeros((3, 1))]).ravel()),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def _image(
    factory: MessageFactory, pixels: np.ndarray, encoding: str, pixel_bytes: int, stamp_ns: int, frame_id: str
) -> Any:
    height, width = pixels.shape[:2]
    return factory.make(
        "sensor_msgs/msg/Image",
        header=header(factory, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * pixel_bytes,
        data=factory.u8(pixels.view(np.uint8).reshape(-1)),
    )


def _pixels(msg: Any, dtype: np.dtype, channels: int) -> np.ndarray:
    """The image as a (H, W, channels) view of its bytes, row padding (`step`) left out."""
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise BadInput("image height and width", (height, width), f"1 to {MAX_SIDE} each", "check the camera driver")
    row = width * channels * dtype.itemsize
    if step < row:
        raise BadInput(f"image step ({msg.encoding}, width {width})", step, f"at least {row} bytes", "check the driver")
    data = as_array(msg.data, np.uint8)
    needed = step * (height - 1) + row
    if len(data) < needed:
        raise BadInput(f"image data ({msg.encoding}, {height}x{width}, step {step}) [bytes]",
                       len(data), f"at least {needed}", "check the camera driver")  # fmt: skip
    strides = (step, channels * dtype.itemsize, dtype.itemsize)
    return np.ndarray((height, width, channels), dtype, data, strides=strides)


def _through_cv_bridge(msg: Any, wanted: str, known: list[str]) -> np.ndarray:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        raise _refused(msg.encoding, known) from None
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(msg, wanted))
    except (CvBridgeError, TypeError, ValueError, AttributeError):
        raise _refused(msg.encoding, known) from None


def _refused(encoding: str, known: list[str]) -> BadInput:
    allowed = ", ".join(known) + ", or what an installed cv_bridge converts"
    return BadInput("image encoding", encoding, allowed, "set the camera driver's format, or install cv_bridge")
