"""Networks whose speed is compared, and how long a decision of each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import build
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import Run, load_run
from vd_policy.policy.export import random_observation
from vd_policy.policy.gaussian import FeatureHead, GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.layers import held_weight
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.observation import ObservationSpec
from vd_policy.policy.prune import Masks, masked, prune, weight_layers

UNITS_LEFT = 0.32
"""Share of units in the pruned network: what Table I leaves at its median, were it units that it counts."""


def dense_and_pruned(spec: ObservationSpec, run: str, seed: int) -> dict[str, GaussianPolicy]:
    """Networks to compare by name: ``dense``; ``masked``, with a random third of its units; ``pruned``, without them.

    Args:
        spec: of the networks where there is no run.
        run: directory of a run, whose policy is ``pruned``; ``dense`` computes the same and is as wide as the network
            that was cloned. Empty for none.
        seed: of weights and masks.

    Raises:
        BadInput: the run does not say how wide that network was.
    """
    if run:
        return _of_run(load_run(run))
    dense = new_policy(spec, seed=seed)
    full = masked(dense, unit_masks(dense, UNITS_LEFT, seed))
    return {"dense": dense, "masked": full, "pruned": prune(full)[0]}


def _of_run(run: Run) -> dict[str, GaussianPolicy]:
    cloned = run.config.get("pretrain")
    if not isinstance(cloned, Mapping):
        raise BadInput("run", str(run.path), "a run of pretrain, or of prune or train after it", "choose another one")
    settings = build(PolicySettings, cloned["policy"], f"{run.path}: pretrain.policy")
    return {"dense": widened(run.policy, settings.mean), "pruned": run.policy}


def bench_spec(image_height: int, image_width: int) -> ObservationSpec:
    """A six-joint arm seen in images of this size."""
    names = tuple(f"joint_{i + 1}" for i in range(6))
    return ObservationSpec(names, image_height, image_width, (0.0,) * 6, (np.pi,) * 6, 2.0, np.pi / 5, 1.0)


def unit_masks(policy: GaussianPolicy, share: float, seed: int) -> Masks:
    """Masks that leave a random share of every hidden layer's units, whole."""
    rng, masks = np.random.default_rng(seed), {}
    for name, layer in weight_layers(policy.mean):
        kept = np.ones(len(layer.weight), dtype=bool)
        if name != "head":
            kept[rng.permutation(len(kept))[max(1, round(share * len(kept))) :]] = False
        masks[name] = torch.from_numpy(kept).view(-1, *[1] * (layer.weight.dim() - 1)).expand_as(layer.weight)
    return masks


def forward_ms(policies: Sequence[GaussianPolicy], rounds: int = 50) -> list[float]:
    """Median time of one decision of each policy, from a raw observation to mean and standard deviation [ms]."""
    return medians_ms([decision(policy) for policy in policies], rounds)


def as_dense(policy: GaussianPolicy) -> GaussianPolicy:
    """A policy of the same widths with plain layers: what the network costs without dropout rates or masks."""
    mean = replace(policy.settings.mean, layers="dense", masked=False)
    return new_policy(policy.spec, replace(policy.settings, mean=mean), seed=0)


def widened(policy: GaussianPolicy, shape: NetworkSettings) -> GaussianPolicy:
    """What a pruned policy computes, as the first units of a dense one: it acts alike, so that rollouts are the same.

    Args:
        shape: of the network of the means, no layer narrower than the policy's.
    """
    mean = replace(shape, layers="dense", masked=False, image_features=None)
    wide = new_policy(policy.spec, replace(policy.settings, mean=mean), seed=0)
    narrow, small, large = policy.settings.mean, policy.mean.encoder, wide.mean.encoder
    read = torch.arange(narrow.flat_features(policy.spec)) if small.image_index is None else small.image_index
    joints = shape.image_widths[-1] + torch.arange(narrow.joint_widths[-1])
    features = torch.cat((torch.arange(narrow.image_widths[-1]), joints))
    with torch.no_grad():
        for stream in ("conv", "image_fc", "joint_fc"):
            for number, layers in enumerate(zip(getattr(small, stream), getattr(large, stream))):
                _place(*layers, read if (stream, number) == ("image_fc", 0) else None)
        _place(policy.mean.head, wide.mean.head, features)
        if isinstance(policy.sigma, FeatureHead):
            _place(policy.sigma.head, wide.sigma.head, features)
        else:
            wide.sigma.load_state_dict(policy.sigma.state_dict())
    return wide


def _place(small: Any, large: Any, columns: Tensor | None = None) -> None:
    """The weights of one layer in another one's first rows, and in the columns given or its first ones."""
    rows, inputs = small.weight.shape[:2]
    large.weight.zero_()
    large.bias.zero_()
    large.weight[:rows, torch.arange(inputs) if columns is None else columns] = held_weight(small)
    large.bias[:rows] = small.bias


def medians_ms(actions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median duration of each action, after one call to warm up; the actions take turns [ms]."""
    times: list[list[float]] = [[] for _ in actions]
    for action in actions:
        action()
    for _ in range(rounds):
        for action, durations in zip(actions, times):
            begun = time.perf_counter()
            action()
            durations.append(1000.0 * (time.perf_counter() - begun))
    return [statistics.median(durations) for durations in times]


def decision(policy: GaussianPolicy) -> Callable[[], object]:
    """One decision in torch, from a raw observation to mean and standard deviation."""
    actor, obs = GaussianActor(policy.eval()), random_observation(policy.spec, 1, seed=0)
    state = actor.begin(1, np.random.default_rng(0))
    return lambda: actor.act(obs, state, explore=False)
