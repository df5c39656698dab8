"""Where the end effector is for given joints, and which joints put it over a point."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vd_policy.arm.chain import SerialChain
from vd_policy.arm.inverse import DOWN, DownwardSolver
from vd_policy.arm.pose import configuration_at
from vd_policy.arm.spec import RobotSpec
from vd_policy.arm.urdf import chain_between, read_joints

if TYPE_CHECKING:
    from ikpy.chain import Chain

DISTINCT_RAD = 0.3
"""Two goals count as one where no joint differs by more than this [rad]."""


class Kinematics:
    """Forward and inverse kinematics of one robot.

    Args:
        spec: the robot.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.chain = SerialChain(spec)
        self._downward = DownwardSolver(spec, self.chain)
        self._continuous = np.array(spec.continuous)
        self._solved: dict[bytes, np.ndarray] = {}

    @property
    def turns_about_the_base(self) -> bool:
        """Whether the first joint turns without end, and about the base's z axis."""
        first = self.chain.frames(np.zeros((1, len(self.spec))))[0][0, 0]
        return self.spec.continuous[0] and np.allclose(first[:2, 2:], 0.0, atol=1e-6)

    def forward(self, q: np.ndarray) -> np.ndarray:
        """End-effector pose in the base frame, (4, 4), for joint angles (J,) [rad]."""
        return self.chain.forward(np.asarray(q, dtype=np.float64)[None])[0]

    def forward_batch(self, q: np.ndarray) -> np.ndarray:
        """End-effector poses in the base frame, (B, 4, 4), for joint angles (B, J) [rad]."""
        return self.chain.forward(q)

    def goals_over(
        self, point_m: np.ndarray, *, collides: Callable[[np.ndarray], str | None], count_max: int = 24
    ) -> np.ndarray:
        """The goal set G of eq. 9: distinct configurations over a point, approach axis down, yaw free.

        A task that takes the nearest of all goals looks for it from these.

        Args:
            point_m: where the end effector shall be, base frame [m], (3,).
            collides: names what a configuration (J,) touches, or returns None.
            count_max: keep at most so many, those nearest to home.

        Returns:
            (K, J) joint angles [rad], nearest to home first, inside the limits and free of collision; K is 0 where the
            point cannot be reached. The same arguments give the same goals.
        """
        point = np.asarray(point_m, dtype=np.float64)
        found = self._solved.pop(point.tobytes(), None)
        if found is None:
            (found,) = self._downward.solve(point[None])
        order = np.argsort(np.abs(found - np.array(self.spec.home_rad)).sum(axis=1), kind="stable")
        goals: list[np.ndarray] = []
        for q in found[order]:
            if all(self.apart_rad(q, other) > DISTINCT_RAD for other in goals) and collides(q) is None:
                goals.append(q)
            if len(goals) == count_max:
                break
        return np.array(goals).reshape(-1, len(self.spec))

    def nearest_over(self, point_m: np.ndarray, goals: np.ndarray, q: np.ndarray, *, down: bool = True) -> np.ndarray:
        """The members of some goals' families that are nearest to a configuration, as the crow flies.

        Args:
            point_m: that the goals are over, base frame [m], (3,).
            goals: of `goals_over`, each turned to where it is nearest to `q`, (K, J) [rad].
            q: joint angles [rad], (J,).
            down: whether the hand goes on pointing down; otherwise a family is every way of holding the hand there.

        Returns:
            (K', J) joint angles [rad] inside the limits, the shortest way by eq. 9's measure first; collisions are not
            regarded.
        """
        found = self._downward.nearest(np.asarray(point_m, dtype=np.float64), goals, q, down=down)
        return found[np.argsort(np.abs(found - q).sum(axis=1), kind="stable")]

    def solve_ahead(self, points_m: np.ndarray) -> None:
        """Solve for the points, (N, 3) [m], that `goals_over` will be asked about: same goals, in a third of the time.

        What was solved ahead before and not asked about is forgotten.
        """
        points = np.asarray(points_m, dtype=np.float64)
        self._solved = dict(zip((point.tobytes() for point in points), self._downward.solve(points)))

    def moved_to(self, q: np.ndarray, point_m: np.ndarray) -> np.ndarray | None:
        """A configuration near `q` that puts the end effector on a point without turning it.

        Args:
            q: joint angles [rad], (J,).
            point_m: where the end effector shall be, base frame [m], (3,).

        Returns:
            joint angles [rad], (J,), inside the limits; or None where there is none.
        """
        pose = self.forward(q)
        pose[:3, 3] = point_m
        found = configuration_at(self.chain, pose, q)
        if found is None or (found < self.spec.lower_rad).any() or (found > self.spec.upper_rad).any():
            return None
        return found

    def apart_rad(self, a: np.ndarray, b: np.ndarray) -> float:
        """The largest difference of a joint between two configurations [rad], whole turns aside."""
        return float(np.abs(unwrapped(a - b, self._continuous)).max())

    def solve_one(self, point_m: np.ndarray, start: np.ndarray) -> np.ndarray:
        """One configuration near `start` with the approach axis down, by ikpy; it may not have converged.

        Args:
            point_m: target in the base frame [m], (3,).
            start: joint angles the optimiser starts from [rad], (J,).
        """
        padded = self.ikpy_chain.inverse_kinematics(
            target_position=point_m, target_orientation=DOWN, orientation_mode="Z", initial_position=self.padded(start)
        )
        return np.asarray(padded)[self._moving]

    @cached_property
    def ikpy_chain(self) -> Chain:
        """The arm as ikpy sees it.

        The path is spelled out because ikpy follows the first child at a branch (the fingers), and the mask because
        one built on the word "revolute" leaves continuous joints out.
        """
        from ikpy.chain import Chain

        joints = chain_between(read_joints(self.spec.urdf), self.spec.base_link, self.spec.end_effector)
        path = [self.spec.base_link]
        for joint in joints:
            path += [joint.name, joint.child]
        mask = [False, *(joint.moves for joint in joints)]
        return Chain.from_urdf_file(str(self.spec.urdf), base_elements=path, active_links_mask=mask)

    @cached_property
    def _moving(self) -> np.ndarray:
        return np.flatnonzero(self.ikpy_chain.active_links_mask)

    def padded(self, q: np.ndarray) -> np.ndarray:
        """Joint angles (J,) with zeros where ikpy counts fixed links."""
        full = np.zeros(len(self.ikpy_chain.links))
        full[self._moving] = q
        return full


def unwrapped(difference_rad: np.ndarray, continuous: np.ndarray) -> np.ndarray:
    """Differences of joint angles with those of continuous joints brought to the nearest turn, [-pi, pi)."""
    turned = np.remainder(difference_rad + np.pi, 2 * np.pi) - np.pi
    return np.where(continuous, turned, difference_rad)
