"""How far out the arm can put its end effector, pointing down, at one height."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESOLUTION_M = 0.002
PROBES = 9
"""Distances tried to find one in reach."""


def reachable_radii(reachable: Callable[[float], bool], radii_m: tuple[float, float]) -> tuple[float, float] | None:
    """The part of an interval of distances from the base's axis that is in reach.

    Where the first joint turns without end about the base's z, whether a point is in reach depends on its distance from
    that axis and its height alone. A dozen solutions of the inverse kinematics thus vouch for a whole region.

    Args:
        reachable: whether the points at a distance [m] are in reach.
        radii_m: nearest and farthest distance asked about [m].

    Returns:
        (inner, outer) [m], both in reach, within `RESOLUTION_M` of the edge of what is; or None where no distance is.
    """
    inside = next((float(radius) for radius in np.linspace(*radii_m, PROBES) if reachable(radius)), None)
    if inside is None:
        return None
    return _edge(inside, radii_m[0], reachable), _edge(inside, radii_m[1], reachable)


def _edge(good: float, asked: float, reachable: Callable[[float], bool]) -> float:
    """The reachable radius nearest to `asked`, by bisection from a reachable one."""
    if reachable(asked):
        return asked
    bad = asked
    while abs(bad - good) > RESOLUTION_M:
        middle = 0.5 * (good + bad)
        good, bad = (middle, bad) if reachable(middle) else (good, middle)
    return good
