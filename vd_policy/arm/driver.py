"""How a robot's driver names and counts a joint, where that differs from the URDF."""

from __future__ import annotations

from dataclasses import dataclass

from vd_policy.base.settings import setting


@dataclass(frozen=True)
class DriverJoint:
    """One joint as its driver sees it: the URDF's angle is ``sign * driver + offset_rad``."""

    name: str = setting("", "the driver's name of the joint; empty: the URDF's")
    sign: float = setting(1.0, "-1 where the driver counts the other way", choices=(1.0, -1.0))
    offset_rad: float = setting(0.0, "the URDF's angle where the driver's is zero [rad]", minimum=-1e3, maximum=1e3)
