"""The benchmark of TRPO, and sb3-contrib's TRPO on our networks."""

from __future__ import annotations

import pytest

from vd_policy.experiments.bench_trpo import bench_trpo


def test_the_benchmark_of_trpo_gives_its_parts_and_ratios():
    figures = bench_trpo((16,), rounds=1)
    for name in ("dense", "pruned"):
        parts = figures[f"collect_{name}_16px_s"] + figures[f"update_{name}_16px_s"]
        assert figures[f"iteration_{name}_16px_s"] == pytest.approx(parts)
    assert figures["iteration_16px_speedup"] > 0.0


def test_sb3_contribs_trpo_updates_our_networks():
    pytest.importorskip("sb3_contrib")
    figures = bench_trpo((16,), rounds=1)
    ratio = figures["update_sb3_cpu_s"] / figures["update_ours_cpu_s"]
    assert figures["update_sb3_to_ours"] == pytest.approx(ratio)
