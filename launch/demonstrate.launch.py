"""The expert drives the simulated arm, the recorder writes.

    ros2 launch vd_policy demonstrate.launch.py out:=DIR [samples:=500]

Arguments: ``ros2 launch vd_policy demonstrate.launch.py --show-args``. What runs is in ``vd_policy/graph/nodes.py``.
"""

from __future__ import annotations

from launch import LaunchDescription
from vd_policy.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("demonstrate")
