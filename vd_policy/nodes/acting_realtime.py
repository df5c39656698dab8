"""The policy in real time: the newest observation wins, and whatever cannot be trusted stops the arm."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from vd_policy.base.seeds import POLICY, Seeds
from vd_policy.control.assembler import Assembled
from vd_policy.control.pacer import Pacer
from vd_policy.control.slot import LatestSlot
from vd_policy.control.watch import WAITING
from vd_policy.nodes.acting import Acting, ActingSettings
from vd_policy.nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from vd_policy.nodes.worker import Worker
from vd_policy.policy.checkpoint import Run


class RealTimeActing(Acting):
    """Callbacks assemble; a thread of its own infers on the newest observation that is due."""

    def __init__(self, node: Node, settings: ActingSettings, run: Run, diagnostics: Diagnostics) -> None:
        super().__init__(node, settings, run, diagnostics)
        self.decider.begin(Seeds(settings.seed).rng(POLICY))
        self._pacer = Pacer(self.decision_rate_hz())
        self._slot: LatestSlot[Assembled] = LatestSlot()
        self._inference = Worker("inference", self._infer)
        self.listen()

    def decision_rate_hz(self) -> float:
        return self.settings.rate_hz or self.spec.rate_hz

    def _end(self) -> None:
        self._slot.close()
        self._inference.join()
        super()._end()

    def check(self) -> None:
        super().check()
        self._inference.check()

    def on_observation(self, whole: Assembled, usable: bool) -> None:
        """Leave it for the inference thread, or hold."""
        if not self.may_act():
            return
        if not usable:
            self.watch(whole.received_s)
        elif self._pacer.due(whole.stamp_ns):
            self._acting = True
            self._slot.put(whole)

    def on_repeat(self) -> None:
        """Cameras do not repeat themselves."""

    def hold(self) -> None:
        """Command the arm to stay where it was measured last: the safety node would hold too, but later."""
        with self._sending:
            was_acting, self._acting = self._acting, False
            if was_acting and self.observer.q is not None:
                self.send(*self.observer.q)
                self._diagnostics.counts["holds"] += 1
        self.meter.pause()
        self._slot.clear()
        self._pacer.reset()

    def watch(self, now_s: float) -> None:
        problem = self.observer.problem(now_s)
        if problem:
            self.hold()
            self._diagnostics.state(WARN if problem == WAITING else ERROR, str(problem))
        elif self._acting and self.may_act():
            self._diagnostics.state(OK, "acting")

    def figures(self) -> dict[str, Any]:
        return {**super().figures(), "skipped": self._slot.replaced}

    def _infer(self) -> None:
        while (whole := self._slot.take()) is not None:
            self.decider.swap()
            missed = self.meter.misses
            if self.may_act():
                self.decide(whole)
            if self.meter.misses > missed:
                self._node.get_logger().warning(
                    f"a decision took longer than its period of {self.meter.period_s:.3f} s", throttle_duration_sec=5.0
                )
