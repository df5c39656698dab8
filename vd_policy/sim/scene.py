"""The PyBullet world: an arm on a table, a cup, what touches what, and what a camera sees."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vd_policy.arm.spec import RobotSpec
from vd_policy.base.resources import resource
from vd_policy.sim.bullet import load_bullet
from vd_policy.sim.camera import Camera

PLAIN_LIGHT: Mapping[str, Any] = {"shadow": 0}
PHYSICS_STEP_S = 1.0 / 240.0
POSITION_GAIN = 0.5
"""Share of the position error that the motor removes in one physics step: settles within 0.1 s of arriving."""
RUBBER = 1.0
"""Coefficient of friction of the fingers' pads."""
GEARED_INERTIA_KG_M2 = 1e-4
"""Inertia of a finger's rotor as its gear lets the finger feel it. With the links' alone (1e-6) the solver passes a
tenth of the motors' torque on to the cup, and no cup is lifted."""
TOUCH_M = 0.001
"""A finger this near to the cup counts as touching: under load the gap changes its sign from step to step."""
SUB_STEP_RAD = math.pi / 40
"""Largest joint motion between two collision queries of a sweep: 8 queries, 0.1 ms, for a step of pi/5. The table is a
solid block 0.5 m deep, so nothing passes through between two of them. A fingertip can pass through the edge of a cup
that can be touched: in 16 of 400 motions that touch it, with half the distance in 4, with a quarter in 1."""


