"""What a joint target may ask of the arm: step, joint, speed and workspace limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vd_policy.control.workspace import Workspace

ROUNDING_RAD = 1e-6
"""Excess that is float32 rounding, not a violation: a full step at full speed must pass bit for bit."""
NOISE_RAD = 0.005
"""Excess of a step or a speed that is cut off without being called a violation: the arm was measured again since the
observation, and encoders are noisy."""

OUTSIDE_RAD = 0.05
"""How far beyond its limits a joint is measured before that is worth a word."""


@dataclass(frozen=True)
class Clamped:
    """A target inside the limits."""

    q: np.ndarray
    """(J,) float64 [rad]; the very array that was asked for when nothing was clamped."""
    reasons: tuple[str, ...]
    """What was clamped: ``step:<joint>``, ``speed:<joint>``, ``limit:<joint>``, and ``workspace:<axis>`` for a target
    outside the workspace, ``way:<axis>`` for a way that leaves it; empty when nothing was."""


def nearest_turn(target: np.ndarray, measured: np.ndarray, continuous: np.ndarray) -> np.ndarray:
    """`target` with its continuous joints moved by whole turns to within half a turn of `measured`, all (J,) [rad].

    A driver may report a continuous joint wrapped to one turn; a target computed before the wrap must not send the
    joint once around. Targets already within half a turn are returned bit for bit.
    """
    turns = np.where(continuous, np.round((target - measured) / (2 * np.pi)), 0.0)
    return np.where(turns == 0, target, target - 2 * np.pi * turns)


class Limits:
    """The limits of one arm.

    Args:
        names: joint names, J of them, used in the reasons.
        lower_rad, upper_rad: (J,); -inf and +inf for continuous joints.
        speed_rad_s: (J,).
        max_step_rad: largest change of any joint in one command.
        workspace: where the end effector may be and go, or None for anywhere.
    """

    def __init__(self, names: Sequence[str], lower_rad: Sequence[float], upper_rad: Sequence[float],
                 speed_rad_s: Sequence[float], max_step_rad: float,
                 workspace: Workspace | None = None) -> None:  # fmt: skip
        self.names = tuple(names)
        self.lower = np.asarray(lower_rad, dtype=float)
        self.upper = np.asarray(upper_rad, dtype=float)
        self.speed = np.asarray(speed_rad_s, dtype=float)
        self.max_step = float(max_step_rad)
        self._workspace = workspace
        self.continuous = ~np.isfinite(self.lower) & ~np.isfinite(self.upper)

    def clamp(self, target: np.ndarray, measured: np.ndarray, duration_s: float) -> Clamped:
        """The nearest target that keeps every limit.

        Args:
            target: what a commander asks for [rad], (J,), finite.
            measured: where the arm is [rad], (J,).
            duration_s: `time_from_start` of the target, above 0.

        A joint that is already outside its limits may move back in, never further out; the same holds for the end
        effector and the workspace. A step that leaves the workspace, at its end or on the way, is shortened for all
        joints alike.
        """
        reasons: list[str] = []
        target = nearest_turn(np.asarray(target, dtype=float), measured, self.continuous)
        q = self._along(target, measured, np.full(len(self.names), self.max_step), "step", reasons)
        q = self._along(q, measured, self.speed * duration_s, "speed", reasons)
        q = self._within(q, measured, reasons)
        q = self._in_workspace(q, measured, reasons)
        return Clamped(q, tuple(reasons))

    def outside(self, q: np.ndarray) -> tuple[str, ...]:
        """Joints of a measured configuration (J,) [rad] that are clearly outside their limits, with their numbers."""
        out = (q < self.lower - OUTSIDE_RAD) | (q > self.upper + OUTSIDE_RAD)
        return tuple(
            f"{name} at {at:.3f} rad of {low:.3f} to {high:.3f}"
            for name, at, low, high, is_out in zip(self.names, q, self.lower, self.upper, out)
            if is_out
        )

    def least_s(self, target: np.ndarray, measured: np.ndarray) -> float:
        """The least time in which no joint is faster than its limit on the way between two configurations (J,) [s]."""
        return float((np.abs(target - measured) / self.speed).max())

    def _along(self, q: np.ndarray, measured: np.ndarray, reach: np.ndarray, kind: str,
               reasons: list[str]) -> np.ndarray:  # fmt: skip
        excess = np.abs(q - measured) - reach
        over = excess > ROUNDING_RAD
        reasons += [f"{kind}:{name}" for name, bad in zip(self.names, excess > NOISE_RAD) if bad]
        return np.where(over, measured + np.clip(q - measured, -reach, reach), q) if over.any() else q

    def _within(self, q: np.ndarray, measured: np.ndarray, reasons: list[str]) -> np.ndarray:
        lower, upper = np.minimum(self.lower, measured), np.maximum(self.upper, measured)
        over = (q < lower - ROUNDING_RAD) | (q > upper + ROUNDING_RAD)
        reasons += [f"limit:{name}" for name, bad in zip(self.names, over) if bad]
        return np.where(over, np.clip(q, lower, upper), q) if over.any() else q

    def _in_workspace(self, q: np.ndarray, measured: np.ndarray, reasons: list[str]) -> np.ndarray:
        if self._workspace is None:
            return q
        share, left = self._workspace.allowed(measured, q)
        reasons += left
        return measured + share * (q - measured) if left else q
