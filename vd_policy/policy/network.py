"""The two-stream network of Fig. 2: image and joint angles in, one value an action dimension out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.policy.filters import FilterVariationalConv2d
from vd_policy.policy.layers import DenseConv2d, DenseLinear
from vd_policy.policy.observation import Normalised, ObservationSpec
from vd_policy.policy.variational import VariationalConv2d, VariationalLinear

IMAGE_CHANNELS = 4
MAX_WIDTH = 4096
FAMILIES: dict[str, tuple[Any, Any]] = {
    "dense": (DenseLinear, DenseConv2d),
    "variational": (VariationalLinear, VariationalConv2d),
    "variational_filters": (VariationalLinear, FilterVariationalConv2d),
}
"""Layer families: fully connected and convolutional layer of each."""


@dataclass(frozen=True)
class NetworkSettings:
    """The shape of one two-stream network; pruning returns a smaller one, and a manifest rebuilds either.

    Raises:
        BadInput: an empty list of widths, or masks asked of variational layers.
    """

    layers: str = setting("dense", "family of its layers", choices=tuple(FAMILIES))
    conv_channels: tuple[int, ...] = setting((16, 32, 32), "filters of each convolution", minimum=1, maximum=MAX_WIDTH)
    kernel: int = setting(3, "side of the filters [pixels], odd", minimum=1, maximum=15)
    stride: int = setting(2, "step of the filters [pixels]", minimum=1, maximum=8)
    image_widths: tuple[int, ...] = setting(
        (128, 64, 64), "units of the image stream's FC layers", minimum=1, maximum=MAX_WIDTH
    )
    joint_widths: tuple[int, ...] = setting(
        (64, 64, 64), "units of the joint stream's FC layers", minimum=1, maximum=MAX_WIDTH
    )
    masked: bool = setting(False, "weights inside the layers are pruned and held at zero")
    image_features: int | None = setting(None, "how many flattened image features are read; all when empty", minimum=1)

    def __post_init__(self) -> None:
        for name in ("conv_channels", "image_widths", "joint_widths"):
            if not getattr(self, name):
                raise BadInput(f"network {name}", [], "at least one width", "give one for each layer")
        if self.kernel % 2 == 0:
            raise BadInput("network kernel", self.kernel, "an odd number", f"use {self.kernel + 1}")
        if self.layers != "dense" and (self.masked or self.image_features is not None):
            raise BadInput("network layers", self.layers, "dense in a pruned network", "set layers: dense")

    def map_size(self, spec: ObservationSpec) -> tuple[int, int]:
        """Rows and columns of the last convolution's output."""
        height, width = spec.image_height, spec.image_width
        for _ in self.conv_channels:
            height, width = (height - 1) // self.stride + 1, (width - 1) // self.stride + 1
        return height, width

    def flat_features(self, spec: ObservationSpec) -> int:
        """Length of the flattened output of the convolutions."""
        height, width = self.map_size(spec)
        return self.conv_channels[-1] * height * width

    @property
    def feature_width(self) -> int:
        """F: length of both streams' features side by side."""
        return self.image_widths[-1] + self.joint_widths[-1]


class Encoder(nn.Module):
    """Both streams of Fig. 2 up to where they are joined, apart from every head.

    Args:
        spec: layout and scale of the raw observations.
        shape: widths and kind of the layers.

    Raises:
        BadInput: `shape.image_features` exceeds what the convolutions give.
    """

    image_index: Tensor | None
    """Positions of the flattened features that the image stream reads, int64, or None for all."""

    def __init__(self, spec: ObservationSpec, shape: NetworkSettings) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        linear, conv = _family(shape)
        flat = shape.flat_features(spec)
        read = flat if shape.image_features is None else shape.image_features
        if read > flat:
            raise BadInput("network image_features", read, f"at most {flat}", "match widths and image size")
        self.register_buffer("image_index", None if shape.image_features is None else torch.arange(read))
        channels = pairwise((IMAGE_CHANNELS, *shape.conv_channels))
        self.conv = nn.ModuleList(conv(i, o, shape.kernel, shape.stride, shape.kernel // 2) for i, o in channels)
        self.image_fc = nn.ModuleList(linear(i, o) for i, o in pairwise((read, *shape.image_widths)))
        joints = pairwise((spec.action_size, *shape.joint_widths))
        self.joint_fc = nn.ModuleList(linear(i, o) for i, o in joints)

    def forward(self, obs: Obs | Normalised) -> Tensor:
        """Raw or normalised observations of B steps to features, (B, F) float32, none below 0."""
        image, joints = self.spec.normalise(obs)
        for layer in self.conv:
            image = torch.relu_(layer(image))
        image = self.read(image)
        for layer in self.image_fc:
            image = torch.relu_(layer(image))
        for layer in self.joint_fc:
            joints = torch.relu_(layer(joints))
        return torch.cat((image, joints), dim=1)

    def read(self, maps: Tensor) -> Tensor:
        """What the image stream's FC layers read of the convolutions' output: (B, C, H, W) to (B, read)."""
        flat = maps.flatten(1)
        return flat if self.image_index is None else flat.index_select(1, self.image_index)


class TwoStreamNetwork(nn.Module):
    """Encoder and final fully connected layer: the network of the means, and of the standard deviations."""

    def __init__(self, spec: ObservationSpec, shape: NetworkSettings) -> None:
        super().__init__()
        self.encoder = Encoder(spec, shape)
        self.head = _family(shape)[0](shape.feature_width, spec.action_size)

    @property
    def spec(self) -> ObservationSpec:
        return self.encoder.spec

    @property
    def shape(self) -> NetworkSettings:
        return self.encoder.shape

    def forward(self, obs: Obs | Normalised) -> Tensor:
        """Observations of B steps to (B, A)."""
        return self.head(self.encoder(obs))


def _family(shape: NetworkSettings) -> tuple[Any, Any]:
    linear, conv = FAMILIES[shape.layers]
    if shape.masked:
        return partial(linear, masked=True), partial(conv, masked=True)
    return linear, conv
