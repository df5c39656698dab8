"""A configured policy at work: what lockstep and real time have in common."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.base.episode import Obs
from vd_policy.base.seeds import MAX_SEED
from vd_policy.base.settings import setting
from vd_policy.control.assembler import Assembled
from vd_policy.control.deadline import DeadlineMeter
from vd_policy.control.rollout import Choice
from vd_policy.messages.topics import COMMAND
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.decider import Decider
from vd_policy.nodes.diagnostics import ERROR, Diagnostics
from vd_policy.nodes.observer import Observer, ObserverSettings
from vd_policy.nodes.onnx_actor import actor_for
from vd_policy.nodes.ros import RclpyFactory, advertise
from vd_policy.nodes.weights import WeightsListener
from vd_policy.policy.checkpoint import Run
from vd_policy.policy.observation import ObservationSpec


@dataclass(frozen=True)
class ActingSettings(ObserverSettings):
    """How decisions are made."""

    explore: bool = setting(False, "sample actions instead of taking their mean")
    seed: int = setting(0, "real time: seed of the sampling; in lockstep each episode's own seed counts",
                        minimum=0, maximum=MAX_SEED)  # fmt: skip
    rollouts: bool = setting(False, "lockstep: publish each episode for a learner")
    lead_steps: int = setting(400, "lockstep: steps sent to a learner before waiting for its next weights; 0: never",
                              minimum=0)  # fmt: skip
    learner_timeout_s: float = setting(
        1.0, "with rollouts: hold when the learner is gone for this long, at least its lease_s; 0: act without one",
        minimum=0,
    )  # fmt: skip
    hot_swap: bool = setting(
        False, "take a learner's new weights while acting, as always with rollouts; false: what was loaded stays"
    )
    backend: str = setting("torch", "what runs the network", choices=("torch", "onnx"))
    threads: int = setting(1, "threads of the network", minimum=1, maximum=64)
    speed: float = setting(1.0, "real time: share of the trained speed; a command may take 1/speed decision periods",
                           minimum=0.01, maximum=1)  # fmt: skip
    rate_hz: float = setting(10.0, "real time: decisions a second, at most one a picture; 0: the rate of the training",
                             minimum=0)  # fmt: skip


class Acting(ABC):
    """Life cycle: made warm and listening; `activate` and `deactivate` any number of times; `close` once.

    Args:
        node: whose topics.
        run: what acts.
        diagnostics: told of every state and count.
    """

    def __init__(self, node: Node, settings: ActingSettings, run: Run, diagnostics: Diagnostics) -> None:
        self.settings, self.spec = settings, run.spec
        self._node, self._diagnostics = node, diagnostics
        actor = actor_for(run.policy, settings.backend, settings.threads)
        version = int(run.manifest["weight_version"])
        self.decider = Decider(actor, version, self.spec.max_step_rad, settings.explore)
        blank = blank_observation(self.spec)
        diagnostics.values["warm_inference_ms"] = f"{1e3 * self.decider.warm_up(blank):.3f}"
        self.active = self._acting = False
        self.latched = ""
        self.meter = DeadlineMeter(1.0 / self.decision_rate_hz())
        self._sending = threading.Lock()
        self._factory, self._command = RclpyFactory(), advertise(node, COMMAND)
        self._weights = self._weights_listener(run, blank) if settings.hot_swap or settings.rollouts else None

    def _weights_listener(self, run: Run, blank: Obs) -> WeightsListener:
        settings = self.settings
        build = partial(actor_for, backend=settings.backend, threads=settings.threads)
        return WeightsListener(self._node, run.policy, build, self.decider, blank, self._diagnostics,
                               settings.learner_timeout_s if settings.rollouts else 0.0)  # fmt: skip

    def listen(self) -> None:
        """Begin to observe; where that is refused, end what was begun."""
        try:
            self.observer = Observer(self._node, self.spec, self.settings, self.on_observation, self.on_repeat)
        except Exception:
            self._end()
            raise

    def activate(self) -> None:
        """The policy may command from now on; a latched fault is forgiven."""
        self.latched, self.active = "", True
        self.meter.reset()

    def deactivate(self) -> None:
        """Hold."""
        self.active = False
        self.hold()

    def close(self) -> None:
        """Hold and end the threads."""
        self.deactivate()
        self.observer.close()
        self._end()

    def _end(self) -> None:
        """End what was begun before `listen`."""
        if self._weights is not None:
            self._weights.close()
        self._node.destroy_publisher(self._command)

    @abstractmethod
    def decision_rate_hz(self) -> float:
        """How often a decision is due."""

    @abstractmethod
    def on_observation(self, whole: Assembled, usable: bool) -> None:
        """A whole observation came; `usable` when its inputs can be trusted."""

    @abstractmethod
    def on_repeat(self) -> None:
        """The last observation came again."""

    @abstractmethod
    def hold(self) -> None:
        """Stop commanding."""

    @abstractmethod
    def watch(self, now_s: float) -> None:
        """Look at the inputs and tell the diagnostics; called often while active and not latched."""

    def may_act(self) -> bool:
        """Active and not latched."""
        return self.active and not self.latched

    def decide(self, whole: Assembled) -> tuple[Choice, Any] | None:
        """Decide and command; the choice and the message sent, or None when the arm was or is now held."""
        with self.meter.section("infer"):
            target = self.decider.decide(network_input(whole), whole.values["q"])
        if not target.finite:
            self._latch("the network's output is NaN or Inf")
            return None
        with self.meter.section("publish"), self._sending:
            if not self._acting:  # held meanwhile
                return None
            message = self.send(target.q, whole.stamp_ns)
        self._diagnostics.counts["decisions"] += 1
        self.meter.tick(whole.received_s)
        return target.choice, message

    def send(self, q: np.ndarray, stamp_ns: int) -> Any:
        """Command the joint angles q [rad], (J,), in one decision period of the training, or as much slower as set."""
        speed = 1.0 if self.settings.lockstep else self.settings.speed
        message = encode_trajectory(self._factory, self.spec.joints, q, 1.0 / (self.spec.rate_hz * speed), stamp_ns,
                                    self._node.get_fully_qualified_name())  # fmt: skip
        self._command.publish(message)
        return message

    def figures(self) -> dict[str, Any]:
        """Counts and figures for the diagnostics."""
        assembler = self.observer.assembler
        rejected = {f"rejected {kind}": count for kind, count in self.observer.watch.rejected.items()}
        refused = {f"refused stamp {kind}": count for kind, count in assembler.refused.items()}
        own = {"cpu_s": f"{time.process_time():.3f}", "weight_version": self.decider.version,
               "weight_swaps": self.decider.swaps, "unpaired": assembler.unpaired,
               "clock_jumps": assembler.jumps}  # fmt: skip
        return {**self.meter.summary(), **own, **rejected, **refused}

    def check(self) -> None:
        """Raise what ended a thread of its own."""
        if self._weights is not None:
            self._weights.check()

    def _latch(self, reason: str) -> None:
        self.latched = f"latched: {reason}; deactivate and activate to go on"
        self.hold()
        self._diagnostics.state(ERROR, self.latched)


def network_input(whole: Assembled) -> Obs:
    """What the network sees; the joints as float32, as in every recorded episode."""
    return {"rgb": whole.values["rgb"], "depth": whole.values["depth"], "q": whole.values["q"].astype(np.float32)}


def blank_observation(spec: ObservationSpec) -> Obs:
    """A black picture of an arm at its offsets."""
    size = (spec.image_height, spec.image_width)
    return {"rgb": np.zeros((*size, 3), np.uint8), "depth": np.ones(size, np.uint16),
            "q": np.asarray(spec.q_offset_rad, np.float32)}  # fmt: skip
