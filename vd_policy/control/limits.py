"""What a joint target may ask of the arm: step, joint, speed and workspace limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vd_policy.base.errors import BadInput

Forward = Callable[[np.ndarray], np.ndarray]
"""Joint angles [rad], (J,) -> pose of the end effector in the base frame, (4, 4)."""

ROUNDING = 1e-6
"""Excess [rad] or [m] that is float32 rounding, not a violation: a full step at full speed must pass bit for bit."""
NOISE_RAD = 0.005
"""Excess of a step or a speed that is cut off without being called a violation: the arm was measured again since the
observation, and encoders are noisy."""
BISECTIONS = 24
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Clamped:
    """A target inside the limits."""

    q: np.ndarray
    """(J,) float64 [rad]; the very array that was asked for when nothing was clamped."""
    reasons: tuple[str, ...]
    """What was clamped, for example ``("speed:joint_2", "limit:joint_3", "workspace:z")``; empty when nothing was."""


def nearest_turn(target: np.ndarray, measured: np.ndarray, continuous: np.ndarray) -> np.ndarray:
    """`target` with its continuous joints moved by whole turns to within half a turn of `measured`, all (J,) [rad].

    A driver may report a continuous joint wrapped to one turn; a target computed before the wrap must not send the
    joint once around. Targets already within half a turn are returned bit for bit.
    """
    turns = np.where(continuous, np.round((target - measured) / (2 * np.pi)), 0.0)
    return np.where(turns == 0, target, target - 2 * np.pi * turns)


def outside_m(position: np.ndarray, box: Sequence[tuple[float, float]]) -> np.ndarray:
    """How far a point is outside a box along each axis [m], (3,); zeros inside."""
    bounds = np.asarray(box, dtype=float)
    return np.maximum(np.maximum(bounds[:, 0] - position, position - bounds[:, 1]), 0.0)


def _needed(forward: Forward | None) -> Forward:
    if forward is None:
        raise BadInput("forward kinematics", None, "a function, where a workspace is given", "pass Kinematics.forward")
    return forward


class Limits:
    """The limits of one arm.

    Args:
        names: joint names, J of them, used in the reasons.
        lower_rad, upper_rad: (J,); -inf and +inf for continuous joints.
        speed_rad_s: (J,).
        max_step_rad: largest change of any joint in one command.
        workspace_m: ((x0, x1), (y0, y1), (z0, z1)) for the end effector in the base frame, or None.
        forward: forward kinematics; needed when `workspace_m` is given.

    Raises:
        BadInput: a workspace without kinematics.
    """

    def __init__(self, names: Sequence[str], lower_rad: Sequence[float], upper_rad: Sequence[float],
                 speed_rad_s: Sequence[float], max_step_rad: float,
                 workspace_m: Sequence[tuple[float, float]] | None = None,
                 forward: Forward | None = None) -> None:  # fmt: skip
        self.names = tuple(names)
        self.lower = np.asarray(lower_rad, dtype=float)
        self.upper = np.asarray(upper_rad, dtype=float)
        self.speed = np.asarray(speed_rad_s, dtype=float)
        self.max_step = float(max_step_rad)
        self._workspace = None if workspace_m is None else (workspace_m, _needed(forward))
        self.continuous = ~np.isfinite(self.lower) & ~np.isfinite(self.upper)

    def clamp(self, target: np.ndarray, measured: np.ndarray, duration_s: float) -> Clamped:
        """The nearest target that keeps every limit.

        Args:
            target: what a commander asks for [rad], (J,), finite.
            measured: where the arm is [rad], (J,).
            duration_s: `time_from_start` of the target, above 0.

        A joint that is already outside its limits may move back in, never further out; the same holds for the end
        effector and the workspace. The step towards a target outside the workspace is shortened for all joints alike.
        """
        reasons: list[str] = []
        target = nearest_turn(np.asarray(target, dtype=float), measured, self.continuous)
        q = self._along(target, measured, np.full(len(self.names), self.max_step), "step", reasons)
        q = self._along(q, measured, self.speed * duration_s, "speed", reasons)
        q = self._within(q, measured, reasons)
        q = self._in_workspace(q, measured, reasons)
        return Clamped(q, tuple(reasons))

    def _along(self, q: np.ndarray, measured: np.ndarray, reach: np.ndarray, kind: str,
               reasons: list[str]) -> np.ndarray:  # fmt: skip
        excess = np.abs(q - measured) - reach
        over = excess > ROUNDING
        reasons += [f"{kind}:{name}" for name, bad in zip(self.names, excess > NOISE_RAD) if bad]
        return np.where(over, measured + np.clip(q - measured, -reach, reach), q) if over.any() else q

    def _within(self, q: np.ndarray, measured: np.ndarray, reasons: list[str]) -> np.ndarray:
        lower, upper = np.minimum(self.lower, measured), np.maximum(self.upper, measured)
        over = (q < lower - ROUNDING) | (q > upper + ROUNDING)
        reasons += [f"limit:{name}" for name, bad in zip(self.names, over) if bad]
        return np.where(over, np.clip(q, lower, upper), q) if over.any() else q

    def _in_workspace(self, q: np.ndarray, measured: np.ndarray, reasons: list[str]) -> np.ndarray:
        excess = self._excess(q)
        if not excess.any() or excess.sum() <= self._excess(measured).sum():
            return q
        reasons += [f"workspace:{axis}" for axis, metres in zip(AXES, excess) if metres > 0]
        return measured + self._largest_fraction(q - measured, measured) * (q - measured)

    def _excess(self, q: np.ndarray) -> np.ndarray:
        if self._workspace is None:
            return np.zeros(3)
        box, forward = self._workspace
        excess = outside_m(np.asarray(forward(q))[:3, 3], box)
        return np.where(excess > ROUNDING, excess, 0.0)

    def _largest_fraction(self, step: np.ndarray, measured: np.ndarray) -> float:
        """The part of the step after which the end effector is still inside, by bisection; 0 when it starts outside."""
        inside, outside = 0.0, 1.0
        if self._excess(measured).any():
            return inside
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if self._excess(measured + middle * step).any() else (middle, outside)
        return inside
