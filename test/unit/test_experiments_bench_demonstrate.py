"""The benchmark of demonstrations."""

from __future__ import annotations

from vd_policy.experiments.bench_demonstrate import bench_demonstrate


def test_the_benchmark_of_demonstrations_counts_the_experts_pairs_and_those_of_a_policy():
    figures = bench_demonstrate(samples=30, size=16, epochs=1)
    for name in ("reach", "reach_free", "grasp", "grasp_actor"):
        assert figures[f"pairs_per_cpu_s_{name}"] > 0.0
        assert 2.0 <= figures[f"steps_per_episode_{name}"] <= 25.0
