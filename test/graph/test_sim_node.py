"""The sim node over real DDS: lockstep, real time, and what it refuses."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from commander import HOME, PERIOD_S, SPEC, Commander
from ros_graph import RosGraph
from rosgraph_msgs.msg import Clock

from vd_policy.base.seeds import Seeds
from vd_policy.messages.header import stamp_ns, time_ns
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.topics import COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, JOINT_STATES, OUTCOME
from vd_policy.sim.env import ArmEnv

SIZE = {"image_height": 16, "image_width": 24}
SEED = 5


@pytest.fixture(scope="module")
def graph() -> Iterator[RosGraph]:
    with RosGraph() as ros:
        yield ros


@pytest.fixture(scope="module")
def sim(graph: RosGraph) -> Commander:
    commander = Commander(graph)
    graph.start("sim", seed=SEED, republish_s=0.1, **SIZE)
    commander.connect()
    return commander


def away(k: int) -> np.ndarray:
    """Targets that wander a little around home, free of the table."""
    return HOME + 0.1 * np.sin(np.arange(6) + k)


def test_the_graph_carries_the_very_bits_of_the_environment(graph: RosGraph, sim: Commander) -> None:
    graph.probe.call("sim/reset")
    obs, outcome, _ = sim.observation()
    with_env = ArmEnv(**SIZE)
    expected, info = with_env.reset(seed=Seeds(SEED).integer("episode", outcome.episode))
    assert outcome.step == 0 and outcome.scene == tuple(info["scene"])
    for k in range(4):
        assert np.array_equal(obs["rgb"], expected["rgb"])
        assert np.array_equal(obs["depth"], expected["depth"])
        assert np.array_equal(obs["q"], with_env.q)
        obs, outcome, _ = sim.step(away(k))
        expected, reward, terminated, truncated, info = with_env.step_to(away(k))
        assert (outcome.step, outcome.reward, outcome.distance_m) == (k + 1, reward, info["distance_m"])
        assert (outcome.terminated, outcome.truncated) == (terminated, truncated)
    with_env.close()


def test_all_parts_of_an_observation_carry_one_stamp(graph: RosGraph, sim: Commander) -> None:
    for k in range(3):
        sim.step(away(k))
    sim.observation()
    stamps = {stamp for stamp, _ in sim.outcomes()}
    for topic in (JOINT_STATES, COLOR, COLOR_INFO, DEPTH, DEPTH_INFO):
        graph.wait_for(lambda topic=topic: sim.stamps(topic) == stamps, f"the same stamps on {topic} and {OUTCOME}")


def test_simulated_time_advances_by_the_decision_period_and_is_on_the_clock(graph: RosGraph, sim: Commander) -> None:
    clocks = graph.probe.listen(Clock, "/clock")
    graph.wait_for(lambda: clocks, "a clock")
    stamps = [sim.step(away(k))[2] for k in range(3)]
    assert set(np.diff(stamps)) == {round(PERIOD_S * 1e9)}
    graph.wait_for(lambda: time_ns(clocks[-1].clock) == stamps[-1], "the clock at the newest stamp")


def test_only_the_answer_to_the_present_observation_is_executed(graph: RosGraph, sim: Commander) -> None:
    sim.step(HOME)
    dropped = int(sim.diagnostics("sim").get("dropped", 0))
    before = sim.outcome
    for stamp in (sim.stamp - 1, sim.stamp + 1, 0):
        sim.send(away(7), stamp=stamp)
    graph.wait_for(lambda: int(sim.diagnostics("sim").get("dropped", 0)) == dropped + 3, "three dropped commands")
    assert sim.outcome == before
    assert sim.step(HOME)[1].step == before.step + 1


def test_an_unanswered_observation_is_repeated_unchanged(graph: RosGraph, sim: Commander) -> None:
    stamp, outcome = sim.stamp, sim.outcome
    count = len(sim.heard[OUTCOME])
    graph.wait_for(lambda: len(sim.heard[OUTCOME]) >= count + 3, "three repeats")
    assert sim.stamp == stamp and sim.outcome == outcome
    images = [m for m in sim.heard[COLOR] if stamp_ns(m) == stamp]
    assert len({decode_color(m).tobytes() for m in images}) == 1


def test_a_command_for_other_joints_or_with_nan_is_refused_and_counted(graph: RosGraph, sim: Commander) -> None:
    before = sim.outcome
    sim.send(HOME, names=tuple(f"other_{i}" for i in range(6)))
    sim.send([np.nan] * 6)
    graph.wait_for(lambda: sim.diagnostics("sim").get("refused") == "2", "two refused commands")
    assert sim.outcome == before


def test_after_the_episodes_asked_for_the_node_ends_with_everything_sent(ros: RosGraph) -> None:
    commander = Commander(ros)
    process = ros.start("sim", episodes=2, republish_s=0.1, **SIZE)
    commander.connect()
    commander.answer_until(lambda: not process.running, lambda outcome: HOME)
    assert process.wait() == 0
    assert commander.outcome.episode == 1 and commander.outcome.truncated
    assert commander.stamps(DEPTH) == commander.stamps(OUTCOME)


def test_in_real_time_the_arm_follows_at_its_speed_limits_and_is_judged_every_period(ros: RosGraph) -> None:
    commander = Commander(ros)
    process = ros.start("sim", mode="realtime", joint_rate_hz=100.0, **SIZE)
    commander.connect()
    start = len(commander.heard[JOINT_STATES])
    target = HOME + np.array([0.5, 0, 0, 0, 0, 0.3])
    commander.send(target, stamp=0)
    ros.wait_for(lambda: np.allclose(commander.heard[JOINT_STATES][-1].position, target, atol=1e-9), "the arm there")
    moved = commander.heard[JOINT_STATES][start:]
    seconds = np.diff([stamp_ns(m) for m in moved]) / 1e9
    steps = np.abs(np.diff([m.position for m in moved], axis=0))
    # a stamp is taken after the motion it stamps: single intervals jitter with the machine, their sum does not
    assert (steps.sum(axis=0) <= np.array(SPEC.speed_limit_rad_s) * (seconds.sum() + 0.5)).all()
    assert (steps[:, 0] > 0).sum() > 5
    steps_seen = len(commander.outcomes())
    ros.wait_for(lambda: len(commander.outcomes()) >= steps_seen + 2, "two more decision periods")
    numbers = [o.step for _, o in commander.outcomes()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    stamps = {stamp for stamp, _ in commander.outcomes()}
    ros.wait_for(lambda: stamps <= commander.stamps(COLOR) & commander.stamps(JOINT_STATES), "what was judged")
    assert len(commander.stamps(COLOR)) > 3 * len(stamps), "pictures between the decisions too"
    assert decode_depth(commander.heard[DEPTH][-1]).shape == (16, 24)
    assert process.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"image_heigth": 16}, ("image_heigth", "did you mean 'image_height'")),
        ({"mode": "fast"}, ("mode", "'fast'", "lockstep, realtime")),
        ({"task": "juggle"}, ("juggle", "reach")),
    ],
)
def test_a_wrong_parameter_refuses_the_start_with_one_line(ros: RosGraph, parameters: dict, words: tuple) -> None:
    process = ros.start("sim", **parameters)
    assert process.wait() == 2
    lines = [line for line in process.lines if "pybullet build time" not in line]
    assert len(lines) == 1 and all(word in lines[0] for word in words), process.output
