"""The standstill node: when an arm was last commanded and last moved, as somebody beside the robot sees it.

It says when the arm is being driven and ends when it has stood for a while; ``vd_policy.experiments.bench_kill`` kills
whoever drives it in between. Times are `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.files import write_json
from vd_policy.base.settings import setting
from vd_policy.messages.driver import driver_of
from vd_policy.messages.topics import COMMAND, JOINT_STATES
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import Finished, run, steady_timer, subscribe

STILL_RAD = 1e-4
"""A joint that changes by less from one sample to the next stands."""
DRIVEN_RAD = 0.05
"""An arm that has come so far since it was first seen is being driven."""


@dataclass(frozen=True)
class StandstillSettings:
    """Parameters of the standstill node."""

    out: str = setting("", "JSON file: written when the arm is driven, and again when it stands")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    still_s: float = setting(2.0, "the arm stands when it has neither moved nor been commanded for so long [s]",
                             minimum=0.1)  # fmt: skip


@dataclass
class Seen:
    """What happened when, by `time.monotonic`."""

    last_command_s: float = 0.0
    last_motion_s: float = 0.0


class StandstillNode(Node):
    """Listens to joint states and commands."""

    def __init__(self) -> None:
        super().__init__("standstill", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, StandstillSettings)
        if not self.settings.out:
            raise BadInput("out", "", "a file name", "set the parameter out")
        robot = load_robot(self.settings.robot)
        self._reader = driver_of(robot, lockstep=False).reader()
        self._first: np.ndarray | None = None
        self._q: np.ndarray | None = None
        self._driven = False
        self._seen = Seen()
        subscribe(self, JOINT_STATES, self._on_joints)
        subscribe(self, COMMAND, self._on_command)
        steady_timer(self, 0.05, self._look)

    def _on_joints(self, msg: Any) -> None:
        try:
            q = self._reader.read(msg)
        except BadInput:
            return  # the safety node says so
        if self._q is not None and np.abs(q - self._q).max() > STILL_RAD:
            self._seen.last_motion_s = time.monotonic()
        self._first = q if self._first is None else self._first
        self._q = q
        if not self._driven and self._seen.last_command_s and np.abs(q - self._first).max() > DRIVEN_RAD:
            self._driven = True
            self._write()

    def _on_command(self, _msg: Any) -> None:
        self._seen.last_command_s = time.monotonic()

    def _look(self) -> None:
        last_s = max(self._seen.last_command_s, self._seen.last_motion_s)
        if self._driven and time.monotonic() - last_s > self.settings.still_s:
            self._write()
            raise Finished

    def _write(self) -> None:
        write_json(Path(self.settings.out), asdict(self._seen))


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(StandstillNode, args)


if __name__ == "__main__":
    sys.exit(main())
