"""The simulated arm alone.

    ros2 launch vd_policy sim.launch.py [task:=reach] [mode:=realtime]

Arguments: ``ros2 launch vd_policy sim.launch.py --show-args``. What runs is in ``vd_policy/graph/nodes.py``.
"""

from __future__ import annotations

from launch import LaunchDescription
from vd_policy.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("sim")
