"""The safety gate: a state machine between whoever commands and the controller.

``waiting`` (no trusted joints yet) -> ``holding`` (at the measured position) <-> ``running`` (passing commands on)
-> ``stopped`` (latched until a reset). Everything is refused that is not provably fine, and every refusal, clamp and
hold is counted under a name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from vd_policy.base.settings import setting
from vd_policy.control.commanders import Commanders
from vd_policy.control.freshness import Freshness, StampGuard
from vd_policy.control.joint_filter import JointFilter
from vd_policy.control.limits import Limits, nearest_turn

HELD_RAD = 0.1
"""An arm that stands farther than this from where it is held was moved by somebody: it is held where it stands now."""
ASKED_RAD, MOVED_RAD = 0.1, 0.01
"""A command that asks a joint for more than the first is one to move; an arm that follows moves by more than the
second."""
LONGEST_S = 600.0
"""The longest `time_from_start` of a command."""


class State(StrEnum):
    """What the gate does with a command."""

    WAITING = "waiting"
    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"


@dataclass(frozen=True)
class GateSettings:
    """When the gate holds and when it latches."""

    command_timeout_s: float = setting(0.5, "hold when no command came for this long", minimum=0.01)
    command_age_s: float = setting(0.5, "refuse a command whose observation is older than this; 0: any age", minimum=0)
    joints_timeout_s: float = setting(0.25, "joint states older than this are stale: hold", minimum=0.01)
    joints_age_s: float = setting(
        0.5, "refuse joint states measured longer ago than this, by their stamp; 0: any age", minimum=0
    )
    joints_fresh: int = setting(3, "joint samples in a row before a stale arm is trusted again", minimum=1)
    hold_period_s: float = setting(0.5, "repeat the held position this often; 0: command it once", minimum=0)
    hold_duration_s: float = setting(0.5, "time_from_start of a held position", minimum=0.01)
    clamps_to_latch: int = setting(
        20, "clamped commands in a row that latch the stop; 0, and in lockstep: never", minimum=0
    )
    follow_timeout_s: float = setting(
        2.0, "latch the stop when the arm has not moved for so long although it was told to; 0: never", minimum=0
    )
    future_s: float = setting(0.1, "stamps may run ahead of this node's clock by this much", minimum=0)
    lockstep: bool = setting(False, "the simulator waits for each command: no time-outs, stamps are passed through")


class Command(Protocol):
    """What `messages.trajectory.decode_trajectory` returns."""

    @property
    def positions(self) -> np.ndarray: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def stamp_ns(self) -> int: ...
    @property
    def sender(self) -> str: ...


@dataclass(frozen=True)
class Decision:
    """What to send to the controller now, if anything, and why."""

    target: np.ndarray | None
    """(J,) [rad], or None: send nothing."""
    state: State
    reason: str
    """Why the gate is in this state."""
    duration_s: float = 0.0
    stamp_ns: int = 0
    """The command's stamp; 0 for a held position."""
    refused: str = ""
    """Why the input that led here was not used."""


