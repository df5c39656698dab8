"""A gate with a two-jointed arm and a clock that the test turns."""

from __future__ import annotations

import numpy as np

from vd_policy.arm.hand import HandJoints
from vd_policy.control.gate import Decision, Gate, GateSettings
from vd_policy.control.hand_gate import HandDecision, HandGate
from vd_policy.control.limits import Limits
from vd_policy.messages.trajectory import JointTarget

S = 1_000_000_000
HOME = np.array([0.1, -0.2])
FINGERS = HandJoints(("thumb", "finger"), np.array([0.0, 0.5]), np.array([1.2, -0.5]))


class Arm:
    """Joint states at 100 Hz, `now_s` monotonic, the ROS clock 1000 s ahead of it."""

    def __init__(self, latched: str = "", **settings: object) -> None:
        limits = Limits(("a", "b"), (-1.0, -np.inf), (1.0, np.inf), (1.0, 1.0), 0.5)
        self.gate = Gate(GateSettings(**settings), limits, latched)
        self.q = HOME
        self.now_s = 10.0
        self.sent: list[np.ndarray] = []

    @property
    def stamp_ns(self) -> int:
        return int((1000.0 + self.now_s) * S)

    def _note(self, decision: Decision) -> Decision:
        if decision.target is not None:
            self.sent.append(decision.target)
        return decision

    def joints(self, q: np.ndarray | None = None, stamp_ns: int | None = None) -> Decision:
        """One joint sample now."""
        stamp = self.stamp_ns if stamp_ns is None else stamp_ns
        return self._note(self.gate.on_joints(self.q if q is None else q, stamp, self.now_s, self.stamp_ns))

    def settle(self, samples: int = 3) -> list[Decision]:
        """Joint samples until the gate trusts them."""
        decisions = []
        for _ in range(samples):
            self.now_s += 0.01
            decisions.append(self.joints())
        return decisions

    def wait(self, seconds: float) -> Decision:
        """Time passes while joint states keep coming."""
        for _ in range(round(seconds / 0.01)):
            self.now_s += 0.01
            self.joints()
            decision = self._note(self.gate.tick(self.now_s))
        return decision

    def silence(self, seconds: float) -> Decision:
        """Time passes without joint states."""
        for _ in range(round(seconds / 0.01)):
            self.now_s += 0.01
            decision = self._note(self.gate.tick(self.now_s))
        return decision

    def command(self, positions: np.ndarray, sender: str = "/policy", duration_s: float = 0.5,
                stamp_ns: int | None = None) -> Decision:  # fmt: skip
        """One command now."""
        stamp = self.stamp_ns if stamp_ns is None else stamp_ns
        target = JointTarget(np.asarray(positions, float), duration_s, stamp, sender)
        return self._note(self.gate.on_command(target, self.now_s, self.stamp_ns))


class ArmWithHand(Arm):
    """A gate for the arm and one for its hand, in front of a settled arm."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.hand = HandGate(self.gate, FINGERS)

    def grip(self, angles: object = (1.2, -0.5), sender: str = "/gripper", stamp_ns: int | None = None,
             duration_s: float = 1.0, sequence: int | None = None) -> HandDecision:  # fmt: skip
        """One command for the hand now."""
        stamp = self.stamp_ns if stamp_ns is None else stamp_ns
        target = JointTarget(np.asarray(angles, float), duration_s, stamp, sender)
        return self.hand.on_command(target, self.now_s, self.stamp_ns, sequence)
