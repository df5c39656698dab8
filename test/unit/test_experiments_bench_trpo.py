"""The benchmark of TRPO, and sb3-contrib's TRPO on our networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import as_dict
from vd_policy.experiments.bench_policy import bench_policy
from vd_policy.experiments.bench_trpo import bench_trpo
from vd_policy.experiments.timed_networks import UNITS_LEFT, bench_spec, unit_masks, widened
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.cost import flops
from vd_policy.policy.export import random_observation
from vd_policy.policy.gaussian import PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.prune import masked, prune
from vd_policy.sim.env import ArmEnv


def test_the_benchmark_of_trpo_gives_its_parts_and_ratios():
    figures = bench_trpo((16,), rounds=1)
    for name in ("dense", "pruned"):
        parts = figures[f"collect_{name}_16px_s"] + figures[f"update_{name}_16px_s"]
        assert figures[f"iteration_{name}_16px_s"] == pytest.approx(parts)
    assert figures["iteration_16px_speedup"] > 0.0


def small_run(path, joints: tuple[str, ...], size: int = 16):
    """A run whose network is narrower than the default's, as a pruned one is."""
    spec = replace(bench_spec(size, size), joints=joints)
    policy = new_policy(spec, PolicySettings(mean=NetworkSettings(conv_channels=(2, 3, 4))), seed=0)
    cloned = as_dict(PolicySettings(mean=NetworkSettings(conv_channels=(4, 6, 8))))
    return save_run(path, policy, config={"pretrain": {"policy": cloned}}), policy


def test_a_run_is_timed_beside_the_dense_network_that_it_was_cloned_as(tmp_path):
    env = ArmEnv()
    env.close()
    path, policy = small_run(tmp_path / "run", env.robot.joints)
    found = bench_trpo(run=str(path), rounds=1)
    assert found["iteration_16px_speedup"] > 0.0 and not any("sb3" in name for name in found)
    figures = bench_policy(run=str(path), rounds=1, batch=4)
    assert figures["flops_pruned"] == flops(policy.mean.shape, policy.spec)
    cloned = new_policy(policy.spec, PolicySettings(mean=NetworkSettings(conv_channels=(4, 6, 8))), seed=0)
    assert figures["flops_dense"] == flops(cloned.mean.shape, policy.spec) > figures["flops_pruned"]
    assert "forward_torch_masked_ms" not in figures and figures["forward_onnx_speedup"] > 0.0


@pytest.mark.parametrize("sigma", [None, NetworkSettings(conv_channels=(3,))])
def test_the_dense_network_beside_a_run_decides_as_it_does(sigma):
    spec = bench_spec(32, 32)
    full = new_policy(spec, PolicySettings(sigma=sigma), seed=0)
    pruned = prune(masked(full, unit_masks(full, UNITS_LEFT, seed=0)))[0]
    with torch.no_grad():
        pruned.sigma.head.weight.normal_()
    wide = widened(pruned, full.settings.mean)
    obs = random_observation(spec, 4, seed=1)
    assert flops(wide.mean.shape, spec) == flops(full.mean.shape, spec) > 2 * flops(pruned.mean.shape, spec)
    for ours, theirs in zip(pruned(obs), wide(obs)):
        assert torch.allclose(ours, theirs, atol=1e-5) and float(ours.std()) > 0.0


def test_a_run_that_was_never_cloned_is_not_compared(tmp_path):
    _, policy = small_run(tmp_path / "run", tuple("abcdef"))
    path = save_run(tmp_path / "other", policy, config={})
    with pytest.raises(BadInput, match="a run of pretrain"):
        bench_policy(run=str(path), rounds=1)


def test_a_run_of_another_arm_is_refused_by_the_benchmark_of_trpo(tmp_path):
    path, _ = small_run(tmp_path / "run", tuple(f"other_{i}" for i in range(6)))
    with pytest.raises(BadInput, match="other_0"):
        bench_trpo(run=str(path), rounds=1)


def test_sb3_contribs_trpo_updates_our_networks():
    pytest.importorskip("sb3_contrib")
    figures = bench_trpo((16,), rounds=1)
    ratio = figures["update_sb3_cpu_s"] / figures["update_ours_cpu_s"]
    assert figures["update_sb3_to_ours"] == pytest.approx(ratio)
