"""How fast a policy decides and learns: dense, masked and pruned; torch and ONNX Runtime; one thread.

Variants are timed in turns within one run, so that their ratios survive a busy machine; absolute times may not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import build
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import Run, load_run
from vd_policy.policy.cost import flops, parameter_count
from vd_policy.policy.export import onnx_session, random_observation
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.layers import total_kl
from vd_policy.policy.observation import ObservationSpec
from vd_policy.policy.onnx_graph import onnx_model
from vd_policy.policy.prune import Masks, masked, prune, weight_layers

UNITS_LEFT = 0.32
"""Share of units in the pruned network: what Table I leaves at its median, were it units that it counts."""
SAMPLES = 8000
"""Size of the demonstrations, which scales the KL in a training step."""


def bench_policy(
    image_height: int = 128, image_width: int = 128, *, run: str = "", batch: int = 100, rounds: int = 15, seed: int = 0
) -> dict[str, float]:
    """Time one decision and one training step.

    Args:
        image_height, image_width: of the observation [pixels]; a run has its own.
        run: directory of a pruned run to time; without one, a network of which a random third of the units is left.
        batch: observations in a training step.
        rounds: repetitions of each measurement; medians are reported (of ten times as many decisions).
        seed: of weights, masks and observations.

    Returns:
        Figures with their unit as suffix: forward passes of dense, masked and pruned policies in torch and ONNX
        Runtime, training steps dense and variational, and their ratios.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        policies = dense_and_pruned(bench_spec(image_height, image_width), run, seed)
        spec = policies["dense"].spec
        figures = _forward_figures(policies, 10 * rounds)
        figures |= _step_figures(spec, batch, rounds, seed)
    finally:
        torch.set_num_threads(threads)
    sizes = ((name, policies[name].mean.shape) for name in ("dense", "pruned"))
    return figures | {f"{what}_{name}": count(shape, spec) for name, shape in sizes
                      for what, count in (("parameters", parameter_count), ("flops", flops))}  # fmt: skip


def dense_and_pruned(spec: ObservationSpec, run: str, seed: int) -> dict[str, GaussianPolicy]:
    """Networks to compare by name: ``dense``; ``masked``, with a random third of its units; ``pruned``, without them.

    Args:
        spec: of the networks where there is no run.
        run: directory of a run, whose policy is ``pruned``; ``dense`` is as wide as the network that was cloned. Empty
            for none.
        seed: of weights and masks.

    Raises:
        BadInput: the run does not say how wide that network was.
    """
    if run:
        return _of_run(load_run(run), seed)
    dense = new_policy(spec, seed=seed)
    full = masked(dense, unit_masks(dense, UNITS_LEFT, seed))
    return {"dense": dense, "masked": full, "pruned": prune(full)[0]}


def _of_run(run: Run, seed: int) -> dict[str, GaussianPolicy]:
    cloned = run.config.get("pretrain")
    if not isinstance(cloned, Mapping):
        raise BadInput("run", str(run.path), "a run of pretrain, or of prune or train after it", "choose another one")
    settings = build(PolicySettings, cloned["policy"], f"{run.path}: pretrain.policy")
    return {"dense": as_dense(new_policy(run.spec, settings, seed=seed)), "pruned": run.policy}


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
    return medians_ms([_decision(policy) for policy in policies], rounds)


def as_dense(policy: GaussianPolicy) -> GaussianPolicy:
    """A policy of the same widths with plain layers: what the network costs without dropout rates or masks."""
    mean = replace(policy.settings.mean, layers="dense", masked=False)
    return new_policy(policy.spec, replace(policy.settings, mean=mean), seed=0)


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


def _decision(policy: GaussianPolicy) -> Callable[[], object]:
    actor, obs = GaussianActor(policy.eval()), random_observation(policy.spec, 1, seed=0)
    state = actor.begin(1, np.random.default_rng(0))
    return lambda: actor.act(obs, state, explore=False)


def _onnx_decision(policy: GaussianPolicy) -> Callable[[], object]:
    session, obs = onnx_session(onnx_model(policy)), random_observation(policy.spec, 1, seed=0)
    return lambda: session.run(None, obs)


def _forward_figures(policies: dict[str, GaussianPolicy], rounds: int) -> dict[str, float]:
    found = {}
    for engine, make in (("torch", _decision), ("onnx", _onnx_decision)):
        for name, value in zip(policies, medians_ms([make(policy) for policy in policies.values()], rounds)):
            found[f"forward_{engine}_{name}_ms"] = value
        found[f"forward_{engine}_speedup"] = found[f"forward_{engine}_dense_ms"] / found[f"forward_{engine}_pruned_ms"]
    return found


def _step_figures(spec: ObservationSpec, batch: int, rounds: int, seed: int) -> dict[str, float]:
    dense, variational = medians_ms([_step(spec, layers, batch, seed) for layers in ("dense", "variational")], rounds)
    return {"step_dense_ms": dense, "step_vd_ms": variational, "step_ratio": variational / dense}


def _step(spec: ObservationSpec, layers: str, batch: int, seed: int) -> Callable[[], object]:
    """One cloning step from raw observations, as pre-training takes it: mean NLL plus KL / N, then Adam."""
    settings = PolicySettings()
    policy = new_policy(spec, replace(settings, mean=replace(settings.mean, layers=layers)), seed=seed).train()
    obs, label = random_observation(spec, batch, seed), torch.rand(batch, spec.action_size)
    optimiser = torch.optim.Adam(policy.mean.parameters(), 1e-3)

    def step() -> None:
        loss = ((policy.mean(obs) - label) / settings.initial_std).square().sum(1).mean() / 2
        loss = loss + total_kl(policy.mean) / SAMPLES
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step
