"""The box that the end effector stays inside, at the end of a step and on the way there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Forward = Callable[[np.ndarray], np.ndarray]
"""Joint angles [rad], (B, J) -> poses of the end effector in the base frame, (B, 4, 4)."""

ROUNDING_M = 1e-6
"""Excess that is rounding, not a violation."""
POINTS = 8
"""Points of the way that are looked at, the end included. Halfway through a full step the end effector is up to 16 cm
off the chord; between two of these points up to 3 mm (5000 random steps each of the Jaco and the Gen3)."""
BULGE_M = 0.005
"""The way may leave the box by so much between two places inside: a position at its edge is measured again before each
step, and the arc from one point of the edge to the next is not straight."""
REFINEMENTS = 6
"""Times that the place where a step leaves the box is looked for, each among `POINTS` shares: to 5e-7 of the step."""
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Workspace:
    """A box in the base frame and the kinematics of the arm that moves in it."""

    box_m: Sequence[tuple[float, float]]
    """((x0, x1), (y0, y1), (z0, z1)) for the end effector."""
    forward: Forward

    def allowed(self, start: np.ndarray, target: np.ndarray) -> tuple[float, tuple[str, ...]]:
        """How much of a step may be taken.

        The controller moves all joints along a straight line in joint space, on which the end effector describes an
        arc; a step between two places inside the box can leave it. An end effector that is outside may move along, or
        back in, but never further out along any axis.

        Args:
            start, target: joint angles [rad], (J,).

        Returns:
            the share of the way, from 0 to 1, after which the end effector is where it may be; and what was in the
            way: ``workspace:<axis>`` where the target is outside, ``way:<axis>`` where only the way is.
        """
        shares = np.linspace(0.0, 1.0, POINTS + 1)
        outside = self._outside_m(start, target, shares)
        farther = outside - outside[0]
        excess = farther.max(axis=1)
        tolerated = np.append(np.full(POINTS, BULGE_M), 0.0)
        if (excess <= tolerated).all():
            return 1.0, ()
        first = int(np.argmax(excess > tolerated))
        kind, where = ("workspace", farther[-1]) if excess[-1] > 0 else ("way", farther[first])
        reasons = tuple(f"{kind}:{axis}" for axis, metres in zip(AXES, where) if metres > 0)
        if outside[0].any():
            return 0.0, reasons
        inside = int(np.flatnonzero(excess[:first] <= 0)[-1])
        return self._edge(start, target, shares[inside], shares[inside + 1]), reasons

    def _outside_m(self, start: np.ndarray, target: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """How far outside the end effector is at these shares of the way, along each axis [m], (len(shares), 3)."""
        positions = self.forward(start + shares[:, None] * (target - start))[:, :3, 3]
        bounds = np.asarray(self.box_m, dtype=float)
        excess = np.maximum(np.maximum(bounds[:, 0] - positions, positions - bounds[:, 1]), 0.0)
        return np.where(excess > ROUNDING_M, excess, 0.0)

    def _edge(self, start: np.ndarray, target: np.ndarray, inside: float, outside: float) -> float:
        """The last share of the way that is inside, between one that is and one that is not."""
        for _ in range(REFINEMENTS):
            shares = np.linspace(inside, outside, POINTS + 1)
            first = int(np.argmax(self._outside_m(start, target, shares).any(axis=1)))
            inside, outside = shares[first - 1], shares[first]
        return float(inside)
