"""Whether a joint_trajectory_controller would take what the nodes send."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployed import Deployed
from other_driver import other_counting
from trajectory_controller import TrajectoryController

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


def taken(msg: Any, **parameters: bool) -> tuple[bool, list[str]]:
    """Whether the controller takes it, and what it says."""
    controller = TrajectoryController(JOINTS, **parameters)
    return controller.take(msg, NOW_NS, np.zeros(2)), list(controller.rejections)


@pytest.mark.parametrize(
    "change, reason",
    [
        (rename("a"), "joints do not match"),
        (rename("a", "c"), "a joint is not the controller's"),
        (rename(), "joints do not match"),
        (lambda msg: setattr(msg, "points", []), "empty trajectory"),
        (assign(time_from_start=duration(FACTORY, 1.0)), "not strictly increasing"),
        (assign(positions=[0.1]), "wrong number of positions"),
        (assign(positions=[]), "wrong number of positions"),
        (assign(velocities=[0.0]), "wrong number of velocities"),
        (assign(accelerations=[0.0]), "wrong number of accelerations"),
        (assign(velocities=[0.0, 0.1]), "moving at the end"),
        (assign(effort=[0.0, 0.0]), "effort"),
        (rename("a", "a"), "hazard: a joint is named twice"),
        (assign(positions=[0.1, math.nan]), "hazard: not finite"),
        (lambda msg: setattr(msg.points[0], "time_from_start", duration(FACTORY, 0.0)), "hazard: the first point"),
    ],
)
def test_what_the_controller_rejects_is_counted_by_reason(change: Callable[[Any], None], reason: str) -> None:
    msg = trajectory()
    change(msg)
    accepted, said = taken(msg)
    assert not accepted and len(said) == 1 and reason in said[0]


@pytest.mark.parametrize(
    "change, parameter",
    [
        (assign(velocities=[0.0, 0.1]), "allow_nonzero_velocity_at_trajectory_end"),
        (assign(positions=[], velocities=[0.0, 0.0]), "allow_integration_in_goal_trajectories"),
    ],
)
def test_what_a_parameter_of_the_controller_allows_is_taken_only_with_it(
    change: Callable[[Any], None], parameter: str
) -> None:
    msg = trajectory()
    change(msg)
    assert not taken(msg)[0] and taken(msg, **{parameter: True})[0]


def test_a_partial_goal_is_taken_where_it_is_allowed_and_leaves_the_other_joints_alone() -> None:
    msg = encode_trajectory(FACTORY, ["b"], [0.4], 1.0, 0, "x")
    assert not taken(msg)[0]
    controller = TrajectoryController(JOINTS, allow_partial_joints_goal=True)
    assert controller.take(msg, NOW_NS, np.array([0.3, 0.0]))
    assert controller.desired(NOW_NS + 2 * 10**9).tolist() == [0.3, 0.4]
    assert not taken(encode_trajectory(FACTORY, [], [], 1.0, 0, "x"), allow_partial_joints_goal=True)[0]


def test_a_velocity_that_is_rounding_is_no_motion_at_the_end() -> None:
    msg = trajectory()
    assign(velocities=[0.0, 1e-8])(msg)
    assert taken(msg)[0]


def test_a_trajectory_that_ends_in_the_past_is_rejected_and_one_that_began_there_is_a_hazard() -> None:
    assert taken(trajectory(NOW_NS - 3 * 10**9)) == (False, ["ends in the past"])
    assert taken(trajectory(NOW_NS - 10**9)) == (False, ["hazard: began in the past"])
    assert taken(trajectory(NOW_NS + 10**9)) == (True, [])


def test_it_is_followed_in_straight_lines_from_the_measured_joints_in_the_order_of_its_names() -> None:
    controller, msg = TrajectoryController(JOINTS), trajectory()
    msg.joint_names = ["b", "a"]
    assert controller.desired(NOW_NS) is None
    controller.take(msg, NOW_NS, np.array([0.0, 0.3]))
    assert controller.desired(NOW_NS).tolist() == [0.0, 0.3]
    assert controller.desired(NOW_NS + 5 * 10**8) == pytest.approx([0.1, 0.2])
    assert controller.desired(NOW_NS + 9 * 10**9).tolist() == [0.2, 0.1]


ROBOTS = {
    "Jaco, counted otherwise": other_counting,
    "Gen3": lambda folder: "gen3_6dof",
}


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS.keys())
def test_policy_and_safety_drive_the_controller_without_a_rejection(
    robot: Callable[[Path], str], tmp_path: Path
) -> None:
    """While it moves, while it is halted, and after a reset; the joints that are told to stand still do."""
    deployed = Deployed(tmp_path, robot(tmp_path))
    try:
        deployed.moving()
        deployed.graph.wait_for(lambda: deployed.graph.probe.call("safety/stop").success, "the stop")
        deployed.at_rest()
        deployed.moving()
        controller = deployed.robot.controller
        assert controller.accepted > 2 and not controller.rejections
        assert deployed.robot.q[1:] == pytest.approx(deployed.robot.home[1:], abs=1e-6)
    finally:
        deployed.close()
