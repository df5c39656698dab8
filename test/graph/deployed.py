"""The policy and safety nodes as on a robot, in front of the stand-in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_graph import NodeProcess, RosGraph
from stand_in import SPEC, StandIn
from trained import saved, turning_policy

from vd_policy.arm.spec import load_robot


class Deployed:
    """A policy that turns the first joint for ever, so that a halted arm can be told from a driven one.

    Each test begins with `moving`, which mends whatever the one before broke.
    """

    def __init__(self, folder: Path, robot: str = SPEC.name) -> None:
        self.graph = RosGraph()
        self.status = self.graph.probe.diagnostics()
        self._robot = robot
        self.robot = StandIn(self.graph.probe, spec=load_robot(robot))
        self._latch = str(folder / "latch.json")
        self._run = saved(folder / "run", turning_policy(robot))
        self.safety = self.start_safety()
        self.policy = self.start_policy()

    def start_safety(self) -> NodeProcess:
        self.safety = self.graph.start("safety", latch_file=self._latch, robot=self._robot)
        return self.safety

    def start_policy(self) -> NodeProcess:
        self.policy = self.graph.start("policy", run=self._run, robot=self._robot, frozen_motion_rad=0.01,
                                        rate_hz=20.0, hot_swap=True)  # fmt: skip
        return self.policy

    def wait(self, node: str, message: str, **values: Any) -> dict[str, str]:
        """The node's status once its message and values contain these."""
        return self.graph.wait_for(lambda: self.says(node, message, **values), f"{node} to say {message!r} {values}")

    def says(self, node: str, message: str, **values: Any) -> dict[str, str]:
        """The node's status if its message and values contain these."""
        status = self.status(node)
        there = message in status.get("message", "") and all(str(v) in status.get(k, "") for k, v in values.items())
        return status if there else {}

    def moving(self) -> None:
        """Wait until the policy drives the arm."""
        self.robot.heal()
        if not self.safety.running:
            self.start_safety()
        if not self.policy.running:
            self.start_policy()
        if self.says("safety", "stopped"):
            self.graph.wait_for(lambda: self.graph.probe.call("safety/reset").success, "the safety node to be reset")
        waits = partial(self.says, "safety", "s without a command")
        self.graph.wait_for(lambda: self.says("safety", "running: /policy") or waits(), "the safety node to be ready")
        if waits():
            self.begin_anew()
        self.wait("policy", "acting")
        self.wait("safety", "running: /policy")
        turned = self.robot.q[0]
        self.graph.wait_for(lambda: self.robot.q[0] > turned + 0.05, "the arm to be driven")

    def begin_anew(self) -> None:
        """Deactivate the policy and activate it again, with a pause between: after a reset it has to fall silent."""
        self._change(Transition.TRANSITION_DEACTIVATE)
        ticks = self.robot.ticks
        self.graph.wait_for(lambda: self.robot.ticks > ticks + 60, "more than the command_timeout_s to go by")
        self._change(Transition.TRANSITION_ACTIVATE)

    def _change(self, number: int) -> None:
        change = self.graph.probe.node.create_client(ChangeState, "policy/change_state")
        self.graph.wait_for(change.service_is_ready, "the policy's lifecycle")
        asked = change.call_async(ChangeState.Request(transition=Transition(id=number)))
        self.graph.wait_for(lambda: asked.done() and asked.result().success, f"transition {number}")

    def at_rest(self) -> None:
        """Wait until the arm stands where the controller was told last, and check that it stays there."""

        def still() -> bool:
            last = self.robot.driver.from_driver(np.array(self.robot.sent[-1].points[0].positions))
            return bool(np.abs(self.robot.q - last).max() < 1e-6)

        self.graph.wait_for(still, "the arm to stand still")
        held, ticks = self.robot.q, self.robot.ticks
        self.graph.wait_for(lambda: self.robot.ticks > ticks + 10, "the arm to live on")
        assert np.abs(self.robot.q - held).max() < 1e-6

    def close(self) -> None:
        self.robot.close()
        self.graph.close()
