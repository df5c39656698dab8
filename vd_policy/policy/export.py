"""The deterministic policy as one self-contained ONNX file, compared with torch before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vd_policy.base.episode import OBS_KEYS, Obs
from vd_policy.base.errors import VdPolicyError
from vd_policy.base.files import write_bytes
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.observation import ObservationSpec
from vd_policy.policy.onnx_graph import OUTPUTS, onnx_model, package

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TOLERANCE = 1e-5
"""Largest difference from torch that passes, relative to outputs above 1 [action units]."""


@dataclass(frozen=True)
class Export:
    """An ONNX file that was compared with the policy it came from."""

    path: Path
    bytes: int
    largest_difference: float
    """Between ONNX Runtime and torch over random observations [action units]."""


def export_onnx(policy: GaussianPolicy, path: str | Path) -> Export:
    """Write the policy as ONNX, after its outputs were found equal to torch's.

    Inputs ``rgb`` u8 (B, H, W, 3), ``depth`` u16 [mm] (B, H, W), ``q`` f32 [rad] (B, J); outputs ``mean`` and ``std``
    f32 (B, A) in units of `max_step_rad`. The file's metadata holds the manifest.

    Raises:
        BadInput: the policy still has dropout rates. Missing: onnx or onnxruntime is not installed.
        VdPolicyError: ONNX Runtime computes something else; nothing is written.
    """
    model = onnx_model(policy)
    difference = parity(policy, model)
    if not difference <= TOLERANCE:
        raise VdPolicyError(f"ONNX export: differs from torch by {difference:.2g}, more than {TOLERANCE}; not written")
    write_bytes(Path(path), model)
    return Export(Path(path), len(model), difference)


def parity(policy: GaussianPolicy, model: bytes) -> float:
    """Largest difference between ONNX Runtime and torch over batches of 1 and 16 random observations."""
    session, largest = onnx_session(model), 0.0
    policy.eval()
    for batch in (1, 16):
        obs = random_observation(policy.spec, batch, seed=batch)
        with torch.inference_mode():
            expected = policy(obs)
        for found, wanted in zip(session.run(OUTPUTS, dict(obs)), expected):
            difference = np.abs(found - wanted.numpy()) / np.maximum(1.0, np.abs(wanted.numpy()))
            largest = max(largest, float(difference.max()))
    return largest


def onnx_session(model: bytes, threads: int = 1) -> InferenceSession:
    """An ONNX Runtime session on the CPU."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def random_observation(spec: ObservationSpec, batch: int, seed: int) -> Obs:
    """Raw observations of noise, some of their depth invalid or past the limit: for comparing and timing networks."""
    rng, size = np.random.default_rng(seed), (batch, spec.image_height, spec.image_width)
    depth_mm = rng.integers(0, int(min(1300.0 * spec.depth_max_m, 65535.0)), size) * (rng.random(size) > 0.1)
    q = rng.normal(spec.q_offset_rad, spec.q_scale_rad, (batch, spec.action_size))
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return dict(zip(OBS_KEYS, (rgb, depth_mm.astype(np.uint16), q.astype(np.float32))))
