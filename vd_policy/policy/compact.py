"""Removal of the units that a masked network no longer needs, without changing what it computes.

A unit goes when nothing reads it, or when it reads nothing: then its output is the constant relu(bias), which is folded
into the biases of those that read it. Both make further units removable, so this repeats until nothing changes. A
filter that reads nothing under a zero-padded convolution cannot go that way unless its constant is 0: at the border,
where the padding is 0 and not the constant, no bias could stand for it. One such filter stands for all of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vd_policy.base.errors import BadInput
from vd_policy.policy.layers import DenseConv2d, DenseLinear
from vd_policy.policy.network import NetworkSettings, TwoStreamNetwork


@dataclass
class _Stage:
    """One layer under surgery: copies of its tensors, and which of its units are still alive."""

    weight: Tensor
    """float64, zero where not kept, (out, in, ...)."""
    bias: Tensor
    """float64, (out,)."""
    kept: Tensor
    """bool, shape of `weight`."""
    padded: bool

    @classmethod
    def of(cls, layer: Any) -> _Stage:
        """From a `DenseLinear` or `DenseConv2d`."""
        weight = layer.weight.detach().double()
        kept = torch.ones_like(weight, dtype=torch.bool) if layer.kept is None else layer.kept.clone()
        padded = isinstance(layer, DenseConv2d) and layer.kernel_size[0] > 1
        return cls(weight.masked_fill(~kept, 0.0), layer.bias.detach().double(), kept, padded)

    def reads(self) -> Tensor:
        """(out,) bool: units with an incoming weight."""
        return self.kept.flatten(1).any(1)

    def columns_read(self) -> Tensor:
        """(in,) bool: inputs that some unit reads."""
        return self.kept.transpose(0, 1).flatten(1).any(1)

    def drop(self, gone: Tensor) -> None:
        """Prune the weights where `gone` (bool, broadcast to the weight's shape) is true."""
        self.kept &= ~gone
        self.weight.masked_fill_(~self.kept, 0.0)


@dataclass(frozen=True)
class _Edge:
    """`target` reads `source`: its input column `start + i` is fed by the source's unit `unit[i]`."""

    source: _Stage
    target: _Stage
    unit: Tensor
    start: int = 0

    def fold_constants(self) -> bool:
        """Move the output of units that read nothing into the target's biases; True when something moved."""
        constant = self.source.bias.clamp(min=0.0)
        foldable = ~self.source.reads()
        if self.target.padded:
            foldable &= constant == 0.0
        columns = self._target_columns(foldable[self.unit])
        if not (columns & self.target.columns_read()).any():
            return False
        values = torch.zeros(len(columns), dtype=torch.float64)
        values[self.start : self.start + len(self.unit)] = constant[self.unit]
        per_column = self.target.weight.flatten(2).sum(2) if self.target.weight.dim() > 2 else self.target.weight
        self.target.bias += per_column[:, columns] @ values[columns]
        self.target.drop(_as_columns(columns, self.target))
        return True

    def merge_constants(self) -> bool:
        """Let the largest of the units that read nothing feed what all of them fed; True when there were several."""
        idle = (~self.source.reads() & self.units_read()).nonzero().flatten()
        if not self.target.padded or len(idle) < 2:
            return False
        constant = self.source.bias.clamp(min=0.0)
        one = idle[constant[idle].argmax()]
        shares = (constant[idle] / constant[one]).view(1, -1, *[1] * (self.target.weight.dim() - 2))
        together = (self.target.weight[:, idle] * shares).sum(1)
        kept = self.target.kept[:, idle].any(1)
        columns = torch.zeros(self.target.weight.shape[1], dtype=torch.bool)
        columns[idle] = True
        self.target.drop(_as_columns(columns, self.target))
        self.target.weight[:, one], self.target.kept[:, one] = together, kept
        return True

    def drop_unread(self) -> bool:
        """Prune the incoming weights of units that nothing reads; True when there were any."""
        idle = ~self.units_read() & self.source.reads()
        self.source.drop(idle.view(-1, *[1] * (self.source.weight.dim() - 1)))
        return bool(idle.any())

    def units_read(self) -> Tensor:
        """(out of the source,) bool: units that some unit of the target reads."""
        read = self.target.columns_read()[self.start : self.start + len(self.unit)]
        return torch.zeros(len(self.source.bias), dtype=torch.bool).index_put((self.unit[read],), torch.tensor(True))

    def _target_columns(self, chosen: Tensor) -> Tensor:
        columns = torch.zeros(self.target.weight.shape[1], dtype=torch.bool)
        columns[self.start : self.start + len(chosen)] = chosen
        return columns


def _as_columns(columns: Tensor, stage: _Stage) -> Tensor:
    return columns.view(1, -1, *[1] * (stage.weight.dim() - 2))


class Compaction:
    """The surgery on one dense, masked network.

    Args:
        network: read, not changed.
        second: a dense layer that reads the same features as the network's head; its weights of 0 read nothing.

    Raises:
        BadInput: no weight is left between any input and the output, so that the policy would be blind.
    """

    def __init__(self, network: TwoStreamNetwork, second: DenseLinear | None = None) -> None:
        self.network = network
        encoder = network.encoder
        self.conv, self.image_fc, self.joint_fc = (
            [_Stage.of(layer) for layer in layers] for layers in (encoder.conv, encoder.image_fc, encoder.joint_fc)
        )
        self.head = _Stage.of(network.head) if second is None else _stacked(network.head, second)
        self.image_index = self._full_index() if encoder.image_index is None else encoder.image_index.clone()
        self.edges = self._edges()
        while any([edge.fold_constants() | edge.merge_constants() | edge.drop_unread() for edge in self.edges]):
            pass
        if not self.head.kept[: network.spec.action_size].any():
            raise BadInput(
                "policy",
                "pruned until no action depends on the observation",
                "at least one path of weights from an input to the output",
                "pre-train with more data or less KL weight, or raise the threshold",
            )

    def result(self) -> TwoStreamNetwork:
        """The smaller network; it computes what the masked one did."""
        conv_units, fc_units, joint_units = self._units()
        columns, index = self._flat_columns(conv_units[-1])
        shape = self._shape(conv_units, fc_units, joint_units, len(index))
        small = TwoStreamNetwork(self.network.spec, shape)
        _fill_stream(small.encoder.conv, self.conv, conv_units, torch.arange(self.conv[0].weight.shape[1]))
        _fill_stream(small.encoder.image_fc, self.image_fc, fc_units, columns)
        _fill_stream(small.encoder.joint_fc, self.joint_fc, joint_units, torch.arange(self.network.spec.action_size))
        _fill(small.head, self.head, torch.arange(self.network.spec.action_size), self.features())
        if small.encoder.image_index is not None:
            small.encoder.image_index.copy_(index)
        return small

    def features(self) -> Tensor:
        """Numbers of the features that stay, among all that the head read."""
        _, fc_units, joint_units = self._units()
        return torch.cat((fc_units[-1], joint_units[-1] + len(self.image_fc[-1].bias)))

    def second(self) -> DenseLinear:
        """The layer beside the head, for the features that stay; trainable as a whole."""
        rows = slice(self.network.spec.action_size, None)
        features = self.features()
        small = DenseLinear(len(features), len(self.head.bias[rows]))
        with torch.no_grad():
            small.weight.copy_(self.head.weight[rows][:, features])
            small.bias.copy_(self.head.bias[rows])
        return small

    def idle_layers(self) -> list[str]:
        """Layers that had nothing left, of which one unit stays so that the network keeps its form."""
        names = [f"conv.{i}" for i in range(len(self.conv))] + [f"image_fc.{i}" for i in range(len(self.image_fc))]
        names += [f"joint_fc.{i}" for i in range(len(self.joint_fc))]
        return [name for name, edge in zip(names, self.edges) if not edge.units_read().any()]

    def _edges(self) -> list[_Edge]:
        """The edge that leaves each hidden layer: image stream first, then the joint stream."""
        per_map = self._map_pixels()
        edges = [_Edge(a, b, torch.arange(len(a.bias))) for a, b in zip(self.conv, self.conv[1:])]
        edges.append(_Edge(self.conv[-1], self.image_fc[0], self.image_index // per_map))
        edges += [
            _Edge(a, b, torch.arange(len(a.bias))) for a, b in zip(self.image_fc, [*self.image_fc[1:], self.head])
        ]
        joints = [_Edge(a, b, torch.arange(len(a.bias))) for a, b in zip(self.joint_fc, self.joint_fc[1:])]
        last = self.joint_fc[-1]
        return edges + joints + [_Edge(last, self.head, torch.arange(len(last.bias)), len(self.image_fc[-1].bias))]

    def _units(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Numbers of the units that stay in each convolution, image layer and joint layer."""
        alive = [self._alive(edge) for edge in self.edges]
        image, joints = len(self.conv), len(self.conv) + len(self.image_fc)
        return alive[:image], alive[image:joints], alive[joints:]

    def _alive(self, edge: _Edge) -> Tensor:
        """Numbers of the units that stay, at least one."""
        alive = edge.units_read().nonzero().flatten()
        return alive if len(alive) else torch.zeros(1, dtype=torch.int64)

    def _flat_columns(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of the first image FC layer that stay, and their positions in the smaller flattened map."""
        per_map = self._map_pixels()
        columns = self.image_fc[0].columns_read().nonzero().flatten()
        if not len(columns):  # an idle stream: one column of zeros, fed by any pixel
            return torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        flat = self.image_index[columns]
        return columns, torch.searchsorted(channels, flat // per_map) * per_map + flat % per_map

    def _shape(self, conv: list[Tensor], image: list[Tensor], joint: list[Tensor], read: int) -> NetworkSettings:
        shape = replace(
            self.network.shape,
            conv_channels=tuple(map(len, conv)),
            image_widths=tuple(map(len, image)),
            joint_widths=tuple(map(len, joint)),
            masked=True,
        )
        return replace(shape, image_features=None if read == shape.flat_features(self.network.spec) else read)

    def _map_pixels(self) -> int:
        height, width = self.network.shape.map_size(self.network.spec)
        return height * width

    def _full_index(self) -> Tensor:
        return torch.arange(self.network.shape.flat_features(self.network.spec))


def _stacked(head: Any, second: DenseLinear) -> _Stage:
    """Two layers on the same features as one stage, the rows of `second` below."""
    a, b = _Stage.of(head), _Stage.of(second)
    b.drop(b.weight == 0.0)
    return _Stage(torch.cat((a.weight, b.weight)), torch.cat((a.bias, b.bias)), torch.cat((a.kept, b.kept)), False)


def _fill_stream(layers: nn.ModuleList, stages: list[_Stage], units: list[Tensor], columns: Tensor) -> None:
    for layer, stage, rows in zip(layers, stages, units):
        _fill(layer, stage, rows, columns)
        columns = rows


def _fill(layer: Any, stage: _Stage, rows: Tensor, columns: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(stage.weight[rows][:, columns])
        layer.bias.copy_(stage.bias[rows])
        layer.kept.copy_(stage.kept[rows][:, columns])
