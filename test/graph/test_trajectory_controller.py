"""Whether a joint_trajectory_controller would take what the nodes send."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import Deployed
from stand_in import HOME
from trajectory_controller import TrajectoryController

from vd_policy.arm.spec import load_robot
from vd_policy.base.settings import as_dict
from vd_policy.messages.header import duration
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.ros import RclpyFactory

JOINTS, NOW_NS = ("a", "b"), 100 * 10**9
FACTORY = RclpyFactory()


def trajectory(stamp_ns: int = 0) -> Any:
    """Two points, one and two seconds from the start, that the controller takes."""
    msg, end = (encode_trajectory(FACTORY, JOINTS, [0.1, 0.2], float(s), stamp_ns, "x") for s in (1, 2))
    msg.points.append(end.points[0])
    return msg


def assign(**values: Any) -> Callable[[Any], None]:
    """A change of the message's last point."""

    def change(msg: Any) -> None:
        for field, value in values.items():
            setattr(msg.points[-1], field, value)

    return change


def rename(*names: str) -> Callable[[Any], None]:
    """A change of the joint names."""
    return lambda msg: setattr(msg, "joint_names", list(names))


@pytest.mark.parametrize(
    "change, reason",
    [
        (rename("a"), "joints do not match"),
        (rename("a", "c"), "joints do not match"),
        (rename("a", "a"), "joints do not match"),
        (rename(), "joints do not match"),
        (lambda msg: setattr(msg, "points", []), "empty trajectory"),
        (assign(time_from_start=duration(FACTORY, 1.0)), "not strictly increasing"),
        (assign(positions=[0.1]), "wrong number of positions"),
        (assign(positions=[]), "wrong number of positions"),
        (assign(velocities=[0.0]), "wrong number of velocities"),
        (assign(velocities=[0.0, 0.1]), "moving at the end"),
        (assign(effort=[0.0, 0.0]), "effort"),
        (assign(positions=[0.1, math.nan]), "not finite"),
    ],
)
def test_what_the_controller_rejects_is_counted_by_reason(change: Callable[[Any], None], reason: str) -> None:
    controller, msg = TrajectoryController(JOINTS), trajectory()
    change(msg)
    assert controller.take(msg, NOW_NS) is None
    (said,) = controller.rejections
    assert reason in said and controller.accepted == 0


def test_joints_in_another_order_are_taken_and_sorted() -> None:
    controller, msg = TrajectoryController(JOINTS), trajectory()
    msg.joint_names = ["b", "a"]
    assert controller.take(msg, NOW_NS).tolist() == [0.2, 0.1]
    assert controller.accepted == 1 and not controller.rejections


def test_a_trajectory_that_ends_in_the_past_is_rejected_and_one_that_still_runs_is_not() -> None:
    controller = TrajectoryController(JOINTS)
    assert controller.take(trajectory(NOW_NS - 3 * 10**9), NOW_NS) is None
    assert controller.take(trajectory(NOW_NS - 10**9), NOW_NS) is not None
    assert dict(controller.rejections) == {"ends in the past": 1}


def other_counting(folder: Path) -> str:
    """The Jaco behind a driver with other names, two joints counted backwards, two from another zero."""
    described = as_dict(load_robot())
    names = described["joints"]
    described["driver_joints"] = {
        names[0]: {"name": "yaw", "sign": -1, "offset_rad": 0.7},
        names[1]: {"name": "shoulder", "offset_rad": -1.25},
        names[5]: {"sign": -1},
    }
    (folder / "robot.yaml").write_text(yaml.safe_dump(described))
    return str(folder / "robot.yaml")


@pytest.mark.parametrize("counting", [lambda folder: "j2n6s300", other_counting], ids=["as the URDF", "otherwise"])
def test_policy_and_safety_drive_the_controller_without_a_rejection(
    counting: Callable[[Path], str], tmp_path: Path
) -> None:
    """While it moves, while it is halted, and after a reset; the joints that are told to stand still do."""
    deployed = Deployed(tmp_path, counting(tmp_path))
    try:
        deployed.moving()
        deployed.graph.wait_for(lambda: deployed.graph.probe.call("safety/stop").success, "the stop")
        deployed.at_rest()
        deployed.moving()
        controller = deployed.robot.controller
        assert controller.accepted > 2 and not controller.rejections
        assert deployed.robot.q[1:] == pytest.approx(HOME[1:], abs=1e-6)
    finally:
        deployed.close()
