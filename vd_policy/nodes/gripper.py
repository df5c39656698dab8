"""The gripper node: it closes the hand when the task says that the cup stands in it, or when an operator says so.

The arm's policy and expert know nothing of fingers: the paper's action is the six joints of the arm.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node

from vd_policy.arm.hand import hand_of
from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.control.hand import HAND_MOVING_S, Hand
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.outcome import decode_outcome
from vd_policy.messages.topics import GRIPPER_COMMAND, OUTCOME
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.diagnostics import OK, Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import LOSSLESS_DEPTH, RclpyFactory, advertise, run, serve, subscribe

WORDS = {False: "open", True: "closed"}


@dataclass(frozen=True)
class GripperSettings:
    """Parameters of the gripper node."""

    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    moving_s: float = setting(HAND_MOVING_S, "how long the hand may take to open or close [s]", minimum=0.01)
    lockstep: bool = setting(False, "commands carry the stamp of the outcome that they answer, an operator's too")


class GripperNode(Node):
    """Outcomes and two services in, finger angles out: one command an outcome, so that a lost one is made good."""

    def __init__(self) -> None:
        super().__init__("gripper", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, GripperSettings)
        self._joints = hand_of(load_robot(self.settings.robot))
        self._hand, self._stamp_ns = Hand(), 0
        self._factory, self._diagnostics = RclpyFactory(), Diagnostics(self)
        self._command = advertise(self, GRIPPER_COMMAND, depth=LOSSLESS_DEPTH)
        subscribe(self, OUTCOME, self._on_outcome)
        serve(self, "gripper/open", partial(self._order, False))
        serve(self, "gripper/close", partial(self._order, True))
        self._diagnostics.state(OK, "waiting for an outcome or an operator")

    def _on_outcome(self, msg: Any) -> None:
        try:
            outcome, stamp = decode_outcome(msg), stamp_ns(msg)
            if stamp < 0:
                raise BadInput("stamp [ns]", stamp, "0 or more", "check the task node's clock")
        except BadInput as error:
            self._diagnostics.counts["unreadable"] += 1
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        self._stamp_ns = stamp
        closed = self._hand.hear(outcome)
        if closed is not None:
            self._say(closed, stamp)

    def _order(self, closed: bool) -> str:
        """An operator's word."""
        self._hand.closed = closed
        self.get_logger().info(f"{WORDS[closed]}: an operator says so")
        stamp = self._stamp_ns if self.settings.lockstep else self.get_clock().now().nanoseconds
        self._say(closed, stamp)
        return f"{WORDS[closed]}, if the safety node lets it through"

    def _say(self, closed: bool, stamp: int) -> None:
        self._command.publish(encode_trajectory(self._factory, self._joints.names, self._joints.angles(closed),
                                                self.settings.moving_s, stamp,
                                                self.get_fully_qualified_name()))  # fmt: skip
        self._diagnostics.counts["commands"] += 1
        self._diagnostics.values["hand"] = WORDS[closed]
        self._diagnostics.state(OK, "commanding the hand")


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(GripperNode, args)


if __name__ == "__main__":
    sys.exit(main())
