"""The hand: when it closes, and what is let through to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from control_arm import FINGERS, HOME, ArmWithHand

from vd_policy.arm.hand import hand_of
from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.control.gate import State
from vd_policy.control.hand import Hand
from vd_policy.control.hand_gate import QUICKEST_S


@dataclass
class Said:
    """An outcome as far as a hand is concerned."""

    episode: int
    in_hand: bool = False
    step: int = 0


def test_the_hand_opens_with_an_episode_closes_at_the_cup_and_stays_closed_until_the_next() -> None:
    hand = Hand()
    assert hand.closed is None, "nobody has said anything: it may hold something"
    heard = [hand.hear(Said(0, in_hand)) for in_hand in (False, False, True, False)] + [hand.hear(Said(1))]
    assert heard == [False, False, True, True, False]


@pytest.mark.parametrize("closed", [True, False])
def test_an_operators_word_counts_until_the_next_episode(closed: bool) -> None:
    hand = Hand()
    hand.hear(Said(0, not closed))
    hand.closed = closed
    assert hand.hear(Said(0)) is closed
    assert hand.hear(Said(1)) is False


def test_an_operators_word_counts_when_the_first_outcome_heard_is_of_an_episode_that_may_have_begun_before() -> None:
    hand = Hand()
    hand.closed = True
    assert hand.hear(Said(4)) is True, "it may hold something"
    assert hand.hear(Said(5)) is False


def test_an_episode_that_is_first_heard_of_in_the_middle_leaves_the_hand_as_it_is() -> None:
    hand = Hand()
    assert [hand.hear(Said(4, step=step)) for step in (3, 4)] == [None, None], "it may hold something"
    assert hand.hear(Said(4, in_hand=True, step=5)) is True
    assert Hand().hear(Said(4, in_hand=True, step=5)) is True
    assert hand.hear(Said(5)) is False


def test_a_simulator_that_was_started_again_in_its_first_episode_has_begun_the_next() -> None:
    hand = Hand()
    assert [hand.hear(Said(0, in_hand, step)) for step, in_hand in ((0, False), (1, False), (2, True))][-1] is True
    assert hand.hear(Said(0, step=0)) is False


def test_a_hand_keeps_its_fingers_between_open_and_closed() -> None:
    assert FINGERS.clip(np.array([2.0, 1.0])).tolist() == [1.2, 0.5]
    assert FINGERS.clip(np.array([-1.0, -1.0])).tolist() == [0.0, -0.5]
    spec = load_robot()
    assert hand_of(spec).angles(True).tolist() == list(spec.finger_closed_rad)
    with pytest.raises(BadInput, match="finger_joints of gen3_7dof"):
        hand_of(load_robot("gen3_7dof"))
    with pytest.raises(BadInput, match="finger_closed_rad"):
        hand_of(replace(spec, finger_closed_rad=()))


@pytest.fixture
def arm() -> ArmWithHand:
    arm = ArmWithHand()
    arm.settle()
    return arm


def test_a_standing_or_moving_arm_may_move_its_hand(arm: ArmWithHand) -> None:
    assert arm.gate.state is State.HOLDING
    decision = arm.grip()
    assert decision.target.tolist() == [1.2, -0.5] and decision.moves and not decision.refused
    arm.command(HOME + 0.1)
    assert arm.gate.state is State.RUNNING
    assert arm.grip((0.0, 0.5)).moves and not arm.grip((0.0, 0.5)).moves
    assert arm.hand.passed == 3


def test_a_hand_takes_its_time_whatever_is_asked_of_it(arm: ArmWithHand) -> None:
    decision = arm.grip(duration_s=1e-9)
    assert decision.moves and decision.duration_s == QUICKEST_S
    arm.gate.stand_still(decision.duration_s, arm.now_s)
    arm.wait(0.4)
    assert "the hand moves" in arm.command(HOME + 0.05).refused


def test_the_arm_stands_still_while_its_hand_moves_and_obeys_again_afterwards(arm: ArmWithHand) -> None:
    arm.command(HOME + 0.1)
    arm.sent.clear()
    arm._note(arm.gate.stand_still(1.0, arm.now_s))
    assert arm.gate.state is State.HOLDING and np.array_equal(arm.sent[-1], arm.q)
    arm.wait(0.5)
    assert "the hand moves" in arm.command(HOME + 0.1).refused
    assert all(np.array_equal(q, arm.q) for q in arm.sent), "held all the while"
    arm.wait(0.51)
    assert arm.command(HOME + 0.1).state is State.RUNNING


def test_a_repeat_gets_the_time_that_is_left_so_that_the_hand_has_arrived_when_the_arm_is_let_go(
    arm: ArmWithHand,
) -> None:
    first = arm.grip()
    arm.wait(0.4 * first.duration_s)
    again = arm.grip()
    assert not again.moves and again.duration_s == pytest.approx(0.6 * first.duration_s)
    arm.wait(0.6 * first.duration_s)
    assert arm.grip().duration_s == first.duration_s, "it should be there; whatever held it up may be gone"


def test_in_lockstep_a_moving_hand_holds_nothing_up() -> None:
    arm = ArmWithHand(lockstep=True)
    arm.joints(stamp_ns=10)
    arm.gate.stand_still(1.0, arm.now_s)
    assert arm.command(HOME + 0.1, stamp_ns=10).state is State.RUNNING
    assert arm.grip(stamp_ns=10).target is not None


def test_fingers_beyond_the_open_or_the_closed_hand_are_clamped_and_named(arm: ArmWithHand) -> None:
    assert arm.grip((9.0, 0.0)).target.tolist() == [1.2, 0.0]
    assert dict(arm.hand.clamps) == {"thumb": 1}
