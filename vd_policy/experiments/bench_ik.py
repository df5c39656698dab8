"""Why the goals come from a batched solver: ikpy and it, side by side on the same targets."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from vd_policy.arm.kinematics import DISTINCT_RAD, Kinematics
from vd_policy.arm.spec import RobotSpec, load_robot

OUTER_M = 0.70
"""The far corners of the cup region lie beyond this distance from the base, out of reach of a hand that points down."""
POSITION_M, TILT_DEG = 0.005, 3.0
"""A target counts as solved within these, inside the joint limits."""


def bench_ik(targets: int = 100, seeds: int = 8, seed: int = 0) -> dict[str, float]:
    """Share of top-down targets over the cup region that are solved, CPU time and distinct solutions of each solver.

    Args:
        targets: number of targets, in the cup region and in reach.
        seeds: starting configurations of the multi-seed ikpy: home, then random ones inside the limits.
        seed: of the targets and the random starts.

    Returns:
        ``<solver>_solved`` in [0, 1], ``<solver>_ms`` of CPU time a target, and ``<solver>_goals``, distinct solutions
        a target, for the solvers ``ikpy_home``, ``ikpy_multi`` and ``batched``.
    """
    spec = load_robot()
    kinematics, rng = Kinematics(spec), np.random.default_rng(seed)
    points, starts = _targets(rng, targets), _starts(spec, rng, seeds)
    kinematics.solve_one(points[0], starts[0])  # ikpy's import and URDF parsing are not the solver's time
    solvers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "ikpy_home": lambda point: np.array([kinematics.solve_one(point, starts[0])]),
        "ikpy_multi": lambda point: np.array([kinematics.solve_one(point, start) for start in starts]),
        "batched": lambda point: kinematics.goals_over(point, collides=lambda q: None),
    }
    figures: dict[str, float] = {"targets": targets, "ikpy_multi_seeds": seeds}
    for name, solve in solvers.items():
        begun = time.process_time()
        answers = [solve(point) for point in points]
        spent = time.process_time() - begun
        counts = [_distinct(kinematics, found, point) for found, point in zip(answers, points)]
        figures[f"{name}_solved"] = round(float(np.mean([count > 0 for count in counts])), 3)
        figures[f"{name}_ms"] = round(1000 * spent / targets, 2)
        figures[f"{name}_goals"] = round(float(np.mean(counts)), 2)
    return figures


def _targets(rng: np.random.Generator, count: int) -> np.ndarray:
    """Points over the cup region that the arm can reach, (count, 3) [m]."""
    points: list[np.ndarray] = []
    while len(points) < count:
        point = np.array([rng.uniform(0.30, 0.65), rng.uniform(-0.35, 0.35), 0.18])
        if np.hypot(point[0], point[1]) < OUTER_M:
            points.append(point)
    return np.array(points)


def _starts(spec: RobotSpec, rng: np.random.Generator, count: int) -> np.ndarray:
    home = np.array(spec.home_rad)
    lower = np.where(spec.continuous, home - np.pi, spec.lower_rad)
    upper = np.where(spec.continuous, home + np.pi, spec.upper_rad)
    return np.concatenate([home[None], rng.uniform(lower, upper, (count - 1, len(home)))])


def _distinct(kinematics: Kinematics, found: np.ndarray, point: np.ndarray) -> int:
    """How many of the answers solve the target and differ from each other."""
    kept: list[np.ndarray] = []
    for q, pose in zip(found, kinematics.forward_batch(found)):
        near = np.linalg.norm(pose[:3, 3] - point) < POSITION_M
        down = np.degrees(np.arccos(np.clip(-pose[2, 2], -1.0, 1.0))) < TILT_DEG
        inside = (q >= kinematics.spec.lower_rad).all() and (q <= kinematics.spec.upper_rad).all()
        if near and down and inside and all(kinematics.apart_rad(q, other) > DISTINCT_RAD for other in kept):
            kept.append(q)
    return len(kept)