class Scene:
    """One private physics world. `close()` frees it, and so does the garbage collector.

    Args:
        spec: the robot.
        cup_is_solid: whether the arm can touch the cup, and knock it over under position control.
        fingers_rad: posture of the gripper; None for the robot's.
    """

    def __init__(self, spec: RobotSpec, *, cup_is_solid: bool = False, fingers_rad: np.ndarray | None = None) -> None:
        self.spec, self._cup_is_solid = spec, cup_is_solid
        self._fingers_rad = spec.finger_rad if fingers_rad is None else fingers_rad
        self._bullet = bullet = load_bullet()
        self._client = bullet.connect(bullet.DIRECT)
        self.close = weakref.finalize(self, bullet.disconnect, physicsClientId=self._client)
        bullet.setTimeStep(PHYSICS_STEP_S, physicsClientId=self._client)
        bullet.setGravity(0, 0, -9.81, physicsClientId=self._client)
        touching_itself = bullet.URDF_USE_SELF_COLLISION | bullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
        self._arm = self._load(spec.urdf, touching_itself)
        self._table = self._load(resource("urdf", "table.urdf"))
        self._cup = self._load(resource("urdf", "cup.urdf"), fixed=not cup_is_solid)
        # PyBullet puts a body where its centre of mass shall be, not its origin.
        self._cup_centre = np.array(bullet.getDynamicsInfo(self._cup, -1, physicsClientId=self._client)[3])
        self._name_parts()
        self._choose_contacts()
        if cup_is_solid:
            self._make_fingers_strong()
        self.set_fingers(self._fingers_rad)
        self.aim_fingers(self._fingers_rad)
        self.set_joints(np.array(spec.home_rad))
        self._start = bullet.saveState(physicsClientId=self._client)

    def _load(self, path: Path, flags: int = 0, fixed: bool = True) -> int:
        return _load(self._bullet, self._client, path, flags, fixed)

    def _name_parts(self) -> None:
        """Index joints and links by name; a link has the index of the joint above it, the URDF's root -1."""
        joints: dict[str, int] = {}
        root = self._bullet.getBodyInfo(self._arm, physicsClientId=self._client)[0].decode()
        self._links, self._torque, self._speed = {-1: root}, {}, {}
        parents = {-1: -1}
        for index in range(self._bullet.getNumJoints(self._arm, physicsClientId=self._client)):
            info = self._bullet.getJointInfo(self._arm, index, physicsClientId=self._client)
            joints[info[1].decode()], self._links[index] = index, info[12].decode()
            self._torque[index], self._speed[index], parents[index] = info[10], info[11], info[16]
        self._joints = [joints[name] for name in self.spec.joints]
        self._fingers = [joints[name] for name in self.spec.finger_joints]
        self._finger_links = {self._links[index] for index in self._fingers}
        self._effector = next(i for i, name in self._links.items() if name == self.spec.end_effector)
        self._feet = [next(i for i, name in self._links.items() if name == self.spec.base_link)]
        while self._feet[-1] != -1:
            self._feet.append(parents[self._feet[-1]])

    @cached_property
    def finger_parents(self) -> tuple[int, ...]:
        """For each finger joint, the finger joint that carries it; -1 for one on the hand."""
        infos = [self._bullet.getJointInfo(self._arm, i, physicsClientId=self._client) for i in self._fingers]
        return tuple(self._fingers.index(info[16]) if info[16] in self._fingers else -1 for info in infos)

    def _choose_contacts(self) -> None:
        """Leave out what always touches (the foot on the table, parts of one hand) and a cup that is only seen."""
        ignore = [(self._arm, self._table, foot, -1) for foot in self._feet]
        hand = [self._joints[-1], *self._fingers]
        ignore += [(self._arm, self._arm, a, b) for a in hand for b in hand if a < b]
        if not self._cup_is_solid:
            ignore += [(self._cup, self._table, -1, -1)]
            ignore += [(self._cup, self._arm, -1, link) for link in self._links]
        for body_a, body_b, link_a, link_b in ignore:
            self._bullet.setCollisionFilterPair(body_a, body_b, link_a, link_b, 0, physicsClientId=self._client)

    def _make_fingers_strong(self) -> None:
        inertia = [GEARED_INERTIA_KG_M2] * 3
        for link in self._fingers:
            self._bullet.changeDynamics(self._arm, link, lateralFriction=RUBBER, localInertiaDiagonal=inertia,
                                        physicsClientId=self._client)  # fmt: skip

    def hide_table(self) -> None:
        """Leave the table out of images from now on; TinyRenderer skips what has no opacity."""
        self._bullet.changeVisualShape(self._table, -1, rgbaColor=(1.0, 1.0, 1.0, 0.0), physicsClientId=self._client)

    def restart(self, cup_m: np.ndarray) -> None:
        """Home and at rest, bit for bit the same however the last episode went, with the cup's foot at `cup_m`."""
        self._bullet.restoreState(stateId=self._start, physicsClientId=self._client)
        centre, upright = (cup_m + self._cup_centre).tolist(), (0.0, 0.0, 0.0, 1.0)
        self._bullet.resetBasePositionAndOrientation(self._cup, centre, upright, physicsClientId=self._client)
        if self._cup_is_solid:
            self.aim_fingers(self._fingers_rad)  # a saved state does not hold the motors' targets

    def set_joints(self, q: np.ndarray) -> None:
        """Put the arm at joint angles (J,) [rad], at rest."""
        self._bullet.resetJointStatesMultiDof(
            self._arm, self._joints, q[:, None].tolist(), physicsClientId=self._client
        )

    def joints(self) -> np.ndarray:
        """Joint angles [rad], (J,) float64."""
        states = self._bullet.getJointStates(self._arm, self._joints, physicsClientId=self._client)
        return np.array([state[0] for state in states])

    def effector_m(self) -> np.ndarray:
        """Position of the end effector in the base frame [m], (3,)."""
        return self.effector()[:3, 3]

    def effector(self) -> np.ndarray:
        """Pose of the end effector in the base frame, (4, 4)."""
        state = self._bullet.getLinkState(self._arm, self._effector, physicsClientId=self._client)
        return self._pose(state[4], state[5])

    def cup(self) -> np.ndarray:
        """Pose of the cup in the base frame, its origin in the centre of the foot, (4, 4)."""
        centre, turn = self._bullet.getBasePositionAndOrientation(self._cup, physicsClientId=self._client)
        pose = self._pose(centre, turn)
        pose[:3, 3] -= pose[:3, :3] @ self._cup_centre
        return pose

    def _pose(self, position: tuple[float, ...], quaternion: tuple[float, ...]) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = np.reshape(self._bullet.getMatrixFromQuaternion(quaternion), (3, 3))
        pose[:3, 3] = position
        return pose

    def contact_at(self, q: np.ndarray) -> str | None:
        """What the arm touches at joint angles (J,), as ``link:other``, or None."""
        self.set_joints(q)
        self._bullet.performCollisionDetection(physicsClientId=self._client)
        return self._worst_contact()

    def _worst_contact(self) -> str | None:
        """The deepest touch of the arm; one of a finger and the cup only where there is no other."""
        points = self._bullet.getContactPoints(physicsClientId=self._client)
        touching = [point for point in points if point[8] <= 0.0 and self._arm in point[1:3]]
        if not touching:
            return None
        return min((self.is_finger_on_cup(name), point[8], point[1:5], name)
                   for point in touching for name in [self._contact_name(point)])[-1]  # fmt: skip

    def _contact_name(self, point: tuple[Any, ...]) -> str:
        sides = [self._part(point[1], point[3]), self._part(point[2], point[4])]
        if point[1] != self._arm:
            sides.reverse()
        return ":".join(sides)

    def is_finger_on_cup(self, contact: str | None) -> bool:
        """Whether a contact, named as ``link:other``, is one of a finger and the cup."""
        link, _, other = (contact or "").partition(":")
        return other == "cup" and link in self._finger_links

    def finger_touches(self) -> dict[int, np.ndarray]:
        """Where fingers touch the cup: by finger joint (its place in the robot's list), unit vectors from the cup's
        axis to the touch of that joint's link, (3,)."""
        self._bullet.performCollisionDetection(physicsClientId=self._client)
        cup, touches = self.cup(), {}
        for point in self._bullet.getContactPoints(self._arm, self._cup, physicsClientId=self._client):
            if point[8] <= TOUCH_M and point[3] in self._fingers:
                away = np.array(point[6]) - cup[:3, 3]
                away -= (away @ cup[:3, 2]) * cup[:3, 2]
                touches[self._fingers.index(point[3])] = away / max(float(np.linalg.norm(away)), 1e-9)
        return touches

    def _part(self, body: int, link: int) -> str:
        if body == self._arm:
            return self._links[link]
        return "table" if body == self._table else "cup"

    def sweep(self, start: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, str | None]:
        """Move in a straight joint-space line without physics, stopping before the first contact.

        Args:
            start, target: joint angles [rad], (J,).

        Returns:
            where the arm stopped (J,), and what stopped it, or None.
        """
        way = target - start
        count = max(1, math.ceil(float(np.abs(way).max()) / SUB_STEP_RAD))
        free = start
        for k in range(1, count + 1):
            q = target if k == count else start + way * (k / count)
            contact = self.contact_at(q)
            if contact is not None:
                self.set_joints(free)
                return free, contact
            free = q
        return free, None

    def fingers(self) -> np.ndarray:
        """Angles of the finger joints [rad]."""
        states = self._bullet.getJointStates(self._arm, self._fingers, physicsClientId=self._client)
        return np.array([state[0] for state in states])

    def drive(self, target: np.ndarray, duration_s: float) -> tuple[np.ndarray, str | None]:
        """Move under position control at the real speed limits, stopping at the first contact with what stands fast.

        A cup gives way: the motion goes on, and the cup slides or falls.

        Args:
            target: joint angles [rad], (J,).
            duration_s: how long the motion may take [s].

        Returns:
            where the arm is afterwards (J,), and what it touched, or None.
        """
        self.aim(target)
        touched: str | None = None
        for _ in range(math.ceil(duration_s / PHYSICS_STEP_S)):
            before = self.joints()
            self._bullet.stepSimulation(physicsClientId=self._client)
            contact = self._worst_contact()
            if contact is None:
                continue
            if not contact.endswith(":cup"):
                self.set_joints(before)
                return before, contact
            if touched is None or self.is_finger_on_cup(touched):
                touched = contact
        return self.joints(), touched

    def run(self, duration_s: float) -> None:
        """Let the motors follow their targets, whatever touches."""
        for _ in range(math.ceil(duration_s / PHYSICS_STEP_S)):
            self._bullet.stepSimulation(physicsClientId=self._client)

    def aim(self, q: np.ndarray) -> None:
        """Give the arm's motors their targets (J,) [rad]."""
        for index, angle in zip(self._joints, q):
            self._set_motor(index, angle)

    def aim_fingers(self, angles: Sequence[float] | np.ndarray) -> None:
        """Give the fingers' motors their targets [rad]."""
        for index, angle in zip(self._fingers, angles):
            self._set_motor(index, angle)

    def press_fingers(self, angles: Mapping[int, float], torque_nm: float) -> None:
        """Let some finger joints press towards angles [rad] with no more than a torque [N m]; the others stand."""
        for joint, angle in angles.items():
            self._set_motor(self._fingers[joint], angle, torque_nm)

    def set_fingers(self, angles: Sequence[float] | np.ndarray) -> None:
        """Put the fingers at angles [rad], at rest."""
        for index, angle in zip(self._fingers, angles):
            self._bullet.resetJointState(self._arm, index, angle, physicsClientId=self._client)

    def _set_motor(self, index: int, angle: float, torque_nm: float | None = None) -> None:
        """Position control within the URDF's speed and torque; without a speed PyBullet jumps to the target."""
        self._bullet.setJointMotorControl2(
            self._arm, index, self._bullet.POSITION_CONTROL, targetPosition=angle, positionGain=POSITION_GAIN,
            maxVelocity=self._speed[index], force=self._torque[index] if torque_nm is None else torque_nm,
            physicsClientId=self._client,
        )  # fmt: skip

    def render(self, camera: Camera, light: Mapping[str, Any] = PLAIN_LIGHT) -> tuple[np.ndarray, np.ndarray]:
        """What the camera sees: rgba u8 (H, W, 4) and the depth buffer f32 (H, W), 1.0 where nothing is."""
        return _render(self._bullet, self._client, camera, light)


def picture_of_the_table(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """What the camera sees of the things that never move, as `Scene.render` gives it."""
    bullet = load_bullet()
    client = bullet.connect(bullet.DIRECT)
    try:
        _load(bullet, client, resource("urdf", "table.urdf"))
        return _render(bullet, client, camera, PLAIN_LIGHT)
    finally:
        bullet.disconnect(physicsClientId=client)


def _load(bullet: ModuleType, client: int, path: Path, flags: int = 0, fixed: bool = True) -> int:
    flags |= bullet.URDF_USE_INERTIA_FROM_FILE
    return bullet.loadURDF(str(path), useFixedBase=fixed, flags=flags, physicsClientId=client)


def _render(bullet: ModuleType, client: int, camera: Camera, light: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    _, _, rgba, depth, _ = bullet.getCameraImage(
        camera.width, camera.height, camera.view, camera.projection, **light,
        renderer=bullet.ER_TINY_RENDERER, flags=bullet.ER_NO_SEGMENTATION_MASK, physicsClientId=client,
    )  # fmt: skip
    return rgba, depth
