"""A learner improves the policy while it acts.

    ros2 launch vd_policy train.launch.py run:=RUN out:=NEW

Arguments: ``ros2 launch vd_policy train.launch.py --show-args``. What runs is in ``vd_policy/graph/nodes.py``.
"""

from __future__ import annotations

from launch import LaunchDescription
from vd_policy.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("train")
