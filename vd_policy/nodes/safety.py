"""The safety node: the only one that reaches the controller.

It passes commands on through `vd_policy.control.gate.Gate`, for the hand through `control.hand_gate.HandGate`, and
halts the arm when anything is amiss. Every command it sends is a single point, by the clock no farther than the arm
gets within `command_timeout_s`, so that even if this process dies the controller comes to rest as soon.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node

from vd_policy.arm.hand import hand_of
from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import RobotSpec, load_robot
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.settings import setting
from vd_policy.control.gate import Decision, Gate, GateSettings, State
from vd_policy.control.hand_gate import HandDecision, HandGate
from vd_policy.control.latch import LatchFile, default_path
from vd_policy.control.limits import Limits
from vd_policy.control.workspace import Workspace
from vd_policy.messages.driver import driver_of
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.topics import COMMAND, GRIPPER_COMMAND, GRIPPER_TRAJECTORY, JOINT_STATES, TRAJECTORY
from vd_policy.messages.trajectory import answering, decode_trajectory, encode_trajectory
from vd_policy.nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import RclpyFactory, advertise, deliver, run, sequence_of, serve, steady_timer, subscribe
from vd_policy.nodes.surroundings import Surroundings

REMEMBER_AGAIN_S = 1.0
"""How long after a stop that could not be written down that is tried again."""
LEVELS = {State.RUNNING: OK, State.WAITING: WARN, State.HOLDING: WARN, State.STOPPED: ERROR}


@dataclass(frozen=True)
class SafetySettings(GateSettings):
    """Parameters of the safety node."""

    robot: str = setting("j2n6s300", "robot file: a name in config/robots, or a path")
    max_step_rad: float = setting(math.pi / 5, "largest change of a joint in one command [rad]", minimum=1e-6)
    workspace: bool = setting(
        True, "keep the end effector inside the robot file's workspace_m; in lockstep the task judges contact instead"
    )
    gripper: bool = setting(False, "pass commands for the fingers on too, between the open and the closed hand")
    latch_file: str = setting(
        "", "where a stop is remembered over a restart; empty: the user's state directory, in lockstep nowhere"
    )
    watchdog_hz: float = setting(50.0, "how often time-outs are looked at [Hz]", minimum=1)


def limits_of(spec: RobotSpec, settings: SafetySettings) -> Limits:
    """The limits that the robot file and the parameters give together.

    In lockstep an episode must come out as it does in-process, contacts with the table included.
    """
    boxed = settings.workspace and not settings.lockstep
    workspace = Workspace(spec.workspace_m, Kinematics(spec).forward_batch) if boxed else None
    return Limits(spec.joints, spec.lower_rad, spec.upper_rad, spec.speed_limit_rad_s, settings.max_step_rad,
                  workspace)  # fmt: skip


class SafetyNode(Node):
    """Topics, services and a watchdog around one `Gate`."""

    def __init__(self) -> None:
        super().__init__("safety", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, SafetySettings)
        self._spec = load_robot(self.settings.robot)
        self._latch = self._latch_file()
        latched = self._latch.read() if self._latch else ""
        self._gate = Gate(self.settings, limits_of(self._spec, self.settings), latched)
        self._remembered, self._remember_again_s = bool(latched), -math.inf
        if self._latch:
            self._latch.check_writable()
        if latched:
            where = f", or remove {self._latch.path} while no node runs" if self._latch else ""
            self.get_logger().error(f"stopped since an earlier run: {latched}; to release the arm "
                                    f"call safety/reset{where}")  # fmt: skip
        self._driver = driver_of(self._spec, lockstep=self.settings.lockstep)
        self._reader = self._driver.reader()
        self._factory = RclpyFactory()
        self._diagnostics = Diagnostics(self)
        self._controller = advertise(self, TRAJECTORY)
        self._hand = self._hand_gate() if self.settings.gripper else None
        self._surroundings = Surroundings(self, self._diagnostics, self._controller, hand=self.settings.gripper)
        self._joints = subscribe(self, JOINT_STATES, self._on_joints)
        subscribe(self, COMMAND, self._on_command)
        serve(self, "safety/stop", self._stop)
        serve(self, "safety/reset", self._reset)
        steady_timer(self, 1.0 / self.settings.watchdog_hz, self._watch)
        steady_timer(self, 1.0, self._look_around)

    def _latch_file(self) -> LatchFile | None:
        if self.settings.latch_file:
            return LatchFile(Path(self.settings.latch_file))
        if self.settings.lockstep:
            return None
        name = self.get_fully_qualified_name().strip("/").replace("/", "-")
        return LatchFile(default_path(self._spec.name, name))

    def _hand_gate(self) -> HandGate:
        gate = HandGate(self._gate, hand_of(self._spec))
        self._hand_controller = advertise(self, GRIPPER_TRAJECTORY)
        subscribe(self, GRIPPER_COMMAND, partial(self._on_hand_command, gate))
        return gate

    def _clock_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_joints(self, msg: Any) -> None:
        now_s = time.monotonic()
        publishers = self._joints.get_publisher_count()
        if publishers > 1:  # two stories of where the arm is: neither is believed
            self._carry_out(self._gate.bad_joints(f"{publishers} publishers of {JOINT_STATES}, allowed: one", now_s))
            return
        try:
            q = self._reader.read(msg)
        except BadInput as error:
            self._carry_out(self._gate.bad_joints(str(error), now_s))
            return
        self._carry_out(self._gate.on_joints(q, stamp_ns(msg), now_s, self._clock_ns()))

    def _on_command(self, msg: Any, info: dict[str, Any]) -> None:
        now_s = time.monotonic()
        try:
            command = decode_trajectory(msg, self._spec.joints)
        except BadInput as error:
            reason = f"command of {msg.header.frame_id or '(unnamed)'} refused: {error}"
            self._carry_out(self._gate.refuse_command(reason, now_s))
            return
        self._carry_out(self._gate.on_command(command, now_s, self._clock_ns(), sequence_of(info)))

    def _on_hand_command(self, hand: HandGate, msg: Any, info: dict[str, Any]) -> None:
        now_s = time.monotonic()
        try:
            command = decode_trajectory(msg, hand.joints.names)
        except BadInput as error:
            decision = hand.refuse_command(f"command of {msg.header.frame_id or '(unnamed)'} refused: {error}")
        else:
            decision = hand.on_command(command, now_s, self._clock_ns(), sequence_of(info))
        self._carry_out_hand(hand, decision, now_s)

    def _carry_out_hand(self, hand: HandGate, decision: HandDecision, now_s: float) -> None:
        """Stop or hold the arm first, then move the hand."""
        if decision.stop:
            self._carry_out(self._gate.stop(decision.stop, now_s))
        if decision.refused:
            self._refused(decision.refused)
        if decision.target is None:
            return
        if decision.moves:
            self._carry_out(self._gate.stand_still(decision.duration_s, now_s))
        stamp = decision.stamp_ns if self.settings.lockstep else 0
        self._hand_controller.publish(encode_trajectory(self._factory, hand.joints.names, decision.target,
                                                        decision.duration_s, stamp,
                                                        self.get_fully_qualified_name()))  # fmt: skip

    def _watch(self) -> None:
        self._carry_out(self._gate.tick(time.monotonic()))

    def _carry_out(self, decision: Decision) -> None:
        """Send first, then remember and tell."""
        if decision.target is not None:
            stamp, sender = decision.stamp_ns, self.get_fully_qualified_name()
            if not self.settings.lockstep:
                stamp, sender = 0, answering(sender, decision.stamp_ns)
            self._controller.publish(encode_trajectory(self._factory, self._driver.names,
                                                       self._driver.to_driver(decision.target),
                                                       decision.duration_s, stamp, sender))  # fmt: skip
        if decision.state is State.STOPPED and not self._remembered:
            self._remember(decision.reason)
        if decision.refused:
            self._refused(decision.refused)
        self._report(decision)

    def _refused(self, reason: str) -> None:
        self.get_logger().warning(reason, throttle_duration_sec=1.0)
        self._diagnostics.values["last_refusal"] = reason

    def _remember(self, reason: str) -> None:
        """Write the stop down; where that fails it is tried again, at most once a second."""
        now_s = time.monotonic()
        if now_s < self._remember_again_s:
            return
        try:
            if self._latch:
                self._latch.write(reason)
            self._remembered = True
        except VdPolicyError as error:
            self._remember_again_s = now_s + REMEMBER_AGAIN_S
            self.get_logger().error(f"stopped, but a restart would forget it: {error}")
            self._diagnostics.counts["latch_write_errors"] += 1

    def _report(self, decision: Decision) -> None:
        level, message = LEVELS[decision.state], f"{decision.state.value}: {decision.reason}"
        if self._diagnostics.is_news(level, message):
            self._show_figures()
        self._diagnostics.state(level, message)

    def _show_figures(self) -> None:
        gate, now_s = self._gate, time.monotonic()
        values = self._diagnostics.values
        values["cpu_s"] = f"{time.process_time():.3f}"
        values |= {"state": gate.state.value, "commander": gate.commanders.owner, "passed": gate.passed,
                   "contending": " ".join(gate.commanders.contending(now_s)),
                   "joints_age_s": f"{gate.measured_age_s(now_s, self._clock_ns()):.3f}",
                   "relocations": gate.filter.relocations,
                   "clamped_in_a_row": gate.clamped_in_a_row}  # fmt: skip
        for prefix, counts in (("clamped", gate.clamps), ("hold", gate.holds), ("refused", gate.refusals),
                               ("refused sender", gate.commanders.refused),
                               ("rejected", gate.filter.rejected)):  # fmt: skip
            values |= {f"{prefix} {key}": count for key, count in counts.items()}
        if self._hand is not None:
            values["hand passed"] = self._hand.passed
            for prefix, counts in (("hand clamped", self._hand.clamps), ("hand refused", self._hand.refusals)):
                values |= {f"{prefix} {key}": count for key, count in counts.items()}

    def _look_around(self) -> None:
        """Show the figures, and what is amiss around this node."""
        self._show_figures()
        q = self._gate.q
        self._surroundings.look(() if q is None else self._gate.limits.outside(q))

    def close(self) -> None:
        """Leave the arm at rest."""
        decision = self._gate.halt("the safety node ends", time.monotonic())
        self._carry_out(decision)
        if decision.target is not None:  # a publisher that goes at once takes one hold in fifteen with it
            deliver(self._controller)

    def _stop(self) -> str:
        self._carry_out(self._gate.stop("safety/stop was called", time.monotonic()))
        said = [f"stopped: {self._gate.reason}"]
        if not self._controller.get_subscription_count():
            said.append(f"NO CONTROLLER listens on {self._controller.topic_name}")
        if self._latch and not self._remembered:
            said.append(f"NOT REMEMBERED over a restart: {self._latch.path} cannot be written")
        return "; ".join(said)

    def _reset(self) -> str:
        if self._gate.state is not State.STOPPED:
            return "not stopped"
        now_s = time.monotonic()
        if not self._gate.trusts_joints(now_s):
            age_s = self._gate.measured_age_s(now_s, self._clock_ns())
            known = f"last good ones {age_s:.2f} s ago" if math.isfinite(age_s) else "none that are good"
            why = self._diagnostics.values.get("last_refusal", "")
            raise BadInput("joint states", known + (f"; last refusal: {why}" if why else ""),
                           "fresh joint states, which say where the arm is", "look at the robot driver")  # fmt: skip
        if self._latch:
            self._latch.clear()  # first: if this fails, the stop stays
        self._remembered = False
        self._carry_out(decision := self._gate.reset(time.monotonic()))
        if decision.state is State.STOPPED:  # remembered again; its joint states became stale since they were looked at
            raise VdPolicyError(f"still stopped: {decision.refused}; call safety/reset again")
        if self._gate.persisting(time.monotonic()):
            return (f"released; the arm holds: commands came on through the stop, and are refused until there was none "
                    f"for {self.settings.command_timeout_s} s; deactivate their sender, and activate it "
                    "again")  # fmt: skip
        return "released; the arm holds where it is until a command comes"


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(SafetyNode, args)


if __name__ == "__main__":
    sys.exit(main())
