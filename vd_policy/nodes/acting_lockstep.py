"""The policy in lockstep: every observation gets one answer, a repeated one the same again."""

from __future__ import annotations

import time
import uuid
from typing import Any

from rclpy.node import Node

from vd_policy.base.seeds import POLICY, Seeds
from vd_policy.control.assembler import Assembled
from vd_policy.control.lead import Lead
from vd_policy.control.rollout import Choice, RolloutBuilder
from vd_policy.messages.blobs import encode_blob, pack_episode
from vd_policy.messages.topics import ROLLOUT
from vd_policy.nodes.acting import Acting, ActingSettings, network_input
from vd_policy.nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from vd_policy.nodes.ros import advertise, deliver
from vd_policy.policy.checkpoint import Run

ALONE = (WARN, "waiting for a learner; with learner_timeout_s 0 none is needed")
ABANDONED = (ERROR, "holding: the learner is gone; start one again")
ENDED = (WARN, "holding: the learner has ended; start one again to go on")
CONNECT_S = 3.0


class LockstepActing(Acting):
    """Answers in the callback that completes the observation, and publishes whole episodes for a learner.

    Noise comes from the episode's own seed. With rollouts new weights are taken between two episodes, so that one
    version acted throughout each; without, between two steps. A policy that outruns its learner waits before the next
    episode: rollouts from weights that are long outdated would only be dropped. Without a learner it is silent, and
    when its learner dies it falls silent in the middle of the episode.
    """

    def __init__(self, node: Node, settings: ActingSettings, run: Run, diagnostics: Diagnostics) -> None:
        super().__init__(node, settings, run, diagnostics)
        self._open: Assembled | None = None
        self._answer: Any = None
        self._episode: tuple[int, int] | None = None
        self._builder = RolloutBuilder(node.get_fully_qualified_name(), self.spec.max_step_rad, life=uuid.uuid4().hex)
        self._rollouts = advertise(node, ROLLOUT) if settings.rollouts else None
        self._lead = Lead(settings.lead_steps)
        if self._weights is not None:
            self._weights.on_progress = self._progressed
            self._weights.on_last = self._learner_ends
            self._weights.on_alive = self._count_learners
        self._learners, self._led, self._ended = 0, False, False
        self._needs_learner = settings.rollouts and settings.learner_timeout_s > 0
        self._heard, self._asked_s = False, 0.0
        self.listen()

    def decision_rate_hz(self) -> float:
        return self.spec.rate_hz

    def activate(self) -> None:
        """Give the answer that the simulator waits for."""
        super().activate()
        self.on_repeat()

    def _end(self) -> None:
        super()._end()
        if self._rollouts is not None:
            deliver(self._rollouts)
            self._node.destroy_publisher(self._rollouts)

    def on_observation(self, whole: Assembled, usable: bool) -> None:
        """The simulator's inputs are trusted: it waits, so nothing of it can be stale."""
        self._open, self._answer = whole, None
        self._respond()

    def on_repeat(self) -> None:
        """Say the answer again, or give the one that is still owed."""
        if self._answer is not None and self.may_act() and not self._is_alone():
            self._command.publish(self._answer)
            self._diagnostics.counts["repeats"] += 1
        elif self._answer is None:
            self._respond()

    def hold(self) -> None:
        """Silence: the simulator waits."""
        self._acting = False
        self.meter.pause()

    def watch(self, now_s: float) -> None:
        if self._is_alone():
            self._diagnostics.state(*(ENDED if self._ended else ABANDONED if self._led else ALONE))
            return
        if self._open is not None:
            self._respond()
        if not self.may_act():
            return  # latched just now, and said so
        if self._must_wait():
            self._diagnostics.state(OK, "waiting for the learner's weights")
            return
        waiting = self.observer.problem(now_s) if self._episode is None else None
        self._diagnostics.state(WARN if waiting else OK, str(waiting or "acting"))

    def figures(self) -> dict[str, Any]:
        return {**super().figures(), "dropped_episodes": self._builder.dropped, "lead_steps": self._lead.steps}

    def _respond(self) -> None:
        whole = self._open
        if whole is None or not self.may_act() or self._is_alone():
            return
        outcome = whole.values["outcome"]
        if not self._prepared((outcome.episode, outcome.seed)):
            return
        self._acting, self._open = True, None
        decided = None if outcome.terminated or outcome.truncated else self.decide(whole)
        if self.latched:
            self._open = whole  # still owed, once this is forgiven
            return
        choice, self._answer = decided or (None, None)
        if self._rollouts is not None:
            self._collect(whole, choice)

    def _prepared(self, episode: tuple[int, int]) -> bool:
        """Take new weights where that is due, and begin a new episode; False when it has to wait for the learner."""
        if episode == self._episode:
            if self._rollouts is None:
                self.decider.swap()
            return True
        self.decider.swap()
        if self._must_wait() or not self._is_heard():
            return False
        self._episode = episode
        self.decider.begin(Seeds(episode[1]).rng(POLICY))
        return True

    def _is_heard(self) -> bool:
        """Every subscriber of the commands is connected, a recorder too: DDS connects them one by one, and a command
        sent before is lost to the late one. One that cannot be connected (QoS) is waited for `CONNECT_S`, once."""
        if not self._heard:
            now, known = time.monotonic(), self._node.count_subscribers(self._command.topic_name)
            self._asked_s = self._asked_s or now
            self._heard = 0 < known <= self._command.get_subscription_count() or now - self._asked_s > CONNECT_S
        return self._heard

    def _progressed(self, steps: int, life: str, batch: int) -> None:
        self._ended = False
        self._lead.collect(steps, life, batch)

    def _learner_ends(self) -> None:
        self._ended = True

    def _count_learners(self, learners: int) -> None:
        self._learners = learners

    def _is_alone(self) -> bool:
        """No learner that the policy needs is there and hears its rollouts."""
        if not self._needs_learner:
            return False
        is_heard = self._learners > 0 and self._connected_learners() > 0
        self._led = self._led or is_heard
        return not is_heard

    def _connected_learners(self) -> int:
        return self._rollouts.get_subscription_count() if self._rollouts is not None else 0

    def _must_wait(self) -> bool:
        """The policy is as far ahead as may be of a learner that is there."""
        return self._lead.exhausted and self._connected_learners() > 0

    def _collect(self, whole: Assembled, choice: Choice | None) -> None:
        values = whole.values
        episode = self._builder.add(network_input(whole), values["q"], values["outcome"], choice, self.decider.version)
        if episode is not None and self._rollouts is not None:
            if self._connected_learners():  # what nobody hears, nobody will collect
                self._lead.send(len(episode))
            self._rollouts.publish(encode_blob(self._factory, pack_episode(episode)))
            self._diagnostics.counts["rollouts"] += 1
