"""Fault 40: `sim/reset` in the middle of a step, and twice at once, is one clean reset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commander import HOME, SPEC, Commander
from ros_graph import RosGraph
from trajectory_msgs.msg import JointTrajectory

from vd_policy.base.seeds import Seeds
from vd_policy.control.hand import Hand
from vd_policy.demos.bag import bag_paths, read_recording, unfinished_paths
from vd_policy.demos.factory import from_cdr
from vd_policy.demos.reader import open_bag
from vd_policy.demos.storage import bag_topic
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import DemonstrateOptions
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.outcome import Outcome
from vd_policy.messages.topics import GRIPPER_COMMAND, GRIPPER_TRAJECTORY, JOINT_STATES
from vd_policy.sim.env import ArmEnv

SIZE = {"image_height": 16, "image_width": 16}
SEED = 3
BOTH_TASKS = pytest.mark.parametrize("task", ["reach", "grasp"])


def moving(ros: RosGraph, **parameters: object) -> Commander:
    """A sim in lockstep that is two steps into its first episode."""
    commander = Commander(ros)
    ros.start("sim", seed=SEED, **SIZE, **parameters)
    commander.connect()
    for _ in range(2):
        commander.step(HOME + 0.05)
    return commander


def steps_of(commander: Commander) -> list[tuple[int, int]]:
    return [(outcome.episode, outcome.step) for _, outcome in commander.outcomes()]


@BOTH_TASKS
def test_two_resets_at_once_in_the_middle_of_a_step_begin_one_episode(ros: RosGraph, task: str) -> None:
    """FAULTS 40."""
    commander = moving(ros, task=task)
    commander.send(HOME + 0.1)  # a step is on its way while the resets arrive
    assert all(answer.success for answer in ros.probe.calls("sim/reset", 2))
    ros.wait_for(lambda: commander.outcome.episode == 1, "the next episode")
    obs, outcome, _ = commander.observation()
    env = ArmEnv(task, **SIZE)
    expected, info = env.reset(seed=Seeds(SEED).integer("episode", 1))
    assert (outcome.episode, outcome.step, outcome.reward) == (1, 0, 0.0)
    assert outcome.scene == tuple(info["scene"])
    assert np.array_equal(obs["rgb"], expected["rgb"]) and np.array_equal(obs["depth"], expected["depth"])
    assert np.array_equal(obs["q"], env.q)
    env.close()
    assert commander.step(HOME)[1].step == 1
    assert steps_of(commander)[-2:] == [(1, 0), (1, 1)], "no second reset came behind"


@BOTH_TASKS
def test_an_answer_to_the_observation_before_the_reset_is_not_executed(ros: RosGraph, task: str) -> None:
    """FAULTS 40."""
    commander = moving(ros, task=task)
    stale = commander.stamp
    assert ros.probe.call("sim/reset").success
    ros.wait_for(lambda: commander.outcome.episode == 1, "the next episode")
    commander.send(HOME + 0.3, stamp=stale)
    ros.wait_for(lambda: commander.diagnostics("sim").get("dropped") == "1", "the stale command counted")
    obs, outcome, _ = commander.observation()
    assert outcome.step == 0 and np.array_equal(obs["q"], HOME)


@BOTH_TASKS
def test_resets_under_full_speed_leave_a_gapless_story_and_whole_bags_only(
    ros: RosGraph, tmp_path: Path, task: str
) -> None:
    """FAULTS 40."""
    commander = Commander(ros)
    options = DemonstrateOptions(task=task, out=str(tmp_path), seed=SEED, **SIZE)
    processes = {spec.name: ros.start(spec.executable, **spec.parameters) for spec in graph("demonstrate", options)}
    commander.connect()
    ros.wait_for(lambda: len(bag_paths(tmp_path)) >= 2, "two episodes")
    for _ in range(3):
        seen = commander.outcome.episode
        ros.wait_for(lambda seen=seen: commander.outcome.episode > seen and commander.outcome.step > 0, "a new episode")
        assert all(answer.success for answer in ros.probe.calls("sim/reset", 2))
    count = len(bag_paths(tmp_path))
    ros.wait_for(lambda: len(bag_paths(tmp_path)) >= count + 2, "two more episodes")
    assert processes["recorder"].stop() == 0
    follows_on(commander)
    assert not unfinished_paths(tmp_path)
    for recording in map(read_recording, bag_paths(tmp_path)):
        steps = [outcome.step for outcome in recording.outcome.values()]
        assert sorted(steps) == list(range(len(steps))) and recording.outcome[max(recording.outcome)].last
        assert all(recording.has_observation(stamp) for stamp in recording.outcome)
        if task == "grasp":
            hand = Hand()
            expected = {stamp: hand.hear(outcome) for stamp, outcome in sorted(recording.outcome.items())}
            said = hand_closed(recording.path)
            connecting = min(expected)  # the gripper's first word may come before the recorder has found it
            assert said == {stamp: closed for stamp, closed in expected.items() if stamp in said or stamp != connecting}


def hand_closed(path: Path) -> dict[int, bool]:
    """What a bag says the hand was commanded to, by stamp."""
    with open_bag(path) as bag:
        said = [from_cdr(raw.cdr, raw.type_name) for raw in bag.messages({bag_topic(GRIPPER_COMMAND)})]
    return {stamp_ns(msg): bool(np.any(msg.points[0].positions)) for msg in said}


def test_two_resets_while_the_hand_closes_around_the_cup_open_it_and_begin_one_episode(ros: RosGraph) -> None:
    """FAULTS 40: by the clock, where the hand moves by its own topic."""
    commander, hand = Commander(ros), ros.probe.listen(JointTrajectory, GRIPPER_TRAJECTORY)
    options = DemonstrateOptions(task="grasp", mode="realtime", noise=0.0, out="", **SIZE)
    for spec in graph("demonstrate", options):
        if spec.name != "recorder":
            ros.start(spec.executable, **spec.parameters)
    commander.connect()

    def fingers() -> np.ndarray:
        states = commander.heard[JOINT_STATES][-1]
        return np.array([a for name, a in zip(states.name, states.position) if "finger" in name])

    ros.wait_for(lambda: fingers().any(), "the hand to close")
    assert commander.outcome.reason == "in hand" and commander.outcome.episode == 0
    assert all(answer.success for answer in ros.probe.calls("sim/reset", 2))
    ros.wait_for(lambda: commander.outcome.episode == 1, "the next episode")
    ros.wait_for(lambda: not fingers().any(), "the open hand")
    ros.wait_for(lambda: commander.outcome.success, "a grasp in the next episode")
    assert commander.outcome.episode == 1 and fingers().any(), "no second reset came behind"
    reasons = [o.reason for _, o in commander.outcomes() if o.episode == 1]
    assert "in hand" in reasons and reasons[-1] == "success"
    assert {tuple(msg.joint_names) for msg in hand} == {SPEC.finger_joints}


def follows_on(commander: Commander) -> None:
    """Each outcome is the next step of its episode or the first of the next one; time advances by one period each."""
    outcomes: list[tuple[int, Outcome]] = commander.outcomes()
    for (before_ns, before), (after_ns, after) in zip(outcomes, outcomes[1:]):
        assert after_ns - before_ns == 1_100_000_000
        next_step = (after.episode, after.step) == (before.episode, before.step + 1) and not before.last
        next_episode = (after.episode, after.step) == (before.episode + 1, 0)
        assert next_step or next_episode, (before, after)
