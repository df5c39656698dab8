"""What an arm is: its joints, limits, home posture and workspace, checked against its URDF."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vd_policy.arm.driver import DriverJoint
from vd_policy.arm.urdf import UrdfJoint, chain_between, joints_above, read_joints
from vd_policy.base.errors import BadInput
from vd_policy.base.resources import named_or_path, resource
from vd_policy.base.settings import from_yaml, setting

TOLERANCE = 1e-6
"""Largest difference between a number in the YAML and the same number in the URDF."""


@dataclass(frozen=True)
class RobotSpec:
    """One robot as everybody else sees it. J is the number of arm joints."""

    name: str = setting(help="the robot's name, written into manifests")
    urdf: Path = setting(help="URDF file: a name in urdf/, or a path relative to the YAML")
    base_link: str = setting(help="link at the origin; all poses are in its frame")
    end_effector: str = setting(help="link whose distance to the target counts; its +z is the approach axis")
    joints: tuple[str, ...] = setting(help="arm joints from the base to the end effector")
    home_rad: tuple[float, ...] = setting(help="start of every episode [rad], (J,)")
    lower_rad: tuple[float, ...] = setting(help="lower joint limits [rad], -.inf where continuous, (J,)", infinite=True)
    upper_rad: tuple[float, ...] = setting(help="upper joint limits [rad], .inf where continuous, (J,)", infinite=True)
    speed_limit_rad_s: tuple[float, ...] = setting(help="joint speed limits [rad/s], (J,)", minimum=0.0)
    continuous: tuple[bool, ...] = setting(help="whether a joint turns without end, (J,)")
    finger_joints: tuple[str, ...] = setting(default=(), help="joints of the gripper")
    finger_rad: tuple[float, ...] = setting(default=(), help="posture of the gripper while the arm moves [rad]")
    finger_open_rad: tuple[float, ...] = setting(default=(), help="open gripper, for tasks that grasp [rad]")
    finger_closed_rad: tuple[float, ...] = setting(default=(), help="closed gripper with nothing in it [rad]")
    workspace_m: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] = setting(
        default=((-math.inf, math.inf),) * 3,
        help="box the end effector may move in, ((x0, x1), (y0, y1), (z0, z1)) [m]",
        infinite=True,
    )
    driver_joints: dict[str, DriverJoint] = setting(
        factory=dict, help="joints that the driver names or counts otherwise than the URDF, by the URDF's name"
    )

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def around_rad(self) -> dict[str, float]:
        """Joints that turn without end and their angle at home [rad], near which a network knows them."""
        return {j: home for j, home, turns in zip(self.joints, self.home_rad, self.continuous) if turns}


def load_robot(name_or_path: str = "j2n6s300") -> RobotSpec:
    """The robot of ``config/robots/<name>.yaml``, or of a YAML file by path.

    Raises:
        BadInput: a value is missing, of the wrong type or length, or disagrees with the URDF.
    """
    return _load(str(named_or_path("robots", name_or_path)))


@lru_cache(maxsize=8)
def _load(path: str) -> RobotSpec:
    spec = from_yaml(RobotSpec, path)
    beside = Path(path).parent / spec.urdf
    spec = replace(spec, urdf=beside if beside.is_file() else resource("urdf", str(spec.urdf)))
    check(spec, where=path)
    _check_name(spec, path)
    return spec


def _check_name(spec: RobotSpec, path: str) -> None:
    """Refuse another robot under a name of ``config/robots``: bags and runs remember a robot by its name."""
    stock = resource("config", "robots") / f"{spec.name}.yaml"
    if not stock.is_file() or stock.samefile(path):
        return
    mine, theirs = asdict(spec), asdict(_load(str(stock)))
    mine["urdf"], theirs["urdf"] = (Path(values["urdf"]).read_bytes() for values in (mine, theirs))
    if other := [name for name, value in mine.items() if value != theirs[name]]:
        raise BadInput(f"{path}: name", spec.name, f"a name of its own: {stock.name} has another {', '.join(other)}",
                       "rename the robot")  # fmt: skip


def check(spec: RobotSpec, where: str) -> None:
    """Refuse a specification that contradicts itself or its URDF, naming the joint and both values."""
    if not spec.name:
        raise BadInput(f"{where}: name", spec.name, "a name", "give the robot one")
    for field in ("home_rad", "lower_rad", "upper_rad", "speed_limit_rad_s", "continuous"):
        _same_length(spec, field, len(spec.joints), where)
    _same_length(spec, "finger_rad", len(spec.finger_joints), where)
    for field in ("finger_open_rad", "finger_closed_rad"):
        if getattr(spec, field):
            _same_length(spec, field, len(spec.finger_joints), where)
    for low, high in spec.workspace_m:
        if low >= high:
            raise BadInput(f"{where}: workspace_m", (low, high), "lower below upper on each axis", "swap them")
    _check_driver(spec, where)
    joints = read_joints(spec.urdf)
    chain = chain_between(joints, spec.base_link, spec.end_effector)
    _check_kinds(spec, chain)
    _check_base(spec, joints, where)
    moving = [joint.name for joint in chain if joint.moves]
    if moving != list(spec.joints):
        raise BadInput(f"{where}: joints", list(spec.joints), f"the URDF's chain {moving}", "correct one of the two")
    for index, name in enumerate(spec.joints):
        _check_joint(spec, index, joints[name], where)
    for index, name in enumerate(spec.finger_joints):
        if name not in joints or name in spec.joints:
            raise BadInput(f"{where}: finger_joints", name, "joints of the URDF that are not the arm's", "correct it")
        for field in ("finger_rad", "finger_open_rad", "finger_closed_rad"):
            for angle in getattr(spec, field)[index : index + 1]:
                _inside(angle, joints[name].lower_rad, joints[name].upper_rad, f"{where}: {field} of {name}")


def _check_kinds(spec: RobotSpec, chain: tuple[UrdfJoint, ...]) -> None:
    for joint in chain:
        if joint.type not in ("revolute", "continuous", "fixed"):
            raise BadInput(f"{spec.urdf}: type of {joint.name}", joint.type, "revolute, continuous or fixed in the arm",
                           "make it one of these, or leave it out of the arm")  # fmt: skip


def _check_base(spec: RobotSpec, joints: dict[str, UrdfJoint], where: str) -> None:
    """The world's frame is that of the URDF's root, and poses are in the base's: they must be one."""
    above = joints_above(joints, spec.base_link)
    for joint in above:
        if not joint.is_identity:
            raise BadInput(f"{where}: base_link", spec.base_link,
                           f"the URDF's root link, {above[-1].parent}, or one fixed to it without an offset",
                           f"name that one; {joint.name} lies between")  # fmt: skip


