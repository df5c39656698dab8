"""The simulated arm in real time, with a clock that the test turns: contacts, the hand, and the way home."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vd_policy.arm.hand import hand_of
from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import load_robot
from vd_policy.messages.outcome import Outcome
from vd_policy.nodes.realtime import RealTime
from vd_policy.sim.env import ArmEnv

ROBOT = load_robot()
HAND = hand_of(ROBOT)
TICK_S = 0.02
BESIDE, UNDER_THE_TABLE = (-0.17, 0.0, 0.08), (-0.17, 0.0, -0.05)


class Clocked:
    """A world in real time and its clock."""

    def __init__(self, task: str, **overrides: object) -> None:
        self.env = ArmEnv(task, ROBOT, image_height=8, image_width=8, overrides=overrides)
        self.world = RealTime(self.env, seed=1)
        self.world.judge(0)
        self.cup = np.array(self.world.outcome.scene)

    def period(self, target: np.ndarray | None = None) -> Outcome:
        """One decision period towards a target, and what the task says then."""
        if target is not None:
            self.world.follow(target)
        for _ in range(round(self.env.settings.period_s / TICK_S)):
            self.world.advance(TICK_S)
        assert self.world.judge(0) is not None
        return self.world.outcome

    def to(self, target: np.ndarray) -> Outcome:
        """As many periods as the way to the target takes."""
        for _ in range(math.ceil(np.abs(target - self.world.q).max() / self.env.settings.max_step_rad)):
            outcome = self.period(target)
            if outcome.last:
                break
        return outcome

    def start_at(self, q: np.ndarray) -> None:
        """Put the arm somewhere."""
        self.world._q = self.world._judged_q = self.world._target = q
        self.env.scene.set_joints(q)

    def around_the_cup(self) -> Outcome:
        """The arm where only the hand has to close."""
        self.to(self.env.q + self.env.expert().nearest(self.env.q))
        return self.to(self.env.q + self.env.expert().nearest(self.env.q))

    def beside(self, offset_m: tuple[float, float, float], q: np.ndarray | None = None) -> np.ndarray:
        """Joint angles with the end effector at an offset from the cup's foot."""
        found = Kinematics(ROBOT).moved_to(self.env.goals()[0] if q is None else q, self.cup + offset_m)
        assert found is not None
        return found


def test_the_hand_does_nothing_by_itself_and_the_cup_in_it_is_no_grasp_yet() -> None:
    clocked = Clocked("grasp")
    outcome = clocked.around_the_cup()
    for _ in range(3):
        assert outcome.in_hand and outcome.reason == "in hand" and not outcome.success and not outcome.failure
        outcome = clocked.period()
    assert clocked.world.fingers_rad.tolist() == HAND.open_rad.tolist()


def test_the_hand_that_is_told_to_closes_around_the_cup_and_that_is_the_grasp() -> None:
    clocked = Clocked("grasp")
    clocked.around_the_cup()
    assert clocked.world.grip(HAND.closed_rad)
    outcomes = [clocked.period()]
    while not outcomes[-1].last:
        outcomes.append(clocked.period())
    assert outcomes[-1].success and outcomes[-1].reward == 24.0 and len(outcomes) <= 2
    closed = clocked.world.fingers_rad
    assert (closed > HAND.open_rad).all() and (closed < HAND.closed_rad - 0.05).any(), "the cup stops the fingers"


def test_a_hand_that_closes_on_nothing_holds_nothing_and_opens_again() -> None:
    clocked = Clocked("grasp")
    clocked.world.grip(HAND.closed_rad * 3)
    for _ in range(2):
        outcome = clocked.period()
    assert clocked.world.fingers_rad.tolist() == HAND.closed_rad.tolist(), "no farther than closed"
    assert not outcome.success and not outcome.in_hand
    clocked.world.grip(HAND.open_rad)
    for _ in range(2):
        clocked.period()
    assert clocked.world.fingers_rad.tolist() == HAND.open_rad.tolist()


def test_fingers_that_open_again_hold_nothing() -> None:
    clocked = Clocked("grasp", end_on_success=False)
    clocked.around_the_cup()
    clocked.world.grip(HAND.closed_rad)
    clocked.period()
    assert clocked.period().success
    clocked.world.grip(HAND.open_rad)
    clocked.period()
    assert not clocked.period().success


@pytest.mark.parametrize(("way", "link", "other"), [
    ((BESIDE, (0.0, 0.0, 0.08)), "finger", "cup"),
    (((-0.17, 0.0, 0.20), UNDER_THE_TABLE), "finger", "table"),
], ids=["the cup from beside", "the table"])  # fmt: skip
def test_a_collision_on_the_way_is_judged_though_the_arm_stops_before_it(way: tuple, link: str, other: str) -> None:
    clocked = Clocked("grasp")
    first, second = (clocked.beside(offset) for offset in way)
    clocked.start_at(first)
    outcome = clocked.to(second)
    assert outcome.failure and outcome.last and outcome.reward == -26.0
    assert link in outcome.reason and outcome.reason.endswith(":" + other)
    assert clocked.env.scene.contact_at(clocked.world.q) is None, "it stands just before"


def test_reaching_into_the_table_is_judged_too() -> None:
    clocked = Clocked("reach")
    clocked.start_at(clocked.beside((-0.1, 0.0, 0.25)))
    outcome = clocked.to(clocked.beside((-0.1, 0.0, -0.05)))
    assert outcome.failure and outcome.reason.endswith(":table")


def test_a_collision_that_is_over_does_not_count_again() -> None:
    clocked = Clocked("grasp", end_on_contact=False)
    start = clocked.beside(BESIDE)
    clocked.start_at(start)
    assert clocked.period(clocked.beside((0.0, 0.0, 0.08))).failure
    assert not clocked.period(start).failure


def test_after_an_episode_the_arm_drives_home_deaf_and_the_hand_is_open_again() -> None:
    clocked = Clocked("grasp")
    clocked.around_the_cup()
    clocked.world.grip(HAND.closed_rad)
    while not clocked.period().last:
        pass
    assert not clocked.world.grip(HAND.open_rad) and not clocked.world.follow(ROBOT.home_rad)
    assert clocked.world.reset() and not clocked.world.reset()
    assert not clocked.world.grip(HAND.open_rad)
    while clocked.world.homing:
        assert clocked.world.judge(0) is None
        clocked.world.advance(TICK_S)
    assert clocked.world.outcome.episode == 1 and np.array_equal(clocked.world.q, ROBOT.home_rad)
    assert clocked.world.fingers_rad.tolist() == HAND.open_rad.tolist()
    assert not np.array_equal(clocked.world.outcome.scene, clocked.cup)


def test_a_task_without_a_grasp_has_no_hand() -> None:
    clocked = Clocked("reach")
    assert not clocked.world.grip(HAND.closed_rad) and len(clocked.world.fingers_rad) == 0
    assert clocked.period().reason == ""


def test_the_arm_stops_at_its_joint_limits_whoever_commands_the_controller() -> None:
    clocked = Clocked("reach")
    beyond = np.array(ROBOT.home_rad)
    beyond[2] = ROBOT.upper_rad[2] + 1.0
    assert clocked.world.follow(beyond)
    for _ in range(2000):
        clocked.world.advance(TICK_S)
        clocked.world._judged_q = clocked.world.q  # as if a decision were over after each tick
    assert clocked.world.q[2] <= ROBOT.upper_rad[2]
