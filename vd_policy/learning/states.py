"""Training state as flat dictionaries of tensors, which is all that safetensors can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vd_policy.base.errors import BadInput

State = dict[str, Tensor]


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The same tensors under ``<prefix>.<name>``."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The inverse of `prefixed`: what lies under `prefix`, without it."""
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def load_module(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load every tensor of `module`.

    Raises:
        BadInput: a tensor is missing, left over, or of another shape; names the first one.
    """
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(state)) or [name for name, v in own.items() if v.shape != state[name].shape]
    if wrong:
        raise BadInput(what, wrong[0], "exactly the tensors of this network", "resume from the run it belongs to")
    module.load_state_dict(state)


def optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """The moments of Adam's kind, ``<parameter index>.<name>``."""
    entries = optimizer.state_dict()["state"].items()
    return {f"{index}.{name}": value for index, entry in entries for name, value in entry.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_state`; step sizes and the like stay as `optimizer` was built."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def json_tensor(value: Any) -> Tensor:
    """Plain values as the bytes of their JSON."""
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def from_json_tensor(tensor: Tensor) -> Any:
    """The inverse of `json_tensor`."""
    return json.loads(tensor.numpy().tobytes())
