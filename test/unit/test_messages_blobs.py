"""Episodes and weights as bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from message_factory import FACTORIES

from vd_policy.base.episode import Episode
from vd_policy.messages.blobs import (
    decode_blob,
    encode_blob,
    pack_episode,
    pack_weights,
    unpack_episode,
    unpack_weights,
)


def episode(steps: int = 3, label: bool = True) -> Episode:
    rng = np.random.default_rng(steps)
    action = rng.normal(size=(3, steps, 2)).astype(np.float32)
    return Episode(
        obs={
            "rgb": rng.integers(0, 256, (steps + 1, 4, 5, 3), dtype=np.uint8),
            "depth": rng.integers(0, 65536, (steps + 1, 4, 5), dtype=np.uint16),
            "q": rng.normal(size=(steps + 1, 2)).astype(np.float32),
        },
        action=action[0], applied=action[1], label=action[2] if label else None,
        reward=rng.normal(size=steps).astype(np.float32), log_prob=rng.normal(size=steps).astype(np.float32),
        terminated=True, truncated=False, success=True, failure=False, source="/robot_a/policy", sequence=12,
        weight_version=3, task="reach", seed=7, scene=np.array([0.1, 0.2, 0.3]), life="5eed",
    )  # fmt: skip


@pytest.mark.parametrize("label", [True, False])
def test_an_episode_comes_back_bit_for_bit(label):
    sent = episode(label=label)
    got = unpack_episode(pack_episode(sent))
    for field in dataclasses.fields(Episode):
        a, b = getattr(sent, field.name), getattr(got, field.name)
        if field.name == "obs":
            assert all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)
        elif isinstance(a, np.ndarray):
            assert np.array_equal(a, b) and a.dtype == b.dtype, field.name
        else:
            assert a == b and type(a) is type(b), field.name


def test_weights_come_back_with_their_manifest():
    tensors = {
        "encoder.weight": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "n": np.array([2], np.int64),
    }
    got, manifest = unpack_weights(pack_weights(tensors, {"version": 4, "widths": [1, 2]}))
    assert manifest == {"version": 4, "widths": [1, 2]}
    assert all(np.array_equal(got[k], v) and got[k].dtype == v.dtype for k, v in tensors.items())


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda f: type(f).__name__)
def test_bytes_travel_in_a_message(factory):
    data = pack_weights({"w": np.ones(3, np.float32)}, {})
    assert decode_blob(encode_blob(factory, data)) == data
