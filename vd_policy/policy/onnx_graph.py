"""A policy as an ONNX graph: raw observation in, mean and standard deviation out.

It is written node by node with `onnx.helper`: torch's exporters either need onnxscript or know no 16-bit depth image,
and the network has ten kinds of node.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vd_policy.base.errors import BadInput, Missing
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.layers import regularised_layers
from vd_policy.policy.manifest import policy_manifest
from vd_policy.policy.network import IMAGE_CHANNELS, Encoder, NetworkSettings, TwoStreamNetwork
from vd_policy.policy.observation import PER_LEVEL, ObservationSpec

OPSET = 17
IR_VERSION = 8
OUTPUTS = ("mean", "std")
LANES = 16
"""Filters that ONNX Runtime's convolutions compute at once."""


def onnx_model(policy: GaussianPolicy) -> bytes:
    """The serialised, checked ONNX graph of mean and standard deviation."""
    if regularised_layers(policy):
        raise BadInput(
            "policy to export", "trained with dropout, not pruned", "a pruned policy", "run vd_policy prune first"
        )
    onnx = package("onnx")
    graph = _Graph(onnx)
    images = _images(graph, policy.spec)
    features = _encoder(graph, policy.mean.encoder, "mean.encoder", images)
    _linear(graph, policy.mean.head, "mean.head", features, "mean")
    if isinstance(policy.sigma, TwoStreamNetwork):
        features = _encoder(graph, policy.sigma.encoder, "sigma.encoder", images)
    log_std = _linear(graph, policy.sigma.head, "sigma.head", features)
    bounds = [graph.constant(math.log(bound)) for bound in (policy.settings.min_std, policy.settings.max_std)]
    graph.node("Exp", [graph.node("Clip", [log_std, *bounds])], output="std")
    model = graph.model(policy.spec)
    onnx.helper.set_model_props(model, {"manifest": json.dumps(policy_manifest(policy))})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def package(name: str) -> Any:
    try:
        module = __import__(name)
    except ImportError:
        raise Missing("package needed to export", name, "an installed one", "pip install 'vd_policy[export]'") from None
    return module


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


class _Image(NamedTuple):
    """A raw image in the graph."""

    name: str
    """(B, 1, H, values W)."""
    values: int
    """Of a pixel."""
    scale: float
    """The networks read ``value * scale - 1``."""


def _images(graph: _Graph, spec: ObservationSpec) -> tuple[_Image, _Image]:
    """Colour as it lies in memory, H rows of 3 W values, and depth, far where it is invalid or past far."""
    to_float, far_mm = graph.onnx.TensorProto.FLOAT, 1000.0 * spec.depth_max_m
    height, width, far = spec.image_height, spec.image_width, graph.constant(far_mm)
    rgb = graph.node("Reshape", ["rgb", graph.constant(np.array([0, 1, height, 3 * width]))])
    depth = graph.node("Reshape", ["depth", graph.constant(np.array([0, 1, height, width]))])
    rgb, depth = (graph.node("Cast", [image], to=to_float) for image in (rgb, depth))
    if_zero = graph.node("Sub", [far, graph.node("Mul", [depth, far])])  # far at 0, not above 0 from 1 mm on
    depth = graph.node("Min", [graph.node("Max", [depth, if_zero]), far])
    return _Image(rgb, 3, PER_LEVEL), _Image(depth, 1, PER_LEVEL * 255.0 / far_mm)


