"""Inverse kinematics of one full pose, from a configuration nearby."""

from __future__ import annotations

import numpy as np

from vd_policy.arm.chain import SerialChain

ITERATIONS = 50
DAMPING_M = 0.01
"""Lambda of damped least squares."""
ROTATION_WEIGHT_M = 0.2
"""Metres of position error that one radian of orientation error counts as."""
STEP_LIMIT_RAD = 0.3
POSITION_TOLERANCE_M = 1e-4
ROTATION_TOLERANCE_RAD = 1e-3


def configuration_at(chain: SerialChain, pose: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """The configuration with a pose of the end effector that is joined to `start` by small steps.

    Args:
        chain: the arm.
        pose: wanted, in the base frame, (4, 4); within 90 degrees of that of `start`.
        start: joint angles [rad], (J,).

    Returns:
        joint angles [rad], (J,), limits not regarded; or None where the steps do not converge.
    """
    q = np.array(start, dtype=np.float64)
    for _ in range(ITERATIONS):
        poses, jacobians = chain.jacobian(q[None])
        position = pose[:3, 3] - poses[0, :3, 3]
        rotation = _turn(poses[0, :3, :3], pose[:3, :3])
        if np.linalg.norm(position) < POSITION_TOLERANCE_M and np.linalg.norm(rotation) < ROTATION_TOLERANCE_RAD:
            return q
        q = q + _step(jacobians[0], position, rotation)
    return None


def _turn(now: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Half the sum of the cross products of the axes: the turn from `now` to `wanted`, its length the sine, (3,)."""
    return 0.5 * np.cross(now.T, wanted.T).sum(axis=0)


def _step(jacobian: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Damped least squares, J^T (J J^T + lambda^2 I)^-1 e, (J,), no joint above `STEP_LIMIT_RAD`."""
    rows = jacobian * np.array([1.0] * 3 + [ROTATION_WEIGHT_M] * 3)[:, None]
    error = np.concatenate([position, ROTATION_WEIGHT_M * rotation])
    step = rows.T @ np.linalg.solve(rows @ rows.T + DAMPING_M**2 * np.eye(6), error)
    return step * min(1.0, STEP_LIMIT_RAD / max(np.abs(step).max(), 1e-12))
