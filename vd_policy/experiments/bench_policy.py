"""How fast a policy decides and learns: dense, masked and pruned; torch and ONNX Runtime; one thread.

Variants are timed in turns within one run, so that their ratios survive a busy machine; absolute times may not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vd_policy.experiments.timed_networks import bench_spec, decision, dense_and_pruned, medians_ms
from vd_policy.policy.cost import flops, parameter_count
from vd_policy.policy.export import onnx_session, random_observation
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.layers import total_kl
from vd_policy.policy.observation import ObservationSpec
from vd_policy.policy.onnx_graph import onnx_model

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


def _onnx_decision(policy: GaussianPolicy) -> Callable[[], object]:
    session, obs = onnx_session(onnx_model(policy)), random_observation(policy.spec, 1, seed=0)
    return lambda: session.run(None, obs)


def _forward_figures(policies: dict[str, GaussianPolicy], rounds: int) -> dict[str, float]:
    found = {}
    for engine, make in (("torch", decision), ("onnx", _onnx_decision)):
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
