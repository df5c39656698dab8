"""The sim node: `ArmEnv` behind the topics of a robot, its camera and its task."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import MAX_SEED
from vd_policy.base.settings import setting
from vd_policy.graph.options import MODES, MOTIONS
from vd_policy.messages.driver import driver_of
from vd_policy.messages.topics import GRIPPER_TRAJECTORY, TRAJECTORY
from vd_policy.messages.trajectory import JointTarget, decode_trajectory
from vd_policy.nodes.diagnostics import OK, Diagnostics
from vd_policy.nodes.lockstep import Lockstep
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.realtime import RealTime
from vd_policy.nodes.ros import Finished, run, serve, steady_timer, subscribe
from vd_policy.nodes.senses import Senses
from vd_policy.sim.env import ArmEnv


@dataclass(frozen=True)
class SimSettings:
    """Parameters of the sim node."""

    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    image_height: int = setting(0, "image height [pixels]; 0: the task's", minimum=0, maximum=4096)
    image_width: int = setting(0, "image width [pixels]; 0: the task's", minimum=0, maximum=4096)
    motion: str = setting("kinematic", "in lockstep: teleported with collision checks, or position control at the speed"
                          " limits", choices=MOTIONS)  # fmt: skip
    seed: int = setting(0, "fixes every episode", minimum=0, maximum=MAX_SEED)
    mode: str = setting("lockstep", "one step per command, or by the clock", choices=MODES)
    end_on_contact: bool | None = setting(None, "end an episode at a contact; unset: as the task says")
    auto_reset: bool = setting(True, "begin the next episode when one is over; otherwise wait for sim/reset")
    episodes: int = setting(0, "end after so many finished episodes; 0 = never", minimum=0)
    republish_s: float = setting(0.5, "lockstep: repeat an unanswered observation [s]", minimum=0.01)
    publish_clock: bool = setting(True, "lockstep: publish simulated time on /clock")
    joint_rate_hz: float = setting(50.0, "real time: joint states per second", minimum=1.0, maximum=1000.0)
    frame_rate_hz: float = setting(30.0, "real time: images per second", minimum=0.1, maximum=200.0)


class SimNode(Node):
    """Topics and the reset service around `Lockstep` or `RealTime`."""

    def __init__(self) -> None:
        super().__init__("sim", automatically_declare_parameters_from_overrides=True)
        self.settings = s = declare(self, SimSettings)
        overrides = {} if s.end_on_contact is None else {"end_on_contact": s.end_on_contact}
        self._env = ArmEnv(s.task, s.robot, image_height=s.image_height or None, image_width=s.image_width or None,
                           motion=s.motion, overrides=overrides)  # fmt: skip
        robot, lockstep = self._env.robot, s.mode == "lockstep"
        self._driver = driver_of(robot, lockstep=lockstep)
        self._senses = Senses(self, self._env, self._driver, lossless=lockstep)
        self._diagnostics = Diagnostics(self)
        self._drive = (LockstepDrive if lockstep else RealTimeDrive)(self, self._env, self._senses, s)
        subscribe(self, TRAJECTORY, self._on_trajectory)
        if self._env.grips and isinstance(self._drive, RealTimeDrive):  # in lockstep the judgement closes the hand
            subscribe(self, GRIPPER_TRAJECTORY, partial(self._on_gripper_trajectory, self._drive))
        serve(self, "sim/reset", self._drive.reset)
        self._diagnostics.state(OK, f"{s.task} in {s.mode}")

    def _on_trajectory(self, msg: Any) -> None:
        target = self._decoded(msg, self._driver.names)
        if target is None:
            return
        if not self._drive.take(replace(target, positions=self._driver.from_driver(target.positions))):
            self.count("dropped")

    def _on_gripper_trajectory(self, drive: RealTimeDrive, msg: Any) -> None:
        target = self._decoded(msg, self._env.robot.finger_joints)
        if target is not None and not drive.grip(target):
            self.count("gripper_dropped")

    def _decoded(self, msg: Any, joints: Sequence[str]) -> JointTarget | None:
        """The target for these joints; None, and counted, where it cannot be used."""
        try:
            target = decode_trajectory(msg, joints)
            if not np.isfinite(target.positions).all():
                raise BadInput("trajectory positions", target.positions.tolist(), "finite numbers", "check its sender")
        except BadInput as error:
            self.count("refused")
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return None
        return target

    def count(self, name: str) -> None:
        self._diagnostics.counts[name] += 1

    def finished_one(self) -> None:
        """Count a finished episode; ends the node after the last one asked for."""
        self.count("episodes")
        if self._diagnostics.counts["episodes"] == self.settings.episodes:
            self._senses.flush()
            raise Finished

    def close(self) -> None:
        self._env.close()


class LockstepDrive:
    """Each command that answers the current observation moves the world on by one decision period."""

    def __init__(self, node: SimNode, env: ArmEnv, senses: Senses, settings: SimSettings) -> None:
        self._node, self._senses, self._settings = node, senses, settings
        self._world = Lockstep(env, settings.seed)
        self._told_s = 0.0
        steady_timer(node, settings.republish_s / 5, self._repeat)

    def take(self, target: JointTarget) -> bool:
        moment = self._world.execute(target)
        if moment is None:
            return False
        self._node.count("steps")
        self._tell()
        if moment.outcome.last:
            self._node.finished_one()
            if self._settings.auto_reset:
                self._world.begin()
                self._tell()
        return True

    def reset(self) -> str:
        done = self._world.reset()
        self._tell()
        number = self._world.moment.outcome.episode
        return f"episode {number} begins" if done else f"episode {number} has just begun"

    def _tell(self) -> None:
        moment = self._world.moment
        if self._settings.publish_clock:
            self._senses.clock(moment.stamp_ns)
        self._senses.all(moment)
        self._told_s = time.monotonic()

    def _repeat(self) -> None:
        """A late joiner or a lost image must not stop the graph."""
        if time.monotonic() - self._told_s >= self._settings.republish_s:
            self._node.count("repeats")
            self._tell()


class RealTimeDrive:
    """The clock moves the world; commands only change where it is heading."""

    def __init__(self, node: SimNode, env: ArmEnv, senses: Senses, settings: SimSettings) -> None:
        self._node, self._senses, self._settings = node, senses, settings
        self._world = RealTime(env, settings.seed)
        self._moved_s = time.monotonic()
        steady_timer(node, 1.0 / settings.joint_rate_hz, self._joints)
        steady_timer(node, 1.0 / settings.frame_rate_hz, self._frame)
        steady_timer(node, env.settings.period_s, self._decide)

    def take(self, target: JointTarget) -> bool:
        self._move()
        return self._world.follow(target.positions)

    def grip(self, target: JointTarget) -> bool:
        self._move()
        return self._world.grip(target.positions)

    def reset(self) -> str:
        return "driving home, then the next episode begins" if self._world.reset() else "already driving home"

    def _move(self) -> None:
        now_s = time.monotonic()
        self._world.advance(now_s - self._moved_s)
        self._moved_s = now_s

    def _joints(self) -> None:
        self._move()
        self._senses.joints(self._world.q, self._now_ns(), self._world.fingers_rad)

    def _frame(self) -> None:
        self._move()
        self._senses.images(self._world.picture(), self._now_ns())

    def _decide(self) -> None:
        """Every decision period: the observation that the policy answers, and what the task says of it."""
        self._move()
        if self._world.outcome.last:
            return
        moment = self._world.judge(self._now_ns())
        if moment is None:
            return
        self._node.count("steps")
        self._senses.all(moment, self._world.fingers_rad)
        if moment.outcome.last:
            self._node.finished_one()
            if self._settings.auto_reset:
                self._world.reset()

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(SimNode, args)


if __name__ == "__main__":
    sys.exit(main())
