"""FAULTS 6 to 10, 17, 25 and 36 where they meet a message."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from message_factory import FACTORIES
from safetensors.numpy import save

from vd_policy.base.errors import BadInput
from vd_policy.messages import blobs
from vd_policy.messages.blobs import pack_episode, pack_weights, unpack_episode, unpack_weights
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.joints import JointReader, encode_joints
from vd_policy.messages.trajectory import decode_trajectory, encode_trajectory

NAMES = ("a", "b", "c")


def image(
    encoding: str, pixels: np.ndarray, *, step: int | None = None, big: bool = False, pad: int = 0
) -> SimpleNamespace:
    """A message of pixels (H, W[, C]) with `pad` bytes after each row."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).view(np.uint8)
    padded = np.hstack([rows, np.full((height, pad), 0xAB, np.uint8)])
    return SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=int(big),
                           step=padded.shape[1] if step is None else step, data=padded.tobytes())  # fmt: skip


def test_depth_that_is_nan_infinite_zero_or_negative_is_masked():
    """FAULT 6."""
    metres = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.5, 65.5356, 0.0004, 1.2344]], "<f4")
    assert decode_depth(image("32FC1", metres)).tolist() == [[0, 0, 0, 0, 0, 0, 0, 1234]]


def test_depth_is_millimetres_or_metres_by_its_encoding():
    """FAULT 7."""
    mm = np.array([[0, 1, 1500, 65535]], "<u2")
    assert decode_depth(image("16UC1", mm)).tolist() == mm.tolist()
    assert decode_depth(image("32FC1", (mm / 1000).astype("<f4"))).tolist() == mm.tolist()


@pytest.mark.parametrize(
    "decode,encoding",
    [
        (decode_depth, "rgb8"),
        (decode_depth, "64FC1"),
        (decode_color, "bayer_rggb8"),
        (decode_color, "16UC1"),
        (decode_color, ""),
    ],
)
def test_another_encoding_is_refused_by_name(decode, encoding, monkeypatch):
    """FAULTS 7, 8."""
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(BadInput, match=f"image encoding is '{encoding}'"):
        decode(image(encoding, np.zeros((2, 2, 3), np.uint8)))


@pytest.mark.parametrize(
    "encoding,order", [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])]
)
@pytest.mark.parametrize("pad", [0, 5])
def test_colour_in_any_channel_order_and_with_padded_rows_is_converted(encoding, order, pad):
    """FAULT 8."""
    rgb = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    assert np.array_equal(decode_color(image(encoding, np.ascontiguousarray(rgb[..., order]), pad=pad)), rgb)


def test_grey_becomes_three_equal_channels():
    """FAULT 8."""
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_color(image("mono8", grey, pad=3)), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("encoding,dtype", [("16UC1", "u2"), ("32FC1", "f4")])
@pytest.mark.parametrize("pad", [0, 8])
def test_big_endian_depth_with_padded_rows_is_converted(encoding, dtype, pad):
    """FAULT 8."""
    mm = np.random.default_rng(0).integers(0, 65536, (3, 4))
    values = mm if dtype == "u2" else mm / 1000
    for order, big in ((">", True), ("<", False)):
        assert np.array_equal(decode_depth(image(encoding, values.astype(order + dtype), big=big, pad=pad)), mm)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 4},
        {"width": 5},
        {"step": 3},
        {"step": 13},
        {"height": 0},
        {"width": -1},
        {"height": 2**31},
        {"data": b""},
    ],
)
def test_an_image_of_another_size_than_its_bytes_is_refused(change):
    """FAULT 8."""
    msg = image("rgb8", np.zeros((3, 4, 3), np.uint8))
    vars(msg).update(change)
    with pytest.raises(BadInput, match="image"):
        decode_color(msg)


@pytest.fixture(params=FACTORIES, ids=lambda f: type(f).__name__)
def factory(request):
    return request.param


