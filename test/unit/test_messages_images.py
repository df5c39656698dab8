"""Images to messages and back."""

from __future__ import annotations

import array

import numpy as np
import pytest
from message_factory import FACTORIES

from vd_policy.base.errors import BadInput
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.images import camera_info, decode_color, decode_depth, encode_color, encode_depth


@pytest.fixture(params=FACTORIES, ids=lambda f: type(f).__name__)
def factory(request):
    return request.param


def test_colour_comes_back_bit_for_bit_with_its_stamp_and_frame(factory):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    msg = encode_color(factory, rgb, 12_345_678_901, "camera")
    assert np.array_equal(decode_color(msg), rgb)
    assert (msg.encoding, msg.step, msg.height, msg.width) == ("rgb8", 21, 5, 7)
    assert (stamp_ns(msg), msg.header.frame_id) == (12_345_678_901, "camera")


def test_every_depth_survives_the_way_over_metres(factory):
    depth = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    msg = encode_depth(factory, depth, 1, "camera")
    assert msg.encoding == "32FC1"
    assert np.array_equal(decode_depth(msg), depth)
    metres = np.frombuffer(bytes(msg.data), "<f4")
    assert metres[1500] == pytest.approx(1.5)


def test_an_rgb8_image_is_not_copied(factory):
    msg = encode_color(factory, np.zeros((4, 4, 3), np.uint8), 1, "camera")
    assert np.shares_memory(decode_color(msg), np.asarray(msg.data))


def test_a_mirrored_or_cropped_picture_is_encoded_as_it_looks(factory):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    view = rgb[::-1, 1:4]
    assert np.array_equal(decode_color(encode_color(factory, view, 1, "camera")), view)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)]
)
def test_only_rgb_bytes_are_encoded_as_colour(factory, bad):
    with pytest.raises(BadInput, match="uint8 \\(H, W, 3\\)"):
        encode_color(factory, bad, 1, "camera")


def test_camera_info_holds_the_intrinsics(factory):
    k = np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]])
    info = camera_info(factory, k, 96, 128, 5, "camera")
    assert (info.height, info.width, stamp_ns(info)) == (96, 128, 5)
    assert np.array_equal(np.reshape(info.k, (3, 3)), k)
    assert np.array_equal(np.reshape(info.p, (3, 4))[:, :3], k)


def test_bytes_arrays_and_lists_decode_alike(factory):
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    for data in (rgb.tobytes(), array.array("B", rgb.tobytes()), rgb.ravel().tolist(), bytearray(rgb.tobytes())):
        msg = encode_color(factory, rgb, 1, "camera")
        msg.data = data
        assert np.array_equal(decode_color(msg), rgb)
