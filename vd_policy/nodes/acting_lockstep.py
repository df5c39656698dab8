"""The policy in lockstep: every observation gets one answer, a repeated one the same again."""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

from vd_policy.base.seeds import Seeds
from vd_policy.control.assembler import Assembled
from vd_policy.control.rollout import Choice, RolloutBuilder
from vd_policy.messages.blobs import encode_blob, pack_episode
from vd_policy.messages.topics import ROLLOUT
from vd_policy.nodes.acting import Acting, ActingSettings, network_input
from vd_policy.nodes.diagnostics import OK, WARN, Diagnostics
from vd_policy.nodes.ros import advertise
from vd_policy.policy.checkpoint import Run

LAST_WORDS_S = 2.0
"""How long a policy that ends waits for its last rollout to be acknowledged."""


class LockstepActing(Acting):
    """Answers in the callback that completes the observation, and publishes whole episodes for a learner.

    Noise comes from the episode's own seed. With rollouts new weights are taken between two episodes, so that one
    version acted throughout each; without, between two steps.
    """

    def __init__(self, node: Node, settings: ActingSettings, run: Run, diagnostics: Diagnostics) -> None:
        super().__init__(node, settings, run, diagnostics)
        self._open: Assembled | None = None
        self._answer: Any = None
        self._episode: tuple[int, int] | None = None
        self._builder = RolloutBuilder(node.get_fully_qualified_name(), self.spec.max_step_rad)
        self._rollouts = advertise(node, ROLLOUT) if settings.rollouts else None
        self.listen()

    def decision_rate_hz(self) -> float:
        return self.spec.rate_hz

    def activate(self) -> None:
        """Give the answer that the simulator waits for."""
        super().activate()
        self.on_repeat()

    def close(self) -> None:
        super().close()
        if self._rollouts is not None:
            self._rollouts.wait_for_all_acked(Duration(seconds=LAST_WORDS_S))
            self._node.destroy_publisher(self._rollouts)

    def on_observation(self, whole: Assembled, usable: bool) -> None:
        """The simulator's inputs are trusted: it waits, so nothing of it can be stale."""
        self._open, self._answer = whole, None
        self._respond()

    def on_repeat(self) -> None:
        """Say the answer again, or give the one that is still owed."""
        if self._answer is not None and self.may_act():
            self._command.publish(self._answer)
            self._diagnostics.counts["repeats"] += 1
        elif self._answer is None:
            self._respond()

    def hold(self) -> None:
        """Silence: the simulator waits."""
        self._acting = False
        self.meter.pause()

    def watch(self, now_s: float) -> None:
        waiting = self._episode is None and self.observer.problem(now_s)
        self._diagnostics.state(WARN if waiting else OK, waiting or "acting")

    def figures(self) -> dict[str, Any]:
        return {**super().figures(), "dropped_episodes": self._builder.dropped}

    def _respond(self) -> None:
        whole = self._open
        if whole is None or not self.may_act():
            return
        self._acting, self._open = True, None
        outcome = whole.values["outcome"]
        self._prepare((outcome.episode, outcome.seed))
        decided = None if outcome.terminated or outcome.truncated else self.decide(whole)
        choice, self._answer = decided or (None, None)
        if self._rollouts is not None:
            self._collect(whole, choice)

    def _prepare(self, episode: tuple[int, int]) -> None:
        if episode != self._episode:
            self._episode = episode
            self.decider.swap()
            self.decider.begin(Seeds(episode[1]).rng("policy"))
        elif self._rollouts is None:
            self.decider.swap()

    def _collect(self, whole: Assembled, choice: Choice | None) -> None:
        values = whole.values
        episode = self._builder.add(network_input(whole), values["q"], values["outcome"], choice, self.decider.version)
        if episode is not None:
            self._rollouts.publish(encode_blob(self._factory, pack_episode(episode)))
            self._diagnostics.counts["rollouts"] += 1