class Gate:
    """Decides, one input at a time, what the controller gets.

    Args:
        settings, limits: what is allowed. The workspace is checked through `limits`, which knows the kinematics.
        latched: a reason the gate was stopped for before this process began; it starts stopped.

    Times: `now_s` is monotonic and drives every time-out; `clock_ns` is the ROS clock and is only compared with
    stamps (None: do not compare).
    """

    def __init__(self, settings: GateSettings, limits: Limits, latched: str = "") -> None:
        self.settings, self.limits = settings, limits
        self.state = State.STOPPED if latched else State.WAITING
        self.reason = latched or "waiting for joint states"
        self.commanders = Commanders(settings.command_timeout_s)
        self.filter = JointFilter(limits.names, limits.speed, limits.continuous)
        self.joints = Freshness(settings.joints_timeout_s, settings.joints_fresh)
        self.clamps: Counter[str] = Counter()
        self.holds: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.passed = 0
        self.clamped_in_a_row = 0
        self.q: np.ndarray | None = None
        self._q_stamp_ns = 0
        self._held: np.ndarray | None = None
        self._held_s = -float("inf")
        self._blind = False
        self._strays = False
        self._pending: Command | None = None
        self._joint_stamps = StampGuard(settings.future_s)
        self._command_stamps = StampGuard(settings.future_s)
        self._commanded_s = self._still_until_s = self._asked_s = -float("inf")
        self._wants_silence = False
        self._stood_at: tuple[np.ndarray, float] | None = None

    def on_joints(self, q: np.ndarray, stamp_ns: int, now_s: float, clock_ns: int | None = None) -> Decision:
        """A joint sample q [rad], (J,)."""
        wrong = self._joint_stamps.check(stamp_ns, None if self.settings.lockstep else clock_ns)
        if wrong and self.settings.lockstep and stamp_ns > 0:
            self._forget_joints()
        elif wrong:
            decision = self.bad_joints(f"joint states: {wrong}", now_s)
            self._forget_joints()
            return decision
        if self.settings.lockstep:  # a simulator's reset moves the arm at once, and its time is not ours
            self.filter.reset()
        elif stamp_ns == self._q_stamp_ns:  # the last measurement once more says nothing of where the arm is now
            self.refusals["joint states repeated"] += 1
            return self._answer(now_s)
        elif old := self._too_old(stamp_ns, clock_ns):
            return self.bad_joints(f"joint states: {old}", now_s)
        relocations = self.filter.relocations
        rejected = self.filter.check(q, stamp_ns / 1e9)
        if rejected:
            self._strays |= self.state is State.RUNNING
            return self._answer(now_s, refused=f"joint states: {rejected}")
        self.q, self._q_stamp_ns = q, stamp_ns
        self.joints.seen(now_s)
        was_driven, self._strays = self._strays or self.state is State.RUNNING, False
        if self.filter.relocations > relocations and was_driven:
            return self.stop("the arm stands where it cannot have moved to", now_s)
        return self._with_joints(now_s)

    def bad_joints(self, reason: str, now_s: float) -> Decision:
        """A joint message that cannot be read (a joint missing or named twice, a stamp that cannot be): hold."""
        self.refusals["joint states"] += 1
        self._lose_joints("joint states refused", reason, now_s)
        self.joints.reset()
        self._pending = None
        return self._answer(now_s, refused=reason)

    def on_command(self, command: Command, now_s: float, clock_ns: int | None = None,
                   sequence: int | None = None) -> Decision:  # fmt: skip
        """A command of one sender, for all joints in order; `sequence` as in `Commanders.admit`."""
        silent_s, self._asked_s = now_s - self._asked_s, now_s
        if self.state is State.STOPPED:
            return self._refuse("stopped", f"stopped: {self.reason}", now_s)
        if self._wants_silence and silent_s <= self.settings.command_timeout_s:
            wrong = (f"command of {command.sender} refused: it came on through the stop; a reset waits for "
                     f"{self.settings.command_timeout_s} s without a command")  # fmt: skip
            return self._refuse("commanded through a stop", wrong, now_s)
        self._wants_silence = False
        owner = self.commanders.owner
        wrong = self.commanders.admit(command.sender, now_s, sequence)
        if wrong:
            return self._refuse("second commander", wrong, now_s)
        if command.sender != owner:
            self._command_stamps = StampGuard(self.settings.future_s)
        if not np.isfinite(command.positions).all():
            return self.stop(f"{command.sender} commanded NaN or Inf", now_s)
        wrong = self.unusable(command, self._command_stamps, len(self.limits.names), clock_ns)
        if wrong:
            return self._refuse("unusable", f"command of {command.sender} refused: {wrong}", now_s)
        if now_s < self._still_until_s:
            return self._refuse("hand moves", f"command of {command.sender} refused: the hand moves", now_s)
        if self.settings.lockstep and command.stamp_ns > self._q_stamp_ns:
            self._pending = command  # it overtook the joint states it answers
            return self._answer(now_s)
        return self._pass_on(command, now_s, clock_ns)

    def refuse_command(self, reason: str, now_s: float) -> Decision:
        """A command message that cannot be read (other joints, another length, no point)."""
        return self._refuse("unreadable", reason, now_s)

    def tick(self, now_s: float) -> Decision:
        """Time went by; called by a monotonic timer, several times per time-out."""
        if not self.settings.lockstep:
            if self.state in (State.RUNNING, State.HOLDING) and not self.joints.ok(now_s):
                if not self._blind:
                    why = f"no joint states for {self.settings.joints_timeout_s} s"
                    self._lose_joints("joint states stale", why, now_s)
            elif self.state is State.RUNNING and now_s - self._commanded_s > self.settings.command_timeout_s:
                silent = self.commanders.owner
                why = f"no command of {silent} for {self.settings.command_timeout_s} s"
                self._hold("commands stopped", why, now_s)
        return self._answer(now_s)

    def halt(self, reason: str, now_s: float) -> Decision:
        """Hold without latching, for example because this process is about to end."""
        if self.state is State.RUNNING:
            self._hold("halted", reason, now_s)
        return self._answer(now_s)

    def stand_still(self, seconds: float, now_s: float) -> Decision:
        """Hold while the hand moves: no command is passed on for so long. In lockstep nothing is timed."""
        if not self.settings.lockstep:
            self._still_until_s = now_s + seconds
            if self.state is State.RUNNING:
                self._hold("hand moves", "the hand moves", now_s)
        return self._answer(now_s)

    def stop(self, reason: str, now_s: float) -> Decision:
        """Hold and latch: nothing moves until `reset`. A second stop keeps the first reason."""
        if self.state is not State.STOPPED:
            self.holds["stopped"] += 1
            is_known = self.state is State.RUNNING or self.trusts_joints(now_s)
            self.state, self.reason = State.STOPPED, reason
            self._take_hold(now_s)
            if not is_known:  # somebody may have moved it since: it is held where it stands, once that is known
                self._held = None
        return self._answer(now_s)

    def reset(self, now_s: float) -> Decision:
        """End a stop on purpose: the target becomes where the arm is now. Refused while the joints are not trusted.

        Whoever commanded on through the stop has to fall silent first: a reset by itself moves no arm.
        """
        if self.state is not State.STOPPED:
            return self._answer(now_s)
        if not self.trusts_joints(now_s):
            return self._answer(now_s, refused="no fresh joint states; the arm's position is unknown")
        self.clamped_in_a_row = 0
        self.commanders.release()
        self._wants_silence = not self.settings.lockstep
        silence = f"{self.settings.command_timeout_s} s without a command"
        waits = self._wants_silence and self.persisting(now_s)
        self._hold("reset", f"reset; waiting for {silence if waits else 'a command'}", now_s)
        return self._answer(now_s)

    def persisting(self, now_s: float) -> bool:
        """Whether somebody commands now, be it in vain."""
        return now_s - self._asked_s <= self.settings.command_timeout_s

    def measured_age_s(self, now_s: float, clock_ns: int | None = None) -> float:
        """How long ago the arm was where it is taken to be: since its measurement, or its receipt if that is longer."""
        return max(self.joints.age_s(now_s), _age_s(self._q_stamp_ns, clock_ns))

    def trusts_joints(self, now_s: float) -> bool:
        """The measured position may be relied on."""
        return self.q is not None and (self.settings.lockstep or self.joints.ok(now_s))

    def _with_joints(self, now_s: float) -> Decision:
        if self.trusts_joints(now_s):
            if self.state is State.STOPPED and self._held is None:
                self._take_hold(now_s)
            self._see_joints(now_s)
        pending = self._pending
        if pending is not None and pending.stamp_ns <= self._q_stamp_ns:
            self._pending = None
            if self.state is not State.STOPPED:
                return self._pass_on(pending, now_s)
        return self._answer(now_s)

    def _see_joints(self, now_s: float) -> None:
        """The joints are trusted: for the first time, again, or still."""
        if self.state is State.WAITING:
            self._hold("start", "waiting for a command", now_s)
        elif self.state is State.HOLDING and self._blind:
            self._hold("joint states back", "joint states are back; waiting for a command", now_s)
        self._blind = False

    def _lose_joints(self, kind: str, reason: str, now_s: float) -> None:
        """Where the arm is is not known any more."""
        if self.state is State.RUNNING:
            self._hold(kind, reason, now_s)
        elif self.state is not State.STOPPED:
            self.holds[kind] += self.state is State.HOLDING and not self._blind
            self.reason = reason
        self._blind = True

    def _too_old(self, stamp_ns: int, clock_ns: int | None) -> str:
        """Why joint states of this stamp say nothing of where the arm is now, or ``""``."""
        age_s, allowed_s = _age_s(stamp_ns, clock_ns), self.settings.joints_age_s
        return f"measured {age_s:.3f} s ago" if allowed_s and age_s > allowed_s else ""

    def _pass_on(self, command: Command, now_s: float, clock_ns: int | None = None) -> Decision:
        if self.q is None or not self.trusts_joints(now_s):
            return self._refuse("joints not fresh", "command refused: no fresh joint states", now_s)
        if not self.settings.lockstep and (old := self._too_old(self._q_stamp_ns, clock_ns)):
            return self._refuse("joints not fresh", f"command refused: the arm was {old}", now_s)
        if self.settings.lockstep and command.stamp_ns < self._q_stamp_ns:
            return self._refuse("late", "command refused: it answers an observation that is over", now_s)
        clamped = self.limits.clamp(command.positions, self.q, command.duration_s)
        self.clamps.update(clamped.reasons)
        self.clamped_in_a_row = self.clamped_in_a_row + 1 if clamped.reasons else 0
        if not self.settings.lockstep and self.clamped_in_a_row >= (self.settings.clamps_to_latch or np.inf):
            return self.stop(f"{self.clamped_in_a_row} clamped commands in a row, the last by "
                             f"{', '.join(clamped.reasons)}", now_s)  # fmt: skip
        if self._ignores(clamped.q, self.q, now_s):
            return self.stop(f"the arm has not moved for {self.settings.follow_timeout_s:g} s although "
                             f"{command.sender} told it to; does its controller run?", now_s)  # fmt: skip
        self.state, self.reason = State.RUNNING, f"{command.sender} commands"
        self.passed += 1
        self._commanded_s = now_s
        duration_s = command.duration_s
        if not self.settings.lockstep:
            duration_s = max(duration_s, self.limits.least_s(clamped.q, self.q) + self.measured_age_s(now_s, clock_ns))
        target, duration_s = self._begun(clamped.q, self.q, duration_s)
        return Decision(target, self.state, self.reason, duration_s, command.stamp_ns)

    def _ignores(self, target: np.ndarray, q: np.ndarray, now_s: float) -> bool:
        """Whether the arm has stood for too long where it is not to stand: once released it would start by itself."""
        allowed_s = self.settings.follow_timeout_s
        if self.settings.lockstep or not allowed_s or np.abs(target - q).max() <= ASKED_RAD:
            self._stood_at = None
            return False
        if self._stood_at is None or np.abs(q - self._stood_at[0]).max() > MOVED_RAD:
            self._stood_at = (q, now_s)
        return now_s - self._stood_at[1] > allowed_s

    def _begun(self, target: np.ndarray, q: np.ndarray, duration_s: float) -> tuple[np.ndarray, float]:
        """As much of a way as is gone before the next command is due, by when this gate would hold.

        The line and its speed are the same, and an arm that nobody guards any more stops there.
        """
        longest_s = self.settings.command_timeout_s
        if self.settings.lockstep or duration_s <= longest_s:
            return target, duration_s
        return q + (target - q) * (longest_s / duration_s), longest_s

    def unusable(self, command: Command, stamps: StampGuard, joints: int, clock_ns: int | None) -> str:
        """Why a command for so many joints may not be used now, or ``""``; `stamps` has seen those before it."""
        if len(command.positions) != joints:
            return f"{len(command.positions)} positions for {joints} joints"
        if not 0 < command.duration_s <= LONGEST_S:
            return f"time_from_start is {command.duration_s} s; allowed: above 0, at most {LONGEST_S:g} s"
        wrong = stamps.check(command.stamp_ns, None if self.settings.lockstep else clock_ns)
        if wrong:
            return "" if self.settings.lockstep and command.stamp_ns > 0 else wrong
        age_s = 0.0 if self.settings.lockstep else _age_s(command.stamp_ns, clock_ns)
        if self.settings.command_age_s and age_s > self.settings.command_age_s:
            return f"its observation is {age_s:.3f} s old"
        return ""

    def _refuse(self, kind: str, reason: str, now_s: float) -> Decision:
        self.refusals[kind] += 1
        return self._answer(now_s, refused=reason)

    def _hold(self, kind: str, reason: str, now_s: float) -> None:
        self.holds[kind] += 1
        self.state, self.reason = State.HOLDING, reason
        self._stood_at = None
        self._take_hold(now_s)

    def _take_hold(self, now_s: float) -> None:
        """Hold where the arm was measured last; the position stays as it is while holding, so that it cannot creep.

        After this process itself stood still, that is where the arm was long ago: then it is held once that is known.
        """
        is_long_ago = not self.settings.lockstep and self.joints.age_s(now_s) > 2 * self.settings.joints_timeout_s
        self._held, self._held_s = None if is_long_ago else self.q, -float("inf")

    def _forget_joints(self) -> None:
        self.filter.reset()
        self.joints.reset()
        self._pending = None

    def _answer(self, now_s: float, refused: str = "") -> Decision:
        """No command to pass on: the held position when it is due."""
        target = self._hold_due(now_s)
        if target is None:
            return Decision(None, self.state, self.reason, refused=refused)
        self._held_s = now_s
        return Decision(target, self.state, self.reason, self.settings.hold_duration_s, refused=refused)

    def _hold_due(self, now_s: float) -> np.ndarray | None:
        """The held position, where it has to be commanded now.

        It is repeated only while it is known where the arm stands, and never calls back an arm that was moved by hand.
        """
        held = (State.STOPPED,) if self.settings.lockstep else (State.STOPPED, State.HOLDING)
        if self.state not in held or self._held is None or self.q is None:
            return None
        if self._held_s == -float("inf"):
            return self._held
        if now_s - self._held_s < (self.settings.hold_period_s or np.inf) or not self.trusts_joints(now_s):
            return None
        back = nearest_turn(self._held, self.q, self.limits.continuous)
        if np.abs(back - self.q).max() > HELD_RAD:
            self.holds["moved by somebody"] += 1
            back = self._held = self.q
        return back


def _age_s(stamp_ns: int, clock_ns: int | None) -> float:
    """How long ago a stamp is [s]; 0 where there is no clock to compare it with."""
    return 0.0 if clock_ns is None else (clock_ns - stamp_ns) / 1e9
