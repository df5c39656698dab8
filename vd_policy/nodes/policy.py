"""The policy node: observations in, commands out, at control rate.

A lifecycle node. *Configure* loads and verifies the run and warms it up; *activate* may command; *deactivate* holds. In
real time the network runs on a thread of its own that always takes the newest observation; in lockstep each observation
is answered where it arrives, and a repeated one gets the same answer.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import MAX_SEED, Seeds
from vd_policy.base.settings import setting
from vd_policy.control.assembler import Assembled
from vd_policy.control.deadline import DeadlineMeter
from vd_policy.control.pacer import Pacer
from vd_policy.control.rollout import Choice, RolloutBuilder
from vd_policy.control.slot import LatestSlot
from vd_policy.control.watch import WAITING
from vd_policy.messages.blobs import decode_blob, encode_blob, pack_episode
from vd_policy.messages.topics import COMMAND, ROLLOUT, WEIGHTS
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.decider import Decider
from vd_policy.nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from vd_policy.nodes.observer import Observer, ObserverSettings
from vd_policy.nodes.onnx_actor import actor_for
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import RclpyFactory, advertise, run, steady_timer, subscribe
from vd_policy.nodes.weights import policy_from_bytes
from vd_policy.policy.checkpoint import load_run

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LAST_WORDS_S = 2.0
"""How long a node that ends waits for its last rollout to be acknowledged."""


@dataclass(frozen=True)
class PolicySettings(ObserverSettings):
    """Parameters of the policy node."""

    run: str = setting("", "directory of the run to execute")
    autostart: bool = setting(True, "configure and activate without being told to")
    explore: bool = setting(False, "sample actions instead of taking their mean")
    seed: int = setting(0, "real time: seed of the sampling; in lockstep each episode's own seed counts",
                        minimum=0, maximum=MAX_SEED)  # fmt: skip
    rollouts: bool = setting(False, "lockstep: publish each episode for a learner")
    backend: str = setting("torch", "what runs the network", choices=("torch", "onnx"))
    threads: int = setting(1, "threads of the network", minimum=1, maximum=64)
    rate_hz: float = setting(10.0, "real time: decisions a second, at most one a picture; 0: the rate of the training",
                             minimum=0)  # fmt: skip
    watchdog_hz: float = setting(20.0, "how often the inputs' freshness is looked at [Hz]", minimum=1)


class PolicyNode(LifecycleNode):
    """Lifecycle, topics and threads around an `Observer` and a `Decider`."""

    def __init__(self) -> None:
        super().__init__("policy", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, PolicySettings)
        if self.settings.rollouts and not self.settings.lockstep:
            raise BadInput("rollouts", True, "only with lockstep", "set lockstep, or rollouts to false")
        self._factory = RclpyFactory()
        self._diagnostics = Diagnostics(self)
        self._error: VdPolicyError | None = None
        self._decider: Decider | None = None
        self._active = self._acting = False
        self._commanding = threading.Lock()
        self._latched = ""
        steady_timer(self, 1.0 / self.settings.watchdog_hz, self._watch)
        steady_timer(self, 1.0, self._report)
        self._diagnostics.state(WARN, "unconfigured")
        if self.settings.autostart:
            self._autostart()

    # ---- life cycle -------------------------------------------------------------------------------------------------

    def _autostart(self) -> None:
        configured = self.trigger_configure()
        if self._error:
            raise self._error
        if configured is not SUCCESS or self.trigger_activate() is not SUCCESS:
            raise VdPolicyError("the policy node could not be configured and activated; see the log above")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, verify and warm up the run, then listen."""
        try:
            self._configure()
        except VdPolicyError as error:
            self._error = error
            self._diagnostics.state(ERROR, str(error))
            return FAILURE
        self._error = None
        self._diagnostics.state(WARN, "inactive")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From now on the policy may command; a latched fault is forgiven."""
        self._latched = ""
        self._active = True
        self._meter.reset()
        self._on_repeat()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold."""
        self._active = False
        self._hold()
        self._diagnostics.state(WARN, "inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the run."""
        self._unload()
        self._diagnostics.state(WARN, "unconfigured")
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold for good."""
        self.close()
        return SUCCESS

    def close(self) -> None:
        """Hold, then end the threads."""
        self._active = False
        if self._decider:
            self._hold()
            if self.settings.rollouts:
                self._rollout_publisher.wait_for_all_acked(Duration(seconds=LAST_WORDS_S))
            self._unload()

    def _configure(self) -> None:
        settings = self.settings
        if not settings.run:
            raise BadInput("run", "", "the directory of a trained run", "set the parameter run")
        torch.set_num_threads(settings.threads)
        loaded = load_run(settings.run)
        self._policy, self._spec = loaded.policy, loaded.spec
        actor, version = actor_for(loaded.policy, settings.backend), int(loaded.manifest["weight_version"])
        self._decider = Decider(actor, version, self._spec.max_step_rad, settings.explore)
        self._diagnostics.values["warm_inference_ms"] = f"{1e3 * self._decider.warm_up(self._blank()):.3f}"
        rate_hz = settings.rate_hz if settings.rate_hz and not settings.lockstep else self._spec.rate_hz
        self._meter, self._pacer = DeadlineMeter(1.0 / rate_hz), Pacer(rate_hz)
        self._builder = RolloutBuilder(self.get_fully_qualified_name(), self._spec.max_step_rad)
        self._current: Assembled | None = None
        self._answer: Any = None
        self._episode: tuple[int, int] | None = None
        self._decider.begin(Seeds(settings.seed).rng("policy"))
        self._connect()

    def _connect(self) -> None:
        self._slot: LatestSlot[Assembled] = LatestSlot()
        self._weights: LatestSlot[bytes] = LatestSlot()
        self._command = advertise(self, COMMAND)
        self._rollout_publisher = advertise(self, ROLLOUT) if self.settings.rollouts else None
        self._weights_subscription = subscribe(self, WEIGHTS, lambda msg: self._weights.put(decode_blob(msg)))
        self._threads = [threading.Thread(target=self._load_weights, name="weights", daemon=True)]
        if not self.settings.lockstep:
            self._threads.append(threading.Thread(target=self._infer, name="inference", daemon=True))
        for thread in self._threads:
            thread.start()
        self._observer = Observer(self, self._spec, self.settings, self._on_observation, self._on_repeat)

    def _unload(self) -> None:
        self._observer.close()
        self._slot.close()
        self._weights.close()
        for thread in self._threads:
            thread.join()
        self.destroy_subscription(self._weights_subscription)
        for publisher in filter(None, (self._command, self._rollout_publisher)):
            self.destroy_publisher(publisher)
        self._decider = None

    def _blank(self) -> dict[str, np.ndarray]:
        size = (self._spec.image_height, self._spec.image_width)
        return {"rgb": np.zeros((*size, 3), np.uint8), "depth": np.ones(size, np.uint16),
                "q": np.asarray(self._spec.q_offset_rad, np.float32)}  # fmt: skip

    # ---- observations -----------------------------------------------------------------------------------------------

    def _on_observation(self, whole: Assembled, usable: bool) -> None:
        if self.settings.lockstep:
            self._current, self._answer = whole, None
            self._answer_in_lockstep()
        elif not usable:
            self._watch()
        elif self._may_act() and self._pacer.due(whole.stamp_ns):
            self._acting = True
            self._slot.put(whole)

    def _may_act(self) -> bool:
        return self._active and not self._latched

    def _on_repeat(self) -> None:
        """The simulator waits: say the answer again, or give the one that is still owed."""
        if self._answer is not None and self._may_act():
            self._command.publish(self._answer)
            self._diagnostics.counts["repeats"] += 1
        elif self._current is not None:
            self._answer_in_lockstep()

    def _answer_in_lockstep(self) -> None:
        whole = self._current
        if not self._may_act() or whole is None or self._answer is not None:
            return
        outcome = whole.values["outcome"]
        if (outcome.episode, outcome.seed) != self._episode:
            self._episode = (outcome.episode, outcome.seed)
            self._decider.begin(Seeds(outcome.seed).rng("policy"))
            self._decider.swap()
        elif not self.settings.rollouts:
            self._decider.swap()
        self._acting = True
        choice = None if outcome.terminated or outcome.truncated else self._decide(whole)
        if self.settings.rollouts:
            self._collect(whole, choice)

    def _collect(self, whole: Assembled, choice: Choice | None) -> None:
        obs, outcome = _network_input(whole), whole.values["outcome"]
        episode = self._builder.add(obs, whole.values["q"], outcome, choice, self._decider.version)
        if choice is None:
            self._current = None  # an episode that is over is not owed an answer
        if episode is not None:
            self._rollout_publisher.publish(encode_blob(self._factory, pack_episode(episode)))
            self._diagnostics.counts["rollouts"] += 1

    # ---- decisions --------------------------------------------------------------------------------------------------

    def _infer(self) -> None:
        """The inference thread of real time."""
        while (whole := self._slot.take()) is not None:
            self._decider.swap()
            if self._may_act():
                self._decide(whole)

    def _decide(self, whole: Assembled) -> Choice | None:
        with self._meter.section("infer"):
            target = self._decider.decide(_network_input(whole), whole.values["q"])
        if not target.finite:
            self._latch("the network's output is NaN or Inf")
            return None
        with self._meter.section("publish"), self._commanding:
            if not self._acting:  # held meanwhile
                return None
            self._answer = self._send(target.q, whole.stamp_ns)
        self._diagnostics.counts["decisions"] += 1
        if self._meter.tick(whole.received_s) and not self.settings.lockstep:
            self.get_logger().warning(f"a decision took longer than its period of {self._meter.period_s:.3f} s",
                                      throttle_duration_sec=5.0)  # fmt: skip
        return target.choice

    def _send(self, q: np.ndarray, stamp: int) -> Any:
        message = encode_trajectory(self._factory, self._spec.joints, q, 1.0 / self._spec.rate_hz, stamp,
                                    self.get_fully_qualified_name())  # fmt: skip
        self._command.publish(message)
        return message

    def _latch(self, reason: str) -> None:
        self._latched = f"latched: {reason}; deactivate and activate to go on"
        self._hold()
        self._diagnostics.state(ERROR, self._latched)

    def _hold(self) -> None:
        """Stop commanding. In real time say so with a command to stay: the safety node would hold too, but later."""
        with self._commanding:
            was_acting, self._acting = self._acting, False
            if was_acting and not self.settings.lockstep and self._observer.q is not None:
                self._send(*self._observer.q)
                self._diagnostics.counts["holds"] += 1
        self._meter.pause()
        self._slot.clear()
        self._pacer.reset()

    # ---- weights ----------------------------------------------------------------------------------------------------

    def _load_weights(self) -> None:
        """The thread that checks, builds and warms up new weights, so that no decision waits for them."""
        while (data := self._weights.take()) is not None:
            try:
                policy, version = policy_from_bytes(data, self._policy)
                actor = actor_for(policy, self.settings.backend)
            except VdPolicyError as error:
                self._diagnostics.counts["weights_refused"] += 1
                self._diagnostics.values["weights_refusal"] = str(error)
                self.get_logger().error(f"weights refused: {error}")
                continue
            self._decider.warm_up(self._blank(), actor)
            self._decider.offer(actor, version)
            self._diagnostics.counts["weights_accepted"] += 1

    # ---- watching ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._decider is None or not self._active or self._latched:
            return
        problem = self._observer.problem(time.monotonic())
        if self.settings.lockstep:
            silent = self._episode is None and problem
            self._diagnostics.state(WARN if silent else OK, problem if silent else "acting")
        elif problem:
            self._hold()
            self._diagnostics.state(WARN if problem == WAITING else ERROR, problem)
        elif self._acting:
            self._diagnostics.state(OK, "acting")

    def _report(self) -> None:
        if self._decider is None:
            return
        observer, values = self._observer, self._diagnostics.values
        values |= self._meter.summary()
        values |= {"weight_version": self._decider.version, "weight_swaps": self._decider.swaps,
                   "skipped": self._slot.replaced, "unpaired": observer.assembler.unpaired,
                   "dropped_episodes": self._builder.dropped}  # fmt: skip
        values |= {f"rejected {kind}": count for kind, count in observer.watch.rejected.items()}
        values |= {f"refused stamp {kind}": count for kind, count in observer.assembler.refused.items()}


def _network_input(whole: Assembled) -> dict[str, np.ndarray]:
    """What the network sees; the joints as float32, as in every recorded episode."""
    return {"rgb": whole.values["rgb"], "depth": whole.values["depth"], "q": whole.values["q"].astype(np.float32)}


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
