"""How punctual the policy is on the real ROS graph: the simulator by the clock, RGBD at 30 Hz, dense against pruned."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import VdPolicyError
from vd_policy.experiments.timed_networks import bench_spec, dense_and_pruned
from vd_policy.graph.domain import own_domain
from vd_policy.graph.process import NodeSpec
from vd_policy.graph.up import run
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.gaussian import GaussianPolicy

FRAME_RATE_HZ = 30.0


def bench_control(
    size: int = 128,
    *,
    rates_hz: tuple[float, ...] = (10.0, 30.0, 100.0),
    backends: tuple[str, ...] = ("torch", "onnx"),
    networks: tuple[str, ...] = ("dense", "pruned"),
    seconds: float = 10.0,
    seed: int = 0,
) -> dict[str, float]:
    """Run sim, safety, policy and monitor processes for each combination, one after the other.

    Args:
        size: image height and width [pixels].
        rates_hz: decisions a second; the camera keeps up with rates above 30 Hz.
        backends: what runs the network.
        networks: which of the two.
        seconds: measured time of each combination.
        seed: of weights and pruning.

    Returns:
        ``<torch|onnx>_<dense|pruned>_<rate>hz_<figure>`` for each: latency of a command from the stamp of its
        observation, period, misses, inference time and CPU of the policy and safety processes.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vd_policy-") as folder, own_domain():
        for name, policy in _policies(size, seed).items():
            if name not in networks:
                continue
            path = save_run(Path(folder) / name, policy, config={})
            for backend in backends:
                for rate in rates_hz:
                    found = _measure(path, size, backend, rate, seconds)
                    figures |= {f"{backend}_{name}_{rate:g}hz_{key}": value for key, value in found.items()}
    return figures


def _policies(size: int, seed: int) -> Mapping[str, GaussianPolicy]:
    """An untrained policy, and the same with the share of units that the paper's networks keep, by name."""
    robot = load_robot()
    spec = replace(bench_spec(size, size), joints=robot.joints, q_offset_rad=robot.home_rad, max_step_rad=math.pi / 5)
    return dense_and_pruned(spec, "", seed)


def _measure(path: Path, size: int, backend: str, rate_hz: float, seconds: float) -> dict[str, float]:
    out = path.parent / "figures.json"
    frame_rate = max(FRAME_RATE_HZ, rate_hz)
    nodes = [
        NodeSpec("sim", {"mode": "realtime", "image_height": size, "image_width": size, "frame_rate_hz": frame_rate}),
        NodeSpec("safety", {"latch_file": str(path.parent / "latch.json"), "clamps_to_latch": 0}),
        NodeSpec("policy", {"run": str(path), "backend": backend, "rate_hz": rate_hz}),
        NodeSpec("monitor", {"out": str(out), "seconds": seconds}),
    ]
    lines: list[str] = []
    if run(nodes, lambda node, line: lines.append(f"{node}: {line}")) or not out.is_file():
        raise VdPolicyError("bench control: a node failed: " + " | ".join(lines[-5:]))
    figures = json.loads(out.read_text())
    out.unlink()
    return figures
