"""A policy as an ONNX graph: raw observation in, mean and standard deviation out.

It is written node by node with `onnx.helper`: torch's exporters either need onnxscript or know no 16-bit depth image,
and the network has ten kinds of node.
"""

from __future__ import annotations

import json
import math
from typing import Any

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
    levels, joints = _levels(graph, policy.spec), _joints(graph, policy.spec)
    features = _encoder(graph, policy.mean.encoder, "mean.encoder", levels, joints)
    _linear(graph, policy.mean.head, "mean.head", features, "mean")
    if isinstance(policy.sigma, TwoStreamNetwork):
        features = _encoder(graph, policy.sigma.encoder, "sigma.encoder", levels, joints)
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


def _levels(graph: _Graph, spec: ObservationSpec) -> tuple[str, str]:
    """Colour as it lies in memory, (B, 1, H, 3 W), and depth, (B, 1, H, W), in levels from 0 to 255.

    What is left of the image's normalisation, ``level / 127.5 - 1``, is part of the first convolution.
    """
    rows = graph.constant(np.array([0, 1, spec.image_height, 3 * spec.image_width]))
    to_float, far = graph.onnx.TensorProto.FLOAT, graph.constant(1000.0 * spec.depth_max_m)
    depth = graph.node("Cast", ["depth"], to=to_float)
    invalid = graph.node("Equal", [depth, graph.constant(0.0)])
    depth = graph.node("Min", [graph.node("Where", [invalid, far, depth]), far])
    depth = graph.node("Mul", [depth, graph.constant(255.0 / (1000.0 * spec.depth_max_m))])
    depth = graph.node("Unsqueeze", [depth, graph.constant(np.array([1]))])
    return graph.node("Cast", [graph.node("Reshape", ["rgb", rows])], to=to_float), depth


def _joints(graph: _Graph, spec: ObservationSpec) -> str:
    """Joint angles as `ObservationSpec.normalise` gives them."""
    joints = graph.node("Sub", ["q", graph.constant(spec.q_offset_rad)])
    return graph.node("Div", [joints, graph.constant(spec.q_scale_rad)])


def _encoder(graph: _Graph, encoder: Encoder, name: str, levels: tuple[str, str], joints: str) -> str:
    """`Encoder.forward` as nodes, from levels."""
    image = graph.node("Flatten", [_convolutions(graph, encoder, name, levels)])
    if encoder.image_index is not None:
        index = graph.constant(encoder.image_index.numpy(), f"{name}.image_index")
        image = graph.node("Gather", [image, index], axis=1)
    for i, layer in enumerate(encoder.image_fc):
        image = graph.node("Relu", [_linear(graph, layer, f"{name}.image_fc.{i}", image)])
    for i, layer in enumerate(encoder.joint_fc):
        joints = graph.node("Relu", [_linear(graph, layer, f"{name}.joint_fc.{i}", joints)])
    return graph.node("Concat", [image, joints], axis=1)


def _convolutions(graph: _Graph, encoder: Encoder, name: str, levels: tuple[str, str]) -> str:
    """The convolutions, from levels to the last map."""
    shape, margin = encoder.shape, encoder.shape.kernel // 2
    geometry: dict[str, Any] = {"strides": [shape.stride] * 2, "kernel_shape": [shape.kernel] * 2}
    last, read, image = len(encoder.conv) - 1, IMAGE_CHANNELS, ""
    for i, layer in enumerate(encoder.conv):
        filters = layer.out_channels if i == last else _whole_lanes(layer.out_channels)
        weight, bias = np.zeros((filters, read, *layer.kernel_size)), np.zeros(filters)
        weight[: layer.out_channels, : layer.in_channels] = layer.weight.detach().double().numpy()
        bias[: layer.out_channels] = layer.bias.detach().double().numpy()
        if i == 0:
            image = _first_convolution(graph, shape, f"{name}.conv.0", levels, weight, bias)
        else:
            parameters = _named(graph, f"{name}.conv.{i}", weight, bias)
            image = graph.node("Conv", [image, *parameters], pads=[margin] * 4, **geometry)
        image, read = graph.node("Relu", [image]), filters
    return image


def _first_convolution(
    graph: _Graph, shape: NetworkSettings, name: str, levels: tuple[str, str], weight: np.ndarray, bias: np.ndarray
) -> str:
    """On colour and depth apart, so that nothing is transposed or joined: a filter of k x k x 3 is one of k x 3 k."""
    k, stride, margin = shape.kernel, shape.stride, shape.kernel // 2
    weight, bias = weight * PER_LEVEL, bias - weight.sum((1, 2, 3))
    color = weight[:, :3].transpose(0, 2, 3, 1).reshape(-1, 1, k, 3 * k)
    parts = (_named(graph, f"{name}.color", color), _named(graph, f"{name}.depth", weight[:, 3:], bias))
    maps = []
    for image, values, part in zip(levels, (3, 1), parts):
        pads = graph.constant(np.array([0, 0, margin, values * margin] * 2))
        image = graph.node("Pad", [image, pads, graph.constant(1.0 / PER_LEVEL)])  # 0, once it is normalised
        maps.append(graph.node("Conv", [image, *part], strides=[stride, values * stride], kernel_shape=[k, values * k]))
    return graph.node("Add", maps)


def _whole_lanes(filters: int) -> int:
    """Filters in the file, idle ones included: vectors that are only partly filled send the next layer a slower way."""
    return -(-filters // LANES) * LANES if filters > LANES // 2 else filters


def _named(graph: _Graph, name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> list[str]:
    return [graph.constant(v, f"{name}.{part}") for part, v in (("weight", weight), ("bias", bias)) if v is not None]


def _linear(graph: _Graph, layer: Any, name: str, x: str, output: str | None = None) -> str:
    weight, bias = (parameter.detach().cpu().numpy() for parameter in (layer.weight, layer.bias))
    return graph.node("Gemm", [x, *_named(graph, name, weight, bias)], output, transB=1)
