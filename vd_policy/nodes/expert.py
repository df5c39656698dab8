"""The expert node: it sees where the cup is, and drives the arm there by inverse kinematics."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.arm.expert import ExpertSettings
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import EXPERT, Seeds
from vd_policy.base.settings import setting
from vd_policy.control.assembler import ObservationAssembler
from vd_policy.messages.driver import driver_of
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.outcome import Outcome, decode_outcome
from vd_policy.messages.topics import COMMAND, EXPERT_ACTION, JOINT_STATES, OUTCOME
from vd_policy.messages.trajectory import encode_trajectory
from vd_policy.nodes.diagnostics import ERROR, OK, Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import LOSSLESS_DEPTH, RclpyFactory, advertise, run, subscribe
from vd_policy.sim.env import ArmEnv

PRIVATE_IMAGE = 8
"""Side of the images [pixels] of the private world that only answers questions of reach and collision."""


@dataclass(frozen=True)
class ExpertNodeSettings:
    """Parameters of the expert node."""

    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    rule: str = setting("clipped", "eq. 10 with the last step shortened, or as printed", choices=("clipped", "literal"))
    noise_std_rad: float | None = setting(
        None, "standard deviation of eq. 6's noise [rad]; unset: the task's", minimum=0.0
    )
    clip_noise: bool = setting(True, "clip the noisy action to the largest step")
    lockstep: bool = setting(False, "the simulator waits for each command; it counts the joints as the URDF does")
    tolerance_s: float = setting(0.0, "largest distance of joint states and outcome; 0: equal stamps", minimum=0.0)


@dataclass(frozen=True)
class Answer:
    """What the expert says to one observation: absolute joint angles [rad], (J,) each."""

    stamp_ns: int
    noisy: np.ndarray
    noiseless: np.ndarray


class ExpertAnswers:
    """One expert per episode; asked the same observation again, it gives the same answer.

    The goals are those of the cup in the outcome, the noise that of the episode's seed, so that a demonstration through
    the graph equals the one made in-process.
    """

    def __init__(self, settings: ExpertNodeSettings) -> None:
        self._env = ArmEnv(settings.task, settings.robot, image_height=PRIVATE_IMAGE, image_width=PRIVATE_IMAGE)
        task, noise_rad = self._env.settings, self._env.settings.noise(settings.noise_std_rad)
        self._settings = ExpertSettings(settings.rule, noise_rad, settings.clip_noise, task.max_step_rad)
        self.robot = self._env.robot
        self.period_s = self._env.settings.period_s
        self._episode: tuple[Any, ...] | None = None
        self._answer: Answer | None = None

    def answer(self, stamp: int, q: np.ndarray, outcome: Outcome) -> Answer | None:
        """The answer to an observation; None after the last one of an episode.

        Raises:
            VdPolicyError: the cup is out of reach.
        """
        if outcome.last:
            return None
        if self._answer is None or self._answer.stamp_ns != stamp:
            self._begin(outcome)
            noisy, noiseless = self._expert.act(q, self._rng)
            self._answer = Answer(stamp, q + noisy, q + noiseless)
        return self._answer

    def _begin(self, outcome: Outcome) -> None:
        episode = (outcome.episode, outcome.seed, outcome.scene)
        if episode == self._episode:
            return
        self._env.reset(seed=outcome.seed, options={"cup": outcome.scene})
        self._expert = self._env.expert(self._settings)
        self._rng = Seeds(outcome.seed).rng(EXPERT)
        self._episode = episode

    def close(self) -> None:
        self._env.close()


class ExpertNode(Node):
    """Joint states and outcome in, command and noiseless decision out."""

    def __init__(self) -> None:
        super().__init__("expert", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, ExpertNodeSettings)
        self._answers = ExpertAnswers(self.settings)
        self._factory = RclpyFactory()
        robot = self._answers.robot
        self._reader = driver_of(robot, lockstep=self.settings.lockstep).reader()
        self._assembler = ObservationAssembler(self.settings.tolerance_s, ("outcome", "q"))
        self._diagnostics = Diagnostics(self)
        self._command, self._action = (advertise(self, name, depth=LOSSLESS_DEPTH) for name in (COMMAND, EXPERT_ACTION))
        self._last: Answer | None = None
        subscribe(self, JOINT_STATES, lambda msg: self._take("q", msg, self._reader.read))
        subscribe(self, OUTCOME, lambda msg: self._take("outcome", msg, decode_outcome))
        self._diagnostics.state(OK, "waiting for observations")

    def _take(self, kind: str, msg: Any, decode: Any) -> None:
        try:
            stamp, value = stamp_ns(msg), decode(msg)
        except BadInput as error:
            self._diagnostics.counts["unreadable"] += 1
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        if kind == "outcome" and self._last is not None and stamp == self._last.stamp_ns:
            self._say(self._last)  # the sim repeats itself when it has not heard the answer
            self._diagnostics.counts["repeats"] += 1
            return
        whole = self._assembler.add(kind, stamp, value, time.monotonic())
        if whole is not None:
            self._decide(whole.stamp_ns, whole.values["q"], whole.values["outcome"])

    def _decide(self, stamp: int, q: np.ndarray, outcome: Outcome) -> None:
        try:
            answer = self._answers.answer(stamp, q, outcome)
        except VdPolicyError as error:
            self._diagnostics.state(ERROR, str(error))
            return
        if answer is not None:
            self._last = answer
            self._say(answer)
            self._diagnostics.counts["decisions"] += 1
            self._diagnostics.state(OK, "driving")

    def _say(self, answer: Answer) -> None:
        for publisher, positions in ((self._action, answer.noiseless), (self._command, answer.noisy)):
            publisher.publish(encode_trajectory(self._factory, self._answers.robot.joints, positions,
                                                self._answers.period_s, answer.stamp_ns,
                                                self.get_fully_qualified_name()))  # fmt: skip

    def close(self) -> None:
        self._answers.close()


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(ExpertNode, args)


if __name__ == "__main__":
    sys.exit(main())
