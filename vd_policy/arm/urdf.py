"""The part of a URDF that kinematics needs: its joints, and the chain from one link to another."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vd_policy.base.errors import BadInput, Missing


@dataclass(frozen=True)
class UrdfJoint:
    """One joint: the child's frame in the parent's, and what limits the motion between them."""

    name: str
    type: str
    parent: str
    child: str
    xyz_m: tuple[float, float, float]
    rpy_rad: tuple[float, float, float]
    axis: tuple[float, float, float]
    lower_rad: float
    """Minus infinity where the joint is continuous."""
    upper_rad: float
    speed_limit_rad_s: float

    @property
    def moves(self) -> bool:
        return self.type != "fixed"

    @property
    def is_identity(self) -> bool:
        """Whether the child's frame is the parent's."""
        return not self.moves and np.allclose(self.origin(), np.eye(4), atol=1e-6)

    def origin(self) -> np.ndarray:
        """Pose of the child's frame in the parent's at joint angle 0, shape (4, 4)."""
        pose = np.eye(4)
        pose[:3, :3] = rotation_rpy(self.rpy_rad)
        pose[:3, 3] = self.xyz_m
        return pose


def rotation_rpy(rpy_rad: tuple[float, float, float]) -> np.ndarray:
    """Rotation matrix of fixed-axis roll, pitch, yaw [rad] (REP-103), shape (3, 3)."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy_rad), np.cos(rpy_rad)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])  # fmt: skip


def read_joints(path: Path) -> dict[str, UrdfJoint]:
    """All joints of a URDF file by name.

    Raises:
        Missing: no such file.
        BadInput: not a URDF, or a joint whose numbers cannot be read.
    """
    if not Path(path).is_file():
        raise Missing("URDF", str(path), "a file that exists", "check `urdf` in the robot's YAML")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise BadInput(str(path), str(error), "well-formed XML", "correct the URDF") from None
    if root.tag != "robot":
        raise BadInput(str(path), root.tag, "a URDF, whose root is <robot>", "is this the right file?")
    return {element.get("name", ""): _joint(element, path) for element in root.findall("joint")}


def chain_between(joints: dict[str, UrdfJoint], base_link: str, tip_link: str) -> tuple[UrdfJoint, ...]:
    """The joints, fixed ones included, that lead from `base_link` to `tip_link`, in that order."""
    by_child = {joint.child: joint for joint in joints.values()}
    chain: list[UrdfJoint] = []
    link = tip_link
    while link != base_link:
        if link not in by_child:
            raise BadInput("end_effector", tip_link, f"a link below {base_link!r}", "correct the YAML or the URDF")
        chain.append(by_child[link])
        link = by_child[link].parent
    return tuple(reversed(chain))


def joints_above(joints: dict[str, UrdfJoint], link: str) -> tuple[UrdfJoint, ...]:
    """The joints that lead from the URDF's root link to `link`, the last one first; none where it is the root."""
    by_child = {joint.child: joint for joint in joints.values()}
    above: list[UrdfJoint] = []
    while (joint := by_child.pop(link, None)) is not None:
        above.append(joint)
        link = joint.parent
    return tuple(above)


def _joint(element: ElementTree.Element, path: Path) -> UrdfJoint:
    def attribute(tag: str, key: str, default: str) -> str:
        found = element.find(tag)
        return default if found is None else found.get(key, default)

    def vector(tag: str, key: str, default: str) -> tuple[float, float, float]:
        x, y, z = attribute(tag, key, default).split()
        return float(x), float(y), float(z)

    name, kind = element.get("name", ""), element.get("type", "")
    bounded = element.find("limit") is not None and kind != "continuous"
    try:
        return UrdfJoint(
            name=name,
            type=kind,
            parent=attribute("parent", "link", ""),
            child=attribute("child", "link", ""),
            xyz_m=vector("origin", "xyz", "0 0 0"),
            rpy_rad=vector("origin", "rpy", "0 0 0"),
            axis=vector("axis", "xyz", "1 0 0"),
            lower_rad=float(attribute("limit", "lower", "0")) if bounded else -math.inf,
            upper_rad=float(attribute("limit", "upper", "0")) if bounded else math.inf,
            speed_limit_rad_s=float(attribute("limit", "velocity", "inf")),
        )
    except ValueError as error:
        raise BadInput(
            f"{path}: joint {name}", str(error), "numbers, three of them in xyz and rpy", "correct it"
        ) from None
