"""The deterministic policy as one self-contained ONNX file: raw observation in, mean and standard deviation out.

The graph is written node by node with `onnx.helper`: torch's exporters either need onnxscript or know no 16-bit depth
image, and the network has ten kinds of node.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vd_policy.base.episode import OBS_KEYS, Obs
from vd_policy.base.errors import BadInput, Missing, VdPolicyError
from vd_policy.base.files import write_bytes
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.layers import regularised_layers
from vd_policy.policy.manifest import policy_manifest
from vd_policy.policy.network import Encoder, TwoStreamNetwork
from vd_policy.policy.observation import PER_LEVEL, ObservationSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OPSET = 17
IR_VERSION = 8
TOLERANCE = 1e-5
"""Largest difference from torch that passes, relative to outputs above 1 [action units]."""
OUTPUTS = ("mean", "std")


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


def onnx_model(policy: GaussianPolicy) -> bytes:
    """The serialised, checked ONNX graph of mean and standard deviation."""
    if regularised_layers(policy):
        raise BadInput(
            "policy to export", "trained with dropout, not pruned", "a pruned policy", "run vd_policy prune first"
        )
    onnx = _package("onnx")
    graph = _Graph(onnx)
    image, joints = _levels(graph, policy.spec)
    features = _encoder(graph, policy.mean.encoder, "mean.encoder", image, joints)
    _linear(graph, policy.mean.head, "mean.head", features, "mean")
    if isinstance(policy.sigma, TwoStreamNetwork):
        features = _encoder(graph, policy.sigma.encoder, "sigma.encoder", image, joints)
    log_std = _linear(graph, policy.sigma.head, "sigma.head", features)
    bounds = [graph.constant(math.log(bound)) for bound in (policy.settings.min_std, policy.settings.max_std)]
    graph.node("Exp", [graph.node("Clip", [log_std, *bounds])], output="std")
    model = graph.model(policy.spec)
    onnx.helper.set_model_props(model, {"manifest": json.dumps(policy_manifest(policy))})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


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


def onnx_session(model: bytes) -> InferenceSession:
    """A single-threaded ONNX Runtime session on the CPU."""
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def random_observation(spec: ObservationSpec, batch: int, seed: int) -> Obs:
    """Raw observations of noise, some of their depth invalid or past the limit: for comparing and timing networks."""
    rng, size = np.random.default_rng(seed), (batch, spec.image_height, spec.image_width)
    depth_mm = rng.integers(0, int(min(1300.0 * spec.depth_max_m, 65535.0)), size) * (rng.random(size) > 0.1)
    q = rng.normal(spec.q_offset_rad, spec.q_scale_rad, (batch, spec.action_size))
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return dict(zip(OBS_KEYS, (rgb, depth_mm.astype(np.uint16), q.astype(np.float32))))


class _Graph:
    """A growing list of nodes and constants."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Append one node; returns the name of its output."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, name: str | None = None) -> str:
        """Append one constant, float32 unless it is an integer array; returns its name."""
        array = np.asarray(value)
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def model(self, spec: ObservationSpec) -> Any:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        height, width, joints = spec.image_height, spec.image_width, spec.action_size
        inputs = [
            helper.make_tensor_value_info("rgb", types.UINT8, ["batch", height, width, 3]),
            helper.make_tensor_value_info("depth", types.UINT16, ["batch", height, width]),
            helper.make_tensor_value_info("q", types.FLOAT, ["batch", joints]),
        ]
        outputs = [helper.make_tensor_value_info(name, types.FLOAT, ["batch", joints]) for name in OUTPUTS]
        graph = helper.make_graph(self.nodes, "vd_policy", inputs, outputs, self.constants)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="vd_policy")


def _levels(graph: _Graph, spec: ObservationSpec) -> tuple[str, str]:
    """The image in levels from 0 to 255, (B, 4, H, W), and the joints as `ObservationSpec.normalise` gives them.

    What is left of the image's normalisation, ``level / 127.5 - 1``, is part of the first convolution.
    """
    to_float, far = graph.onnx.TensorProto.FLOAT, graph.constant(1000.0 * spec.depth_max_m)
    depth = graph.node("Cast", ["depth"], to=to_float)
    invalid = graph.node("Equal", [depth, graph.constant(0.0)])
    depth = graph.node("Min", [graph.node("Where", [invalid, far, depth]), far])
    depth = graph.node("Mul", [depth, graph.constant(255.0 / (1000.0 * spec.depth_max_m))])
    depth = graph.node("Unsqueeze", [depth, graph.constant(np.array([1]))])
    rgb = graph.node("Cast", [graph.node("Transpose", ["rgb"], perm=[0, 3, 1, 2])], to=to_float)
    joints = graph.node("Sub", ["q", graph.constant(spec.q_offset_rad)])
    joints = graph.node("Div", [joints, graph.constant(spec.q_scale_rad)])
    return graph.node("Concat", [rgb, depth], axis=1), joints


def _encoder(graph: _Graph, encoder: Encoder, name: str, image: str, joints: str) -> str:
    """`Encoder.forward` as nodes, from levels; constants keep the names of the tensors."""
    shape, margin = encoder.shape, encoder.shape.kernel // 2
    pads = graph.constant(np.array([0, 0, margin, margin] * 2))
    image = graph.node("Pad", [image, pads, graph.constant(1.0 / PER_LEVEL)])  # 0, once it is normalised
    geometry: dict[str, Any] = {"strides": [shape.stride] * 2, "kernel_shape": [shape.kernel] * 2}
    for i, layer in enumerate(encoder.conv):
        weight, bias = (parameter.detach().double().numpy() for parameter in (layer.weight, layer.bias))
        if i == 0:
            weight, bias = weight * PER_LEVEL, bias - weight.sum((1, 2, 3))
        parameters = [graph.constant(weight, f"{name}.conv.{i}.weight"), graph.constant(bias, f"{name}.conv.{i}.bias")]
        padded = [0 if i == 0 else margin] * 4
        image = graph.node("Relu", [graph.node("Conv", [image, *parameters], pads=padded, **geometry)])
    image = graph.node("Flatten", [image])
    if encoder.image_index is not None:
        index = graph.constant(encoder.image_index.numpy(), f"{name}.image_index")
        image = graph.node("Gather", [image, index], axis=1)
    for i, layer in enumerate(encoder.image_fc):
        image = graph.node("Relu", [_linear(graph, layer, f"{name}.image_fc.{i}", image)])
    for i, layer in enumerate(encoder.joint_fc):
        joints = graph.node("Relu", [_linear(graph, layer, f"{name}.joint_fc.{i}", joints)])
    return graph.node("Concat", [image, joints], axis=1)


def _linear(graph: _Graph, layer: Any, name: str, x: str, output: str | None = None) -> str:
    return graph.node("Gemm", [x, *_parameters(graph, layer, name)], output, transB=1)


def _parameters(graph: _Graph, layer: Any, name: str) -> list[str]:
    return [
        graph.constant(getattr(layer, part).detach().cpu().numpy(), f"{name}.{part}") for part in ("weight", "bias")
    ]


def _package(name: str) -> Any:
    try:
        module = __import__(name)
    except ImportError:
        raise Missing("package needed to export", name, "an installed one", "pip install 'vd_policy[export]'") from None
    return module
