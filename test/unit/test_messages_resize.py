"""Images at another size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vd_policy.base.errors import BadInput
from vd_policy.messages.resize import fitted, resize_color, resize_depth


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_the_right_size_is_not_touched():
    rgb, depth = picture(6, 8), np.ones((6, 8), np.uint16)
    assert resize_color(rgb, 6, 8) is rgb and resize_depth(depth, 6, 8) is depth


def test_colour_is_the_mean_of_the_pixels_it_replaces():
    rgb = picture(12, 16)
    mean = rgb.reshape(3, 4, 4, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize_color(rgb, 3, 4) - mean).max() <= 0.5


def test_depth_is_only_ever_what_was_measured():
    depth = np.where(np.random.default_rng(1).random((480, 640)) < 0.3, 0, 900).astype(np.uint16)
    depth[:, 320:] += 65000 - 900
    small = resize_depth(depth, 64, 64)
    assert small.dtype == np.uint16 and small.shape == (64, 64)
    assert set(np.unique(small)) <= set(np.unique(depth))


def test_depth_and_colour_look_at_the_same_place():
    rows, columns = np.mgrid[:480, :640]
    rgb = np.stack([columns // 4, rows // 4, columns // 4], axis=2).astype(np.uint8)
    for fit in ("crop", "stretch"):
        color = resize_color(rgb, 60, 60, fit)
        across, down = (resize_depth(axis.astype(np.uint16), 60, 60, fit) for axis in (columns, rows))
        assert np.abs(color[..., 0] * 4.0 - across).max() < 8 and np.abs(color[..., 1] * 4.0 - down).max() < 8


@pytest.mark.parametrize(
    ("size", "target", "part"),
    [((480, 640), (64, 64), (480, 480)), ((640, 480), (32, 64), (240, 480)), ((480, 640), (48, 64), (480, 640)),
     ((7, 640), (64, 64), (7, 7))],
)  # fmt: skip
def test_a_crop_is_the_largest_centred_part_of_that_shape(size, target, part):
    image = picture(*size)
    cropped = fitted(image, *target, "crop")
    top, left = (size[0] - part[0]) // 2, (size[1] - part[1]) // 2
    assert np.array_equal(cropped, image[top : top + part[0], left : left + part[1]])
    assert fitted(image, *target, "stretch") is image


def test_bytes_of_a_message_need_not_be_writable():
    rgb = np.frombuffer(picture(48, 64).tobytes(), np.uint8).reshape(48, 64, 3)
    depth = np.frombuffer(bytes(2 * 48 * 64), np.uint16).reshape(48, 64)
    assert resize_color(rgb, 12, 12).shape == (12, 12, 3) and not resize_depth(depth, 12, 12).any()


def test_an_unknown_fit_is_refused():
    with pytest.raises(BadInput, match="crop, stretch"):
        resize_color(picture(4, 4), 2, 2, "squeeze")


def test_a_system_without_opengl_is_told_what_to_install(tmp_path: Path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    code = ("import numpy as np; from vd_policy.messages.resize import resize_depth\n"
            "try: resize_depth(np.zeros((4, 4), np.uint16), 2, 2)\n"
            "except Exception as error: print(error)\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
                          capture_output=True, text=True)  # fmt: skip
    assert "libGL.so.1" in done.stdout and "opencv-python-headless" in done.stdout, done.stderr
