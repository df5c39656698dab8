"""Inverse kinematics of a top-down grasp: many restarts of damped least squares, solved together in NumPy.

ikpy from the home posture solves three quarters of these targets, one configuration a call; this solves all of them and
returns every solution it met (`vd_policy.experiments.bench_ik` measures both side by side).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vd_policy.arm.chain import SerialChain
from vd_policy.arm.spec import RobotSpec
from vd_policy.base.settings import setting

DOWN = np.array([0.0, 0.0, -1.0])
FINE_DAMPING_M = 1e-3
"""Lambda where a solution is only moved along its family: it converges from nearby, and more would bend the way."""


@dataclass(frozen=True)
class InverseSettings:
    """How hard the solver tries."""

    restarts: int = setting(32, "starting configurations solved side by side", minimum=1)
    iterations: int = setting(60, "most steps of one restart", minimum=1)
    damping: float = setting(0.03, "lambda of damped least squares [m]", minimum=0.0)
    axis_weight_m: float = setting(0.2, "metres of position error that one unit of axis error counts as", minimum=0.0)
    step_limit_rad: float = setting(0.6, "largest change of a joint in one step [rad]", minimum=0.0)
    position_tolerance_m: float = setting(1e-4, "a solution is at most this far from the target [m]", minimum=0.0)
    axis_tolerance_rad: float = setting(1e-3, "and its approach axis at most this far from vertical [rad]", minimum=0.0)
    seed: int = setting(0, "seed of the starting configurations: the same target gives the same solutions")
    settled_rad: float = setting(1e-5, "a search for the nearest solution ends below this step [rad]", minimum=0.0)


class DownwardSolver:
    """Configurations that put the end effector on a point with its approach axis (+z) straight down; yaw is free.

    What `nearest` begins with such a one may give up the axis, too.

    Args:
        spec: the robot, for its limits and home.
        settings: effort and tolerances.
    """

    def __init__(self, spec: RobotSpec, chain: SerialChain, settings: InverseSettings | None = None) -> None:
        self.settings = settings or InverseSettings()
        self._chain = chain
        self._home = np.array(spec.home_rad)
        continuous = np.array(spec.continuous)
        self._lower = np.where(continuous, self._home - np.pi, spec.lower_rad)
        self._upper = np.where(continuous, self._home + np.pi, spec.upper_rad)
        self._free = continuous

    def solve(self, points_m: np.ndarray) -> list[np.ndarray]:
        """Every solution found, inside the limits, continuous joints within half a turn of home.

        Most of the time of one point is that of calling NumPy: eight together take the time of three. A point has the
        same solutions, to the bit, whatever is solved beside it.

        Args:
            points_m: targets of the end effector in the base frame [m], (N, 3).

        Returns:
            for each point (K, J) joint angles [rad]; K is 0 where nothing converged. Repeats are not removed.
        """
        count = len(points_m)
        q, point = np.tile(self._starts(), (count, 1)), np.repeat(np.arange(count), self.settings.restarts)
        found: list[list[np.ndarray]] = [[] for _ in range(count)]
        for _ in range(self.settings.iterations):
            pose, jacobian = self._chain.jacobian(q)
            done = self._converged(pose, points_m[point])
            for index in np.flatnonzero(done):
                found[point[index]].append(q[index])
            if done.any():
                q, pose, jacobian, point = q[~done], pose[~done], jacobian[~done], point[~done]
            if not len(q):
                break
            q = self._inside(q + self._step(pose, jacobian, points_m[point]))
        return [np.array(solutions).reshape(-1, len(self._home)) for solutions in found]

    def nearest(self, point_m: np.ndarray, solutions: np.ndarray, q: np.ndarray, *, down: bool = True) -> np.ndarray:
        """Each solution moved along its family, hand over the point, to the family's member that is nearest to `q`.

        The free yaw leaves every solution in a family, of which `solve` finds some member; a hand that need not point
        down leaves it in a larger one. The nearest one changes smoothly with the point and with `q`: the Jaco's last
        joint, which turns the hand about its own axis, stays where it is. Gauss-Newton steps keep the hand in place,
        and what they leave free of the way to `q` is taken beside them (the gradient projection of Liegeois, "Automatic
        Supervisory Control of the Configuration and Behavior of Multibody Mechanisms", 1977).

        Args:
            point_m: target of the end effector in the base frame [m], (3,).
            solutions: as `solve` gives them, whole turns aside, (K, J) [rad].
            q: joint angles [rad], (J,).
            down: whether the hand goes on pointing down; otherwise it may be turned any way.

        Returns:
            (K', J) joint angles [rad], K' <= K: those that converged inside the limits, each near its way to `q`, so
            that continuous joints may be turns away from home.
        """
        near, unit = np.array(solutions, dtype=np.float64), np.eye(len(q))
        for _ in range(self.settings.iterations):
            pose, jacobian = self._chain.jacobian(near)
            rows, error = self._task(pose, jacobian, point_m) if down else self._place(pose, jacobian, point_m)
            inverse = self._damped_inverse(rows, FINE_DAMPING_M)
            free = (unit - inverse @ rows) @ (q - near)[..., None]
            step = self._limited((inverse @ error[..., None] + free)[..., 0])
            near += step
            if np.abs(step).max() < self.settings.settled_rad:
                break
        pose = self._chain.forward(near)
        found = self._converged(pose, point_m) if down else self._placed(pose, point_m)
        inside = (near >= self._lower) & (near <= self._upper) | self._free
        return near[found & inside.all(axis=1)]

    def _starts(self) -> np.ndarray:
        rng = np.random.default_rng(self.settings.seed)
        starts = rng.uniform(self._lower, self._upper, (self.settings.restarts, len(self._home)))
        starts[0] = self._home
        return starts

    def _placed(self, pose: np.ndarray, target_m: np.ndarray) -> np.ndarray:
        return np.linalg.norm(pose[:, :3, 3] - target_m, axis=1) < self.settings.position_tolerance_m

    def _converged(self, pose: np.ndarray, target_m: np.ndarray) -> np.ndarray:
        tilt = np.linalg.norm(pose[:, :2, 2], axis=1)
        return self._placed(pose, target_m) & (tilt < self.settings.axis_tolerance_rad) & (pose[:, 2, 2] < 0)

    def _step(self, pose: np.ndarray, jacobian: np.ndarray, target_m: np.ndarray) -> np.ndarray:
        """Joint step of damped least squares, J^T (J J^T + lambda^2 I)^-1 e, (B, J)."""
        rows, error = self._task(pose, jacobian, target_m)
        gram = rows @ rows.transpose(0, 2, 1) + self.settings.damping**2 * np.eye(6)
        step = (rows.transpose(0, 2, 1) @ np.linalg.solve(gram, error[..., None]))[..., 0]
        return self._limited(step)

    @staticmethod
    def _place(pose: np.ndarray, jacobian: np.ndarray, target_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How the hand's place moves with the joints, (B, 3, J), and how it shall move, (B, 3)."""
        return jacobian[:, :3], target_m - pose[:, :3, 3]

    def _task(self, pose: np.ndarray, jacobian: np.ndarray, target_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How the hand's place and axis move with the joints, (B, 6, J), and how they shall move, (B, 6).

        The axis error is the rotation vector that turns the approach axis down: its axis times the full angle, so that
        an arm that points up is pushed hardest.
        """
        weight = self.settings.axis_weight_m
        z, angular = pose[:, :3, 2], jacobian[:, 3:]
        sine = np.hypot(z[:, 0], z[:, 1])
        turn = weight * np.arctan2(sine, -z[:, 2]) / np.maximum(sine, 1e-9)
        error = np.zeros((len(z), 6))
        error[:, :3] = target_m - pose[:, :3, 3]
        error[:, 3], error[:, 4] = -z[:, 1] * turn, z[:, 0] * turn  # the axis z x DOWN
        # Rotation about the approach axis itself is free: project it out of the angular rows.
        angular = angular - z[:, :, None] * (z[:, None, :] @ angular)
        return np.concatenate([jacobian[:, :3], weight * angular], axis=1), error

    @staticmethod
    def _damped_inverse(rows: np.ndarray, damping_m: float) -> np.ndarray:
        """J^T (J J^T + lambda^2 I)^-1 for rows (B, R, J): (B, J, R)."""
        across = rows.transpose(0, 2, 1)
        return across @ np.linalg.inv(rows @ across + damping_m**2 * np.eye(rows.shape[1]))

    def _limited(self, step: np.ndarray) -> np.ndarray:
        """Steps (B, J), shortened where a joint would move farther than the limit."""
        largest = np.abs(step).max(axis=1, keepdims=True)
        return step * np.minimum(1.0, self.settings.step_limit_rad / np.maximum(largest, 1e-12))

    def _inside(self, q: np.ndarray) -> np.ndarray:
        wrapped = self._home + np.remainder(q - self._home + np.pi, 2 * np.pi) - np.pi
        return np.where(self._free, wrapped, np.clip(q, self._lower, self._upper))