def _encoder(graph: _Graph, encoder: Encoder, name: str, images: Sequence[_Image]) -> str:
    """`Encoder.forward` as nodes; the normalisation of what it reads is part of the first layers."""
    image, joints = graph.node("Flatten", [_convolutions(graph, encoder, name, images)]), "q"
    if encoder.image_index is not None:
        index = graph.constant(encoder.image_index.numpy(), f"{name}.image_index")
        image = graph.node("Gather", [image, index], axis=1)
    for i, layer in enumerate(encoder.image_fc):
        image = graph.node("Relu", [_linear(graph, layer, f"{name}.image_fc.{i}", image)])
    for i, layer in enumerate(encoder.joint_fc):
        weight, bias = _parameters(layer)
        if i == 0:
            weight = weight / encoder.spec.q_scale_rad
            bias = bias - weight @ encoder.spec.q_offset_rad
        joints = graph.node("Relu", [_gemm(graph, f"{name}.joint_fc.{i}", joints, weight, bias)])
    return graph.node("Concat", [image, joints], axis=1)


def _convolutions(graph: _Graph, encoder: Encoder, name: str, images: Sequence[_Image]) -> str:
    """The convolutions, from raw images to the last map."""
    shape, margin = encoder.shape, encoder.shape.kernel // 2
    geometry: dict[str, Any] = {"strides": [shape.stride] * 2, "kernel_shape": [shape.kernel] * 2}
    last, read, image = len(encoder.conv) - 1, IMAGE_CHANNELS, ""
    layer: Any
    for i, layer in enumerate(encoder.conv):
        filters = layer.out_channels if i == last else _whole_lanes(layer.out_channels)
        weight, bias = np.zeros((filters, read, *layer.kernel_size)), np.zeros(filters)
        weight[: layer.out_channels, : layer.in_channels], bias[: layer.out_channels] = _parameters(layer)
        if i == 0:
            image = _first_convolution(graph, shape, f"{name}.conv.0", images, weight, bias)
        else:
            named = _named(graph, f"{name}.conv.{i}", weight, bias)
            image = graph.node("Conv", [image, *named], pads=[margin] * 4, **geometry)
        image, read = graph.node("Relu", [image]), filters
    return image


def _first_convolution(
    graph: _Graph, shape: NetworkSettings, name: str, images: Sequence[_Image], weight: np.ndarray, bias: np.ndarray
) -> str:
    """On colour and depth apart, so that nothing is transposed or joined: a filter of k x k x 3 is one of k x 3 k.

    Normalised, ``value * scale - 1``, the margin is 0: in raw values, 1 / scale.
    """
    k, stride, margin = shape.kernel, shape.stride, shape.kernel // 2
    maps: list[str] = []
    first, bias = 0, bias - weight.sum((1, 2, 3))
    for image in images:
        n, (first, past) = image.values, (first, first + image.values)
        part = weight[:, first:past].transpose(0, 2, 3, 1).reshape(-1, 1, k, n * k) * image.scale
        named = _named(graph, f"{name}.{first}", part, None if maps else bias)
        pads = graph.constant(np.array([0, 0, margin, n * margin] * 2))
        padded = graph.node("Pad", [image.name, pads, graph.constant(1.0 / image.scale)])
        maps.append(graph.node("Conv", [padded, *named], strides=[stride, n * stride], kernel_shape=[k, n * k]))
        first = past
    return graph.node("Add", maps)


def _whole_lanes(filters: int) -> int:
    """Filters in the file, idle ones included: vectors that are only partly filled send the next layer a slower way."""
    return -(-filters // LANES) * LANES if filters > LANES // 2 else filters


def _named(graph: _Graph, name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> list[str]:
    return [graph.constant(v, f"{name}.{part}") for part, v in (("weight", weight), ("bias", bias)) if v is not None]


def _linear(graph: _Graph, layer: Any, name: str, x: str, output: str | None = None) -> str:
    return _gemm(graph, name, x, *_parameters(layer), output)


def _gemm(graph: _Graph, name: str, x: str, weight: np.ndarray, bias: np.ndarray, output: str | None = None) -> str:
    return graph.node("Gemm", [x, *_named(graph, name, weight, bias)], output, transB=1)


def _parameters(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, float64."""
    return layer.weight.detach().cpu().double().numpy(), layer.bias.detach().cpu().double().numpy()
