"""A policy as plain values and arrays: its manifest and its tensors, for files and for topics alike.

What comes back in is judged against the manifest before use: shape by shape, and never by running code from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vd_policy import __version__
from vd_policy.base import settings
from vd_policy.base.errors import BadInput
from vd_policy.policy.cost import parameter_count
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings
from vd_policy.policy.layers import DenseConv2d, DenseLinear
from vd_policy.policy.network import TwoStreamNetwork
from vd_policy.policy.observation import ObservationSpec

SCHEMA = 1
KIND = "gaussian"
MAX_PARAMETERS = 100_000_000
MAX_LAYERS = 16

Manifest = dict[str, Any]


def policy_manifest(policy: GaussianPolicy, extra: Mapping[str, Any] | None = None) -> Manifest:
    """What a policy is, without its weights.

    Args:
        policy: described by its observation spec and the shape of its networks.
        extra: further entries such as ``weight_version``, ``env_steps``, ``parents`` and ``seeds``; JSON values only.
    """
    manifest: Manifest = {
        "schema": SCHEMA,
        "kind": KIND,
        "software": __version__,
        "observation": policy.spec.to_manifest(),
        "network": settings.as_dict(policy.settings),
        "weight_version": 0,
        "env_steps": {"pretraining": 0, "rl": 0},
        "parents": {},
        "seeds": {},
    }
    fixed = ("schema", "kind", "software", "observation", "network")
    for name, value in (extra or {}).items():
        if name in fixed:
            raise BadInput("manifest entry", name, "one that the policy does not define itself", "rename it")
        manifest[name] = value
    try:
        json.dumps(manifest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput("manifest", str(error), "JSON values", "convert it") from None
    return manifest


def policy_tensors(policy: GaussianPolicy) -> dict[str, np.ndarray]:
    """Parameters and buffers by stable names: copies that later training does not touch."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in policy.state_dict().items()}


def policy_from(
    manifest: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: str = "policy"
) -> GaussianPolicy:
    """The policy that a manifest and tensors describe.

    Args:
        manifest: as `policy_manifest` gives it; further entries are ignored.
        tensors: as `policy_tensors` gives them.
        where: what is being read, for the messages.

    Raises:
        BadInput: another schema or kind of actor, an impossible shape, tensors missing, too many, of another shape or
            type, not finite, or at odds with their masks.
    """
    spec, shape = read_manifest(manifest, where)
    with torch.random.fork_rng(devices=[]):
        policy = GaussianPolicy(spec, shape)
    state = policy.state_dict()
    _check_tensors(state, tensors, where)
    policy.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in state})
    _check_buffers(policy, where)
    return policy.eval()


def read_manifest(manifest: Mapping[str, Any], where: str) -> tuple[ObservationSpec, PolicySettings]:
    """Observation spec and shape of the networks, checked before any memory is spent on them."""
    if not isinstance(manifest, Mapping):
        raise BadInput(where, type(manifest).__name__, "a mapping", "this is no manifest of a policy")
    schema = manifest.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        newer = isinstance(schema, int) and schema > SCHEMA
        fix = "install a newer vd_policy" if newer else "write it again with this version"
        raise BadInput(f"{where}: schema", schema, str(SCHEMA), fix)
    if manifest.get("kind") != KIND:
        raise BadInput(f"{where}: kind", manifest.get("kind"), repr(KIND), "load it with the software that wrote it")
    try:
        spec = ObservationSpec.from_manifest(_part(manifest, "observation", where), f"{where}: observation")
        shape = settings.build(PolicySettings, _part(manifest, "network", where), f"{where}: network")
    except BadInput as error:
        if error.what.startswith(where):
            raise
        raise BadInput(f"{where}: {error.what}", error.value, error.allowed, error.fix) from None
    _check_size(spec, shape, where)
    return spec, shape


def same_shape_check(current: Mapping[str, Any], offered: Mapping[str, Any], where: str = "offered policy") -> None:
    """Refuse a policy that may not replace the current one in flight.

    Raises:
        BadInput: another joint list, image size, rate, scale or network; names the first difference.
    """
    for part in ("observation", "network"):
        here, there = _flat(current.get(part), part), _flat(offered.get(part), part)
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                fix = "stop the policy node and start it with the new policy"
                raise BadInput(f"{where}: {name}", there.get(name), f"{here.get(name)!r} as now", fix)


def _part(manifest: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    part = manifest.get(name)
    if not isinstance(part, Mapping):
        raise BadInput(f"{where}: {name}", part, "a mapping", "save the policy again")
    return part


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {key: leaf for name, part in value.items() for key, leaf in _flat(part, f"{prefix}.{name}").items()}


def _check_size(spec: ObservationSpec, shape: PolicySettings, where: str) -> None:
    for name, network in (("mean", shape.mean), ("sigma", shape.sigma)):
        if network is None:
            continue
        for part in ("conv_channels", "image_widths", "joint_widths"):
            count = len(getattr(network, part))
            if count > MAX_LAYERS:
                raise BadInput(f"{where}: {name}.{part}", f"{count} layers", f"at most {MAX_LAYERS}", "use fewer")
        parameters = parameter_count(network, spec)
        if parameters > MAX_PARAMETERS:
            fix = "use smaller widths or images"
            raise BadInput(f"{where}: parameters of {name}", parameters, f"at most {MAX_PARAMETERS}", fix)


def _check_tensors(state: Mapping[str, torch.Tensor], tensors: Mapping[str, np.ndarray], where: str) -> None:
    fix = "use the weights that belong to this manifest"
    if missing := sorted(state.keys() - tensors.keys()):
        raise BadInput(f"{where}: tensor {missing[0]}", None, "present", fix)
    if extra := sorted(tensors.keys() - state.keys()):
        raise BadInput(f"{where}: tensor", extra[0], "only those of the network", fix)
    for name, expected in state.items():
        found, kind = tensors[name], expected.numpy().dtype
        if tuple(found.shape) != tuple(expected.shape) or found.dtype != kind:
            allowed = f"{kind} {tuple(expected.shape)}"
            raise BadInput(f"{where}: tensor {name}", f"{found.dtype} {tuple(found.shape)}", allowed, fix)
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise BadInput(f"{where}: tensor {name}", "NaN or Inf", "finite numbers", "keep the last good weights")


def _check_buffers(policy: GaussianPolicy, where: str) -> None:
    """What the layers rely on: zeros outside the masks, and feature positions that exist and rise."""
    for name, module in policy.named_modules():
        if isinstance(module, (DenseLinear, DenseConv2d)) and module.kept is not None:
            if module.weight[~module.kept].any():
                raise BadInput(f"{where}: tensor {name}.weight", "not zero where pruned", "zero there", "prune again")
    for name, network in policy.named_children():
        if not isinstance(network, TwoStreamNetwork):
            continue
        index = network.encoder.image_index
        flat = network.shape.flat_features(policy.spec)
        if index is not None and (index[0] < 0 or index[-1] >= flat or (index.diff() <= 0).any()):
            raise BadInput(f"{where}: tensor {name}.encoder.image_index", index.tolist()[:8],
                           f"rising positions from 0 to {flat - 1}", "prune again")  # fmt: skip