def test_permuted_and_extra_joints_are_matched_by_name(factory):
    """FAULT 9."""
    msg = encode_joints(factory, ("finger", "c", "a", "b"), np.array([9.0, 3.0, 1.0, 2.0]), 1)
    assert np.array_equal(JointReader(NAMES).read(msg), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("names,named", [(("a", "b"), "'c'"), (("a", "b", "b", "c"), "'b'"), ((), "'a'")])
def test_a_missing_or_doubled_joint_is_named(factory, names, named):
    """FAULT 9."""
    with pytest.raises(BadInput, match=f"joint is {named}"):
        JointReader(NAMES).read(encode_joints(factory, names, np.zeros(len(names)), 1))


def test_a_joint_named_twice_that_nobody_wants_does_not_matter(factory):
    """FAULT 9."""
    msg = encode_joints(factory, ("f", "a", "f"), np.array([8.0, 1.0, 9.0]), 1)
    assert JointReader(("a",)).read(msg) == [1.0]


def test_fewer_positions_than_names_are_refused(factory):
    """FAULT 9."""
    msg = encode_joints(factory, NAMES, np.zeros(3), 1)
    msg.position = factory.f64([1.0, 2.0])
    with pytest.raises(BadInput, match="positions is 2"):
        JointReader(NAMES).read(msg)


def test_empty_velocity_and_effort_are_fine(factory):
    """FAULT 10."""
    msg = encode_joints(factory, NAMES, np.array([1.0, 2.0, 3.0]), 1)
    assert len(msg.velocity) == len(msg.effort) == 0
    assert np.array_equal(JointReader(NAMES).read(msg), [1.0, 2.0, 3.0])


def test_a_command_for_other_joints_or_of_another_length_is_refused(factory):
    """FAULT 17."""

    def command(names, positions):
        return encode_trajectory(factory, names, np.asarray(positions), 1.0, 1, "x")

    short = command(NAMES, [1.0, 2.0, 3.0])
    short.points[0].positions = factory.f64([1.0])
    empty = command(NAMES, [1.0, 2.0, 3.0])
    empty.points = []
    twice = command(NAMES, [1.0, 2.0, 3.0])
    twice.points = twice.points * 2
    backwards = command(NAMES, [1.0, 2.0, 3.0])
    backwards.points[0].time_from_start.sec = -1
    for bad in (command(("a", "b", "z"), [0.0] * 3), command(("a", "b"), [0.0] * 2), command((*NAMES, "z"), [0.0] * 4),
                short, empty, twice, backwards):  # fmt: skip
        with pytest.raises(BadInput, match="command"):
            decode_trajectory(bad, NAMES)


WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}


def hostile(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


KIND = {"kind": "weights", "values": "{}", "schema": "1"}


def one_tensor(dtype: str, shape: list[int], end: int) -> bytes:
    return hostile({"__metadata__": KIND, "w": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}, b"1234")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        (2**40).to_bytes(8, "little") + b"x" * 100,
        hostile(b"{" * 5000),
        hostile([]),
        hostile({}),
        hostile({"__metadata__": {"kind": "weights"}}),
        hostile({"__metadata__": {**KIND, "values": "[" * 90000}}),
        hostile({"__metadata__": {**KIND, "values": "3"}}),
        one_tensor("F32", [2**62], 4),
        one_tensor("F32", [1], 400),
        one_tensor("OBJ", [1], 4),
    ],
)
def test_bytes_made_to_hurt_are_refused_before_they_are_used(data):
    """FAULT 36, on a wire."""
    for unpack in (unpack_weights, unpack_episode):
        with pytest.raises(BadInput):
            unpack(data)


def test_a_blob_cut_off_anywhere_is_refused():
    """FAULT 36, on a wire."""
    whole = pack_weights(WEIGHTS, {"version": 1})
    for length in range(0, len(whole), 7):
        with pytest.raises(BadInput):
            unpack_weights(whole[:length])


