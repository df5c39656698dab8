"""A robot whose driver has terms of its own."""

from __future__ import annotations

from pathlib import Path

import yaml

from vd_policy.arm.spec import load_robot
from vd_policy.base.settings import as_dict


def other_counting(folder: Path) -> str:
    """The Jaco behind a driver with other names, two joints counted backwards, two from another zero."""
    described = as_dict(load_robot())
    described["name"], names = "counted_otherwise", described["joints"]
    described["driver_joints"] = {
        names[0]: {"name": "yaw", "sign": -1, "offset_rad": 0.7},
        names[1]: {"name": "shoulder", "offset_rad": -1.25},
        names[5]: {"sign": -1},
    }
    (folder / "robot.yaml").write_text(yaml.safe_dump(described))
    return str(folder / "robot.yaml")
