"""What reaches the hand: the part of the safety gate that is about fingers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from vd_policy.arm.hand import HandJoints
from vd_policy.control.commanders import Commanders
from vd_policy.control.freshness import StampGuard
from vd_policy.control.gate import Command, Gate, State

LONGEST_S = 10.0
"""The arm is held for as long as a command for the hand may take; no hand needs more."""

QUICKEST_S = 0.5
"""A command that moves the hand takes at least so long, and the arm stands still meanwhile, whatever it asks for."""
SOON_S = 0.01
"""A repeat that comes when less time than this is left is a command of its own again."""


@dataclass(frozen=True)
class HandDecision:
    """What to send to the hand's controller now, if anything."""

    target: np.ndarray | None
    """Finger joints [rad], (F,), or None: send nothing."""
    duration_s: float = 0.0
    stamp_ns: int = 0
    moves: bool = False
    """The target is another one than the last: the arm stands still while the hand moves."""
    refused: str = ""
    """Why the command was not passed on."""
    stop: str = ""
    """Why the arm has to be stopped for it."""


class HandGate:
    """Decides, one command at a time, what the hand gets.

    The hand moves only while the arm is where it is known to be and nothing is stopped. A stop leaves the hand as it
    is: opening it would drop what it holds, and so would holding it at its measured angles, without its grip.

    Args:
        arm: the arm's gate, whose settings count here too.
        joints: the fingers, which are kept between the open and the closed hand.
    """

    def __init__(self, arm: Gate, joints: HandJoints) -> None:
        self._arm, self.joints = arm, joints
        self.commanders = Commanders(arm.settings.command_timeout_s)
        self._stamps = StampGuard(arm.settings.future_s)
        self.refusals: Counter[str] = Counter()
        self.clamps: Counter[str] = Counter()
        self.passed = 0
        self._last: np.ndarray | None = None
        self._there_s = -float("inf")

    def on_command(
        self, command: Command, now_s: float, clock_ns: int | None = None, sequence: int | None = None
    ) -> HandDecision:
        """A command for all fingers in order; times as in `Gate`."""
        owner = self.commanders.owner
        wrong = self.commanders.admit(command.sender, now_s, sequence)
        if wrong:
            return self._refuse("second commander", wrong)
        if command.sender != owner:
            self._stamps = StampGuard(self._arm.settings.future_s)
        if not np.isfinite(command.positions).all():
            self.refusals["not finite"] += 1
            return HandDecision(None, stop=f"{command.sender} commanded NaN or Inf to the hand")
        if self._arm.state is State.STOPPED:
            return self._refuse("stopped", f"stopped: {self._arm.reason}")
        if not self._arm.trusts_joints(now_s):
            return self._refuse("joints not fresh", "no fresh joint states")
        wrong = self._arm.unusable(command, self._stamps, len(self.joints.names), clock_ns)
        if not wrong and command.duration_s > LONGEST_S:
            wrong = f"time_from_start is {command.duration_s} s, at most {LONGEST_S:g} s"
        if wrong:
            return self._refuse("unusable", wrong)
        return self._pass_on(command, now_s)

    def refuse_command(self, reason: str) -> HandDecision:
        """A command message that cannot be read (other joints, another length, no point)."""
        return self._refuse("unreadable", reason)

    def _pass_on(self, command: Command, now_s: float) -> HandDecision:
        """A repeat gets the time that is left: a controller begins each trajectory anew, from where the hand is."""
        target = self.joints.clip(command.positions)
        self.clamps.update(name for name, out in zip(self.joints.names, target != command.positions) if out)
        moves = self._last is None or not np.array_equal(target, self._last)
        self._last = target
        duration_s = max(command.duration_s, QUICKEST_S)
        if moves:
            self._there_s = now_s + duration_s
        left_s = self._there_s - now_s
        self.passed += 1
        return HandDecision(target, left_s if left_s > SOON_S else duration_s, command.stamp_ns, moves)

    def _refuse(self, kind: str, reason: str) -> HandDecision:
        self.refusals[kind] += 1
        return HandDecision(None, refused=f"hand: {reason}")
