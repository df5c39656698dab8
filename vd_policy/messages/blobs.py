"""Episodes and weights as bytes: safetensors with JSON metadata, no pickle, every size capped before parsing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from vd_policy.base.episode import OBS_KEYS, Episode
from vd_policy.base.errors import BadInput
from vd_policy.messages.types import MessageFactory, as_array

SCHEMA = 1
MAX_HEADER_BYTES = 1 << 20
MAX_EPISODE_BYTES = 512 << 20
MAX_WEIGHTS_BYTES = 256 << 20

_EPISODE_TYPES: dict[str, tuple[type, int]] = {
    "rgb": (np.uint8, 4), "depth": (np.uint16, 3), "q": (np.float32, 2),
    "action": (np.float32, 2), "applied": (np.float32, 2), "label": (np.float32, 2),
    "reward": (np.float32, 1), "log_prob": (np.float32, 1), "scene": (np.float64, 1),
}  # fmt: skip
"""Tensor name to data type and number of dimensions."""
_EPISODE_SCALARS = {
    "terminated": bool, "truncated": bool, "success": bool, "failure": bool, "source": str, "sequence": int,
    "weight_version": int, "task": str, "seed": int, "life": str,
}  # fmt: skip
_OPTIONAL = {"life": ""}
"""Scalars that older senders leave out."""
_WEIGHT_TYPES = ("float16", "float32", "float64", "uint8", "int32", "int64", "bool")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


def pack_episode(episode: Episode) -> bytes:
    """One episode as safetensors bytes; `unpack_episode` gives the same bits back."""
    episode.check("episode to send")
    names = ("action", "applied", "reward", "log_prob", "scene")
    arrays = {**{k: episode.obs[k] for k in OBS_KEYS}, **{name: getattr(episode, name) for name in names}}
    if episode.label is not None:
        arrays["label"] = episode.label
    tensors: dict[str, np.ndarray] = {n: np.ascontiguousarray(a, _EPISODE_TYPES[n][0]) for n, a in arrays.items()}
    scalars = {name: kind(getattr(episode, name)) for name, kind in _EPISODE_SCALARS.items()}
    return _pack("episode", tensors, scalars)


def unpack_episode(data: bytes) -> Episode:
    """The episode in `data`.

    Raises:
        BadInput: oversized, truncated or malformed bytes, a wrong type or shape, lengths that disagree, NaN or Inf.
    """
    tensors, scalars = _unpack("episode", data, MAX_EPISODE_BYTES)
    scalars = _OPTIONAL | scalars
    for name in _EPISODE_TYPES:
        if name in tensors:
            _check_tensor(name, tensors[name])
        elif name != "label":
            raise BadInput(f"episode: tensor {name}", None, "present", "send whole episodes")
    if extra := sorted(set(tensors) - set(_EPISODE_TYPES)):
        raise BadInput("episode: tensor", extra[0], "one of " + ", ".join(_EPISODE_TYPES), "send episodes only")
    for name, kind in _EPISODE_SCALARS.items():
        if type(scalars.get(name)) is not kind:
            raise BadInput(f"episode: {name}", scalars.get(name), kind.__name__, "send whole episodes")
    if tensors["depth"].shape != tensors["rgb"].shape[:3] or tensors["rgb"].shape[3] != 3:
        raise BadInput("episode: image shapes", (tensors["rgb"].shape, tensors["depth"].shape),
                       "(T+1, H, W, 3) and (T+1, H, W)", "send the images of one camera")  # fmt: skip
    for name in ("applied", "label"):
        if name in tensors and tensors[name].shape != tensors["action"].shape:
            raise BadInput(f"episode: {name} shape", tensors[name].shape, str(tensors["action"].shape), "send (T, A)")
    obs = {key: tensors.pop(key) for key in OBS_KEYS}
    label = tensors.pop("label", None)
    values: dict[str, Any] = {**tensors, **{k: scalars[k] for k in _EPISODE_SCALARS}}
    return Episode(obs=obs, label=label, **values).check("episode")


def pack_weights(tensors: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> bytes:
    """Weights and the manifest that says what they are, as safetensors bytes."""
    arrays = {}
    for name, value in tensors.items():
        arrays[name] = np.ascontiguousarray(value)
        _check_weight(name, arrays[name])
    return _pack("weights", arrays, dict(manifest))


def unpack_weights(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and manifest.

    Raises:
        BadInput: oversized, truncated or malformed bytes, a type that no weight has, NaN or Inf.
    """
    tensors, manifest = _unpack("weights", data, MAX_WEIGHTS_BYTES)
    for name, value in tensors.items():
        _check_weight(name, value)
    return tensors, manifest


def encode_blob(factory: MessageFactory, data: bytes) -> Any:
    """`std_msgs/UInt8MultiArray` of bytes."""
    layout = factory.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
    return factory.make("std_msgs/msg/UInt8MultiArray", layout=layout, data=factory.u8(data))


def decode_blob(msg: Any) -> bytes:
    """The bytes of a `std_msgs/UInt8MultiArray`."""
    return as_array(msg.data, np.uint8).tobytes()


def _pack(kind: str, tensors: dict[str, np.ndarray], values: dict[str, Any]) -> bytes:
    metadata = {"kind": kind, "schema": str(SCHEMA), "values": json.dumps(values, allow_nan=False)}
    return safetensors.save(tensors, metadata)


def _unpack(kind: str, data: bytes, max_bytes: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and values of a blob of this kind; sizes are judged before anything is parsed."""
    if len(data) > max_bytes:
        raise BadInput(f"{kind}: size [bytes]", len(data), f"at most {max_bytes}", "send smaller ones")
    header_bytes = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header_bytes > min(MAX_HEADER_BYTES, len(data) - 8):
        raise BadInput(f"{kind}: header length [bytes]", header_bytes,
                       f"at most {MAX_HEADER_BYTES} and inside the {len(data)} bytes received",
                       "the data is truncated or no safetensors")  # fmt: skip
    try:
        header = json.loads(data[8 : 8 + header_bytes])
        metadata = header["__metadata__"]
        values = json.loads(metadata["values"]) if metadata["kind"] == kind else None
        schema = metadata["schema"]
        tensors = safetensors.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise BadInput(f"{kind}: bytes", f"{type(error).__name__}: {error}", f"safetensors of kind {kind!r}",
                       "send it again; both sides need the same version") from None  # fmt: skip
    if not isinstance(values, dict) or schema != str(SCHEMA):
        raise BadInput(f"{kind}: kind and schema", (metadata["kind"], schema), f"{kind!r} and '{SCHEMA}'",
                       "both sides need the same version")  # fmt: skip
    return tensors, values


def _check_tensor(name: str, value: np.ndarray) -> None:
    dtype, dimensions = _EPISODE_TYPES[name]
    if value.dtype != dtype or value.ndim != dimensions:
        raise BadInput(f"episode: {name} type and shape", (str(value.dtype), value.shape),
                       f"{np.dtype(dtype).name} with {dimensions} dimensions", "send it so")  # fmt: skip
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadInput(f"episode: {name}", "NaN or Inf", "finite numbers", "drop the episode")


def _check_weight(name: str, value: np.ndarray) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput("weights: tensor name", name, "letters, digits, '.', '_' and '-'", "rename it")
    if value.dtype.name not in _WEIGHT_TYPES:
        raise BadInput(f"weights: {name} type", str(value.dtype), "one of " + ", ".join(_WEIGHT_TYPES), "convert it")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadInput(f"weights: {name}", "NaN or Inf", "finite numbers", "keep the last good weights")
