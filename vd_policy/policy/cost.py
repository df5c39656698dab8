"""What a network costs: numbers to store and operations for one decision, from its widths alone."""

from __future__ import annotations

from dataclasses import replace

from vd_policy.policy.network import IMAGE_CHANNELS, NetworkSettings
from vd_policy.policy.observation import ObservationSpec


def parameter_count(shape: NetworkSettings, spec: ObservationSpec) -> int:
    """Weights and biases of a network of this shape."""
    return sum(rows * columns + rows for rows, columns, _ in _matrices(shape, spec))


def flops(shape: NetworkSettings, spec: ObservationSpec) -> int:
    """Floating-point operations of one forward pass for one observation, a multiply-add counted as two."""
    return sum(2 * rows * columns * positions for rows, columns, positions in _matrices(shape, spec))


def filter_shares(shape: NetworkSettings, spec: ObservationSpec) -> list[float]:
    """What one filter of each convolution costs, those that read it included, in units of the mean over all filters."""
    whole, widths = flops(shape, spec), shape.conv_channels
    costs = [flops(replace(shape, conv_channels=_one_more(widths, i)), spec) - whole for i in range(len(widths))]
    mean = sum(cost * width for cost, width in zip(costs, widths)) / sum(widths)
    return [cost / mean for cost in costs]


def _one_more(widths: tuple[int, ...], layer: int) -> tuple[int, ...]:
    return (*widths[:layer], widths[layer] + 1, *widths[layer + 1 :])


def _matrices(shape: NetworkSettings, spec: ObservationSpec) -> list[tuple[int, int, int]]:
    """(rows, columns, positions it is applied at) of every layer."""
    found, channels = [], (IMAGE_CHANNELS, *shape.conv_channels)
    for i, filters in enumerate(shape.conv_channels):
        height, width = replace(shape, conv_channels=shape.conv_channels[: i + 1], image_features=None).map_size(spec)
        found.append((filters, channels[i] * shape.kernel**2, height * width))
    read = shape.flat_features(spec) if shape.image_features is None else shape.image_features
    for widths in ((read, *shape.image_widths), (spec.action_size, *shape.joint_widths)):
        found += [(rows, columns, 1) for columns, rows in zip(widths, widths[1:])]
    return [*found, (spec.action_size, shape.feature_width, 1)]
