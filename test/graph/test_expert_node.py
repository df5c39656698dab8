"""The expert node over real DDS, with the test process in the place of the sim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from commander import HOME, SPEC
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import RosGraph
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vd_policy.arm.expert import Expert, ExpertSettings
from vd_policy.base.seeds import Seeds
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COMMAND, EXPERT_ACTION, JOINT_STATES, OUTCOME
from vd_policy.messages.trajectory import JointTarget, decode_trajectory
from vd_policy.nodes.ros import RclpyFactory
from vd_policy.sim.env import ArmEnv

NOISE = 0.2
CUP = (0.45, 0.1, 0.0)
START = Outcome("reach", episode=0, step=0, reward=0.0, distance_m=0.5, success=False, failure=False, reason="",
                terminated=False, truncated=False, seed=77, scene=CUP)  # fmt: skip


class World:
    """Publishes observations as the sim would, and hears the expert."""

    def __init__(self, ros: RosGraph) -> None:
        self.ros, probe = ros, ros.probe
        self.diagnostics = probe.diagnostics()
        self.commands: list[Any] = probe.listen(JointTrajectory, COMMAND)
        self.actions: list[Any] = probe.listen(JointTrajectory, EXPERT_ACTION)
        ros.start("expert", noise_std_rad=NOISE, clip_noise=False)
        self._joints = probe.publisher(JointState, JOINT_STATES)
        self._outcome = probe.publisher(DiagnosticArray, OUTCOME)
        self._factory = RclpyFactory()
        self.stamp = 0
        ros.wait_for(self._answered, "the expert being heard on both topics")

    def _answered(self) -> bool:
        """Ask anew, since what the expert says before it has found our subscriptions is lost."""
        self.show(HOME, replace(START, episode=-1))
        return bool(self.commands and self.actions)

    def show(self, q: np.ndarray, outcome: Outcome, stamp: int | None = None) -> None:
        """One observation, by default one period after the last."""
        self.stamp = self.stamp + 1_100_000_000 if stamp is None else stamp
        self._joints.publish(encode_joints(self._factory, SPEC.joints, q, self.stamp))
        self._outcome.publish(encode_outcome(self._factory, outcome, self.stamp))

    def ask(self, q: np.ndarray, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and noiseless answer to an observation: absolute joint angles, (J,) each."""
        self.show(q, outcome)
        answers = [self._answer(heard) for heard in (self.commands, self.actions)]
        return answers[0].positions, answers[1].positions

    def _answer(self, heard: list[Any]) -> JointTarget:
        def found() -> JointTarget | None:
            return next((t for m in heard if (t := decode_trajectory(m, SPEC.joints)).stamp_ns == self.stamp), None)

        return self.ros.wait_for(found, f"the expert's answer to {self.stamp}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with RosGraph() as graph:
        yield World(graph)


def test_the_expert_gives_the_decisions_and_the_noise_of_the_one_made_in_process(world: World) -> None:
    env = ArmEnv(image_height=8, image_width=8)
    env.reset(seed=START.seed, options={"cup": CUP})
    expert = Expert(env.goals(), SPEC.continuous, ExpertSettings("clipped", NOISE, False, env.settings.max_step_rad))
    rng = Seeds(START.seed).rng("expert")
    for step in range(3):
        q = HOME + 0.05 * step
        noisy, noiseless = world.ask(q, replace(START, step=step))
        expected_noisy, expected_noiseless = expert.act(q, rng)
        assert np.array_equal(noiseless, q + expected_noiseless)
        assert np.array_equal(noisy, q + expected_noisy)
    env.close()


def test_a_repeated_observation_gets_the_same_answer_without_new_noise(world: World) -> None:
    outcome = replace(START, episode=1, seed=78)
    noisy, noiseless = world.ask(HOME, outcome)
    world.show(HOME, outcome, stamp=world.stamp)
    answers = world.ros.wait_for(
        lambda: [m for m in world.commands if stamp_ns(m) == world.stamp][1:], "the answer again"
    )
    assert list(answers[0].points[0].positions) == list(noisy)
    following, _ = world.ask(HOME, replace(outcome, step=1))
    rng = Seeds(78).rng("expert")
    first, second = rng.normal(0.0, NOISE, 6), rng.normal(0.0, NOISE, 6)
    assert np.allclose(noisy - noiseless, first) and np.allclose(following - noiseless, second)


def test_nobody_commands_after_the_last_observation_of_an_episode(world: World) -> None:
    world.ask(HOME, replace(START, episode=2))
    world.show(HOME, replace(START, episode=2, step=1, success=True, terminated=True, reason="success"))
    last = world.stamp
    world.ask(HOME, replace(START, episode=3))
    assert last not in map(stamp_ns, world.commands + world.actions)


def test_a_cup_out_of_reach_is_reported_and_not_commanded_to(world: World) -> None:
    world.show(HOME, replace(START, episode=4, scene=(2.0, 0.0, 0.0)))
    world.ros.wait_for(lambda: world.diagnostics("expert").get("level") == "2", "an error in the diagnostics")
    assert "cup" in world.diagnostics("expert")["message"]
    unreachable = world.stamp
    world.ask(HOME, replace(START, episode=5))
    assert unreachable not in map(stamp_ns, world.commands + world.actions)
    world.ros.wait_for(lambda: world.diagnostics("expert").get("level") == "0", "all well again")