def test_weights_with_nan_an_odd_type_or_an_odd_name_are_neither_sent_nor_taken():
    """FAULT 25."""
    bad = [
        {"w": np.array([np.nan], np.float32)},
        {"w": np.array([np.inf])},
        {"w": np.array([1j])},
        {"../w": np.zeros(1)},
    ]
    for tensors in bad:
        with pytest.raises(BadInput):
            pack_weights(tensors, {})
    metadata = {"kind": "weights", "schema": "1", "values": "{}"}
    for tensors in (bad[0], bad[1], bad[3]):
        with pytest.raises(BadInput):
            unpack_weights(save(tensors, metadata))


def test_another_kind_or_schema_is_refused():
    """FAULT 25."""
    for kind, schema in (("episode", "1"), ("weights", "2")):
        with pytest.raises(BadInput):
            unpack_weights(save(WEIGHTS, {"kind": kind, "schema": schema, "values": "{}"}))


def test_a_blob_over_the_cap_is_refused_by_its_size(monkeypatch):
    """FAULT 36, on a wire."""
    monkeypatch.setattr(blobs, "MAX_WEIGHTS_BYTES", 100)
    with pytest.raises(BadInput, match="size"):
        unpack_weights(pack_weights(WEIGHTS, {}))


EPISODE = {
    "rgb": np.zeros((3, 2, 2, 3), np.uint8), "depth": np.zeros((3, 2, 2), np.uint16), "q": np.zeros((3, 2), np.float32),
    "action": np.zeros((2, 2), np.float32), "applied": np.zeros((2, 2), np.float32), "reward": np.zeros(2, np.float32),
    "log_prob": np.zeros(2, np.float32), "scene": np.zeros(3),
}  # fmt: skip
SCALARS = {"terminated": True, "truncated": False, "success": True, "failure": False, "source": "x", "sequence": 0,
           "weight_version": 0, "task": "reach", "seed": 0}  # fmt: skip


def packed(tensors: dict[str, np.ndarray], scalars: dict[str, object]) -> bytes:
    return save(tensors, {"kind": "episode", "schema": "1", "values": json.dumps(scalars)})


@pytest.mark.parametrize(
    "change",
    [
        {"rgb": np.zeros((2, 2, 2, 3), np.uint8)},
        {"rgb": np.zeros((3, 2, 2, 4), np.uint8)},
        {"depth": np.zeros((3, 2, 3), np.uint16)},
        {"q": np.zeros((3, 2), np.float64)},
        {"q": np.full((3, 2), np.nan, np.float32)},
        {"action": np.zeros((1, 2), np.float32)},
        {"applied": np.zeros((2, 3), np.float32)},
        {"reward": np.array([0, np.inf], np.float32)},
        {"scene": None},
        {"rgb": None},
        {"surprise": np.zeros(1)},
    ],
)
def test_an_episode_whose_arrays_disagree_is_refused(change):
    """FAULTS 25, 27: a rollout off the wire is checked before a learner sees it."""
    good = unpack_episode(packed(EPISODE, SCALARS))
    assert len(good) == 2 and good.life == "", "older senders name no life"
    tensors = {k: v for k, v in {**EPISODE, **change}.items() if v is not None}
    with pytest.raises(BadInput):
        unpack_episode(packed(tensors, SCALARS))


@pytest.mark.parametrize("change", [{"sequence": "0"}, {"terminated": 1}, {"seed": None}, {"source": 3}, {"life": 3}])
def test_an_episode_whose_values_have_other_types_is_refused(change):
    """FAULT 27."""
    with pytest.raises(BadInput):
        unpack_episode(packed(EPISODE, {**SCALARS, **change}))


def test_an_episode_with_nan_is_not_sent():
    """FAULT 25."""
    good = unpack_episode(packed(EPISODE, SCALARS))
    good.action[0, 0] = np.nan
    with pytest.raises(BadInput, match="action"):
        pack_episode(good)