def _check_driver(spec: RobotSpec, where: str) -> None:
    if unknown := sorted(set(spec.driver_joints) - set(spec.joints)):
        raise BadInput(f"{where}: driver_joints", unknown, "joints " + ", ".join(spec.joints), "correct the names")
    names = [spec.driver_joints.get(joint, DriverJoint()).name or joint for joint in spec.joints]
    if len(set(names)) < len(names):
        raise BadInput(f"{where}: driver_joints", names, "each name once", "two joints share a name of the driver")


def _check_joint(spec: RobotSpec, index: int, joint: UrdfJoint, where: str) -> None:
    if not all(abs(a - b) < TOLERANCE for a, b in zip(joint.axis, (0.0, 0.0, 1.0))):
        raise BadInput(f"{spec.urdf}: axis of {joint.name}", joint.axis, "0 0 1", "turn the joint's frame")
    _agree(where, joint, "continuous", spec.continuous[index], joint.type == "continuous")
    compare = _agree if spec.continuous[index] else _not_wider
    for field in ("lower_rad", "upper_rad"):
        compare(where, joint, field, getattr(spec, field)[index], getattr(joint, field))
    _not_wider(where, joint, "speed_limit_rad_s", spec.speed_limit_rad_s[index], joint.speed_limit_rad_s)
    lower, upper = spec.lower_rad[index], spec.upper_rad[index]
    if lower >= upper:
        raise BadInput(f"{where}: limits of {joint.name}", (lower, upper), "lower below upper", "swap them")
    _inside(spec.home_rad[index], lower, upper, f"{where}: home_rad of {joint.name}")


def _agree(where: str, joint: UrdfJoint, field: str, configured: float, described: float) -> None:
    if configured != described and not abs(configured - described) < TOLERANCE:
        raise BadInput(f"{where}: {field} of {joint.name}", configured, f"{described!r}, as the URDF says",
                       "correct the YAML or the URDF")  # fmt: skip


def _not_wider(where: str, joint: UrdfJoint, field: str, configured: float, described: float) -> None:
    """A robot file may narrow what the URDF allows, to what stands around the arm, and not widen it."""
    is_lower = field == "lower_rad"
    beyond = described - configured if is_lower else configured - described
    if not beyond < TOLERANCE:
        raise BadInput(f"{where}: {field} of {joint.name}", configured,
                       f"at {'least' if is_lower else 'most'} {described!r}, as the URDF says",
                       "correct the YAML or the URDF")  # fmt: skip


def _inside(angle: float, lower: float, upper: float, what: str) -> None:
    if not lower <= angle <= upper:
        raise BadInput(what, angle, f"from {lower} to {upper} rad", "bring it inside the limits")


def _same_length(spec: RobotSpec, field: str, length: int, where: str) -> None:
    value: tuple[Any, ...] = getattr(spec, field)
    if len(value) != length:
        raise BadInput(f"{where}: {field}", value, f"{length} values, one a joint", "add or remove values")
