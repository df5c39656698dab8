"""A trained policy drives the arm.

    ros2 launch vd_policy deploy.launch.py run:=RUN [sim:=false]

Arguments: ``ros2 launch vd_policy deploy.launch.py --show-args``. What runs is in ``vd_policy/graph/nodes.py``.
"""

from __future__ import annotations

from launch import LaunchDescription
from vd_policy.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("deploy")
