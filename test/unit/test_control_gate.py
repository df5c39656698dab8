"""The safety gate as a state machine."""

from __future__ import annotations

import numpy as np
import pytest
from control_arm import HOME, Arm, S

from vd_policy.control.gate import HELD_RAD, State


def test_a_command_passes_when_the_joints_are_trusted() -> None:
    arm = Arm()
    arm.settle()
    decision = arm.command(HOME + 0.05)
    assert decision.state is State.RUNNING
    assert decision.target is not None and decision.target.tolist() == (HOME + 0.05).tolist()
    assert decision.duration_s == 0.5


def test_by_the_clock_a_slow_command_goes_no_farther_than_until_the_next_is_due() -> None:
    slow = Arm(command_timeout_s=0.5)
    slow.settle()
    decision = slow.command(HOME + 0.2, duration_s=5.0)
    assert decision.target is not None and decision.target == pytest.approx(HOME + 0.02)
    assert decision.duration_s == 0.5
    lockstep = Arm(lockstep=True, command_timeout_s=0.5)
    lockstep.joints(stamp_ns=1)
    whole = lockstep.command(HOME + 0.2, duration_s=5.0, stamp_ns=1)
    assert whole.target == pytest.approx(HOME + 0.2) and whole.duration_s == 5.0


def test_nothing_is_sent_before_the_joints_are_trusted() -> None:
    arm = Arm()
    assert arm.joints().target is None
    decision = arm.command(HOME + 0.05)
    assert decision.target is None
    assert "no fresh joint states" in decision.refused
    assert decision.state is State.WAITING


def test_a_gate_that_starts_takes_the_arm_over_where_it_is() -> None:
    arm = Arm()
    decisions = arm.settle()
    assert [d.target is None for d in decisions] == [True, True, False]
    assert decisions[-1].state is State.HOLDING


def test_commands_that_stop_are_followed_by_a_hold_and_may_come_back() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    decision = arm.wait(0.6)
    assert decision.state is State.HOLDING
    assert "no command of /policy" in decision.reason
    assert arm.sent[-1].tolist() == arm.q.tolist()
    assert arm.command(HOME + 0.05).state is State.RUNNING


def test_a_held_position_does_not_creep_with_the_measurement() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    arm.wait(0.6)
    held = arm.sent[-1]
    for _ in range(20):
        arm.q = arm.q - 0.001
        arm.wait(0.1)
    assert all(target.tolist() == held.tolist() for target in arm.sent[-3:])


@pytest.mark.parametrize("stopped", [False, True])
def test_an_arm_that_was_moved_while_its_driver_was_off_is_not_called_back(stopped: bool) -> None:
    arm = Arm()
    arm.settle()
    if stopped:
        arm.gate.stop("e-stop", arm.now_s)
    arm.wait(1.0)
    arm.silence(0.3)
    before = len(arm.sent)
    arm.silence(10.0)
    assert len(arm.sent) == before, "nobody knows where the arm is, so nothing is commanded"
    arm.q = np.array([0.8, 1.3])
    arm.wait(2.0)
    assert len(arm.sent) > before
    assert all(target.tolist() == arm.q.tolist() for target in arm.sent[before:])
    assert arm.gate.state is (State.STOPPED if stopped else State.HOLDING)


def test_an_arm_that_is_pushed_aside_while_it_is_stopped_is_left_where_it_was_pushed() -> None:
    arm = Arm()
    arm.settle()
    arm.gate.stop("e-stop", arm.now_s)
    for _ in range(80):  # by hand, at half of the speed limit
        arm.q = arm.q + 0.005
        arm.wait(0.01)
        assert np.abs(arm.sent[-1] - arm.q).max() <= HELD_RAD + 0.5 * 0.5 + 1e-9
    arm.wait(2.0)
    assert arm.sent[-1].tolist() == arm.q.tolist()
    assert arm.gate.holds["moved by somebody"] >= 1


def test_a_hold_at_the_seam_of_a_continuous_joint_does_not_turn_it_once_around() -> None:
    arm = Arm()
    arm.q = np.array([0.1, np.pi - 0.001])
    arm.settle()
    arm.q = np.array([0.1, -np.pi + 0.001])
    arm.wait(2.0)
    assert np.abs(arm.sent[-1] - arm.q).max() < 0.01


def test_the_reason_names_joint_states_that_stop_while_holding_and_that_come_back() -> None:
    arm = Arm()
    arm.settle()
    assert "no joint states" in arm.silence(1.0).reason
    assert arm.gate.holds["joint states stale"] == 1
    assert "back" in arm.wait(0.1).reason
    assert arm.command(arm.q + 0.05).state is State.RUNNING


def test_joint_states_that_say_the_same_stamp_again_and_again_are_stale() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    stamp_ns = arm.stamp_ns
    for _ in range(40):
        arm.now_s += 0.01
        arm.joints(stamp_ns=stamp_ns)
        arm.gate.tick(arm.now_s)
    assert arm.gate.state is State.HOLDING and "no joint states" in arm.gate.reason
    assert "no fresh joint states" in arm.command(HOME + 0.05).refused


def test_joint_states_that_were_measured_long_ago_are_refused() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    arm.now_s += 1.0
    decision = arm.joints(stamp_ns=arm.stamp_ns - int(0.6 * S))
    assert decision.state is State.HOLDING and "measured 0.600 s ago" in decision.refused


@pytest.mark.parametrize("rate_hz", [100, 25, 18, 10])
def test_a_driven_arm_that_reappears_elsewhere_is_stopped_however_slow_its_driver_is(rate_hz: int) -> None:
    arm = Arm()
    for tick in range(400):  # of 10 ms
        arm.q = HOME if tick < 100 else HOME + 0.8
        arm.now_s += 0.01
        if tick % round(100 / rate_hz) == 0:
            arm.joints()
        arm._note(arm.gate.tick(arm.now_s))
        if tick % 10 == 0 and arm.gate.q is not None:
            arm.command(arm.gate.q + 0.02)
    assert arm.gate.state is State.STOPPED and "cannot have moved to" in arm.gate.reason


def test_a_driven_arm_that_stands_where_it_cannot_have_moved_to_is_stopped_there() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    arm.q = HOME + 0.8
    for _ in range(20):
        arm.now_s += 0.01
        arm.joints()
        arm.command(arm.q + 0.4)
    assert arm.gate.filter.relocations == 1
    assert arm.gate.state is State.STOPPED and "cannot have moved to" in arm.gate.reason
    assert np.abs(np.array(arm.sent[:-1]) - HOME).max() <= 0.5, "steps from where it was believed to be"
    assert arm.sent[-1].tolist() == arm.q.tolist()


def test_a_command_that_takes_years_is_refused() -> None:
    arm = Arm()
    arm.settle()
    assert "at most 600 s" in arm.command(HOME + 0.05, duration_s=2147483648.0).refused
    assert arm.gate.state is State.HOLDING


def test_a_stop_before_the_first_joints_holds_as_soon_as_they_come() -> None:
    arm = Arm()
    assert arm.gate.stop("e-stop", arm.now_s).target is None
    *before, decision = arm.settle()
    assert all(d.target is None for d in before), "a driver that comes up may say anything at first"
    assert decision.state is State.STOPPED
    assert decision.target is not None and decision.target.tolist() == HOME.tolist()


@pytest.mark.parametrize("by", ["an operator", "a command"])
def test_a_stop_while_nobody_knows_where_the_arm_is_calls_it_back_from_nowhere(by: str) -> None:
    arm = Arm()
    arm.settle()
    arm.silence(60.0)
    arm.sent.clear()
    decision = arm.gate.stop("e-stop", arm.now_s) if by == "an operator" else arm.command(np.array([np.nan, 0.0]))
    assert decision.state is State.STOPPED and decision.target is None
    arm.silence(5.0)
    arm.q = HOME + 0.8  # moved by hand meanwhile
    arm.settle()
    arm.wait(2.0)
    assert arm.sent and all(q.tolist() == arm.q.tolist() for q in arm.sent), "held where it stands"


def test_a_gate_that_stood_still_itself_does_not_send_the_arm_back_to_where_it_was_long_ago() -> None:
    """Timers come before messages: the first that a process sees after a stall is that the joint states are old."""
    for end in ("tick", "halt", "stop"):
        arm = Arm()
        arm.settle()
        arm.command(HOME + 0.05)
        sent = len(arm.sent)
        arm.now_s += 3.0
        if end == "tick":
            arm.silence(1.0)
        elif end == "halt":
            arm._note(arm.gate.halt("ends", arm.now_s))
        else:
            arm._note(arm.gate.stop("stop", arm.now_s))
        assert arm.gate.state is not State.RUNNING and len(arm.sent) == sent, end
        arm.q = HOME + 0.2  # where it was brought meanwhile
        arm.wait(0.2)
        assert arm.sent[-1].tolist() == arm.q.tolist(), "it is held where it stands once that is known"


def test_joint_states_of_another_time_hold_a_driven_arm_where_it_was_a_moment_ago() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    decision = arm.joints(stamp_ns=arm.stamp_ns - S)
    assert decision.state is State.HOLDING and decision.target is not None and decision.target.tolist() == HOME.tolist()


@pytest.mark.parametrize("age_s", [0.0, 0.1, 0.2])
def test_no_joint_can_be_faster_than_its_limit_however_old_the_measurement_is(age_s: float) -> None:
    """In that time it may have gone the other way at full speed."""
    arm = Arm()
    for _ in range(3):
        arm.now_s += 0.01
        arm.joints(stamp_ns=arm.stamp_ns - int(age_s * S))
    decision = arm.command(HOME + np.array([0.05, 0.0]), duration_s=0.1)
    assert decision.target is not None
    farthest = np.abs(decision.target - HOME).max() + 1.0 * age_s
    assert farthest / decision.duration_s <= 1.0 + 1e-9
    assert decision.duration_s == pytest.approx(max(0.1, 0.05 + age_s))


def test_a_command_on_joints_that_have_become_too_old_since_they_came_is_refused() -> None:
    arm = Arm(joints_timeout_s=0.4, joints_age_s=0.5)
    for _ in range(3):
        arm.now_s += 0.01
        arm.joints(stamp_ns=arm.stamp_ns - int(0.45 * S))
    assert arm.command(HOME + 0.05).state is State.RUNNING
    arm.now_s += 0.1
    assert "the arm was measured 0.550 s ago" in arm.command(HOME + 0.05).refused


def test_an_arm_that_does_not_do_what_it_is_told_is_stopped_before_it_starts_by_itself() -> None:
    """A controller that is not active, or an emergency stop that somebody will release."""
    arm = Arm(follow_timeout_s=2.0)
    arm.settle()

    def driven(seconds: float, step_rad: float, follows: float) -> State:
        for _ in range(round(seconds / 0.1)):
            arm.wait(0.1)
            state = arm.command(arm.q + np.array([0.0, step_rad])).state
            arm.q = arm.q + np.array([0.0, follows * step_rad])
        return state

    assert driven(5.0, 0.2, follows=0.2) is State.RUNNING
    assert driven(5.0, 0.09, follows=0.0) is State.RUNNING, "so little may be less than its friction"
    assert driven(1.9, 0.2, follows=0.0) is State.RUNNING
    assert driven(0.3, 0.2, follows=0.0) is State.STOPPED and "has not moved for 2 s" in arm.gate.reason
    never = Arm(follow_timeout_s=0.0)
    never.settle()
    for _ in range(50):
        never.wait(0.1)
        assert never.command(HOME + 0.2).state is State.RUNNING


def test_after_a_reset_whoever_commanded_on_through_the_stop_has_to_fall_silent_first() -> None:
    arm = Arm(command_timeout_s=0.5)
    arm.settle()
    for _ in range(20):
        arm.wait(0.1)
        decision = arm.command(HOME + 0.05)
        if arm.gate.state is State.RUNNING and arm.now_s > 11.0:
            arm.gate.stop("e-stop", arm.now_s)
    assert decision.state is State.STOPPED and arm.gate.persisting(arm.now_s)
    assert arm.gate.reset(arm.now_s).state is State.HOLDING
    for _ in range(20):
        arm.wait(0.1)
        assert "it came on through the stop" in arm.command(HOME + 0.05).refused
    assert arm.gate.refusals["commanded through a stop"] == 20
    arm.wait(0.6)
    assert arm.command(HOME + 0.05).state is State.RUNNING


def test_after_a_reset_a_new_command_needs_no_silence_where_there_was_some() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    arm.gate.stop("e-stop", arm.now_s)
    arm.wait(1.0)
    arm.gate.reset(arm.now_s)
    assert arm.command(HOME + 0.05).state is State.RUNNING


def test_a_second_stop_keeps_the_first_reason() -> None:
    arm = Arm()
    arm.gate.stop("first", 0.0)
    assert arm.gate.stop("second", 0.0).reason == "first"


def test_a_reset_is_refused_while_the_position_is_unknown() -> None:
    arm = Arm()
    arm.settle()
    arm.gate.stop("e-stop", arm.now_s)
    arm.now_s += 10.0
    decision = arm.gate.reset(arm.now_s)
    assert decision.state is State.STOPPED
    assert "no fresh joint states" in decision.refused


def test_a_reset_does_nothing_to_a_gate_that_is_not_stopped() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    assert arm.gate.reset(arm.now_s).state is State.RUNNING


def test_halting_holds_without_latching() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 0.05)
    assert arm.gate.halt("ends", arm.now_s).target is not None
    assert arm.command(HOME).state is State.RUNNING


def test_every_hold_and_clamp_is_counted_by_name() -> None:
    arm = Arm()
    arm.settle()
    arm.command(HOME + 5.0)
    arm.wait(0.6)
    assert arm.gate.clamps["step:a"] == 1
    assert arm.gate.holds == {"start": 1, "commands stopped": 1}


def lockstep() -> Arm:
    arm = Arm(lockstep=True)
    arm.joints()
    return arm


def test_in_lockstep_the_stamp_goes_through_and_nothing_times_out() -> None:
    arm = lockstep()
    decision = arm.command(HOME + 0.05, stamp_ns=arm.stamp_ns)
    assert decision.stamp_ns == arm.stamp_ns
    arm.now_s += 1000.0
    after = arm.gate.tick(arm.now_s)
    assert after.target is None and after.state is State.RUNNING


def test_in_lockstep_a_command_that_overtook_its_joints_waits_for_them() -> None:
    arm = lockstep()
    ahead = arm.stamp_ns + S
    assert arm.command(HOME + 0.3, stamp_ns=ahead).target is None
    arm.q = HOME + 0.25
    decision = arm.joints(stamp_ns=ahead)
    assert decision.target is not None and decision.target.tolist() == (HOME + 0.3).tolist()
    assert not arm.gate.clamps


def test_in_lockstep_an_answer_to_an_observation_that_is_over_is_refused() -> None:
    arm = lockstep()
    over = arm.stamp_ns
    arm.joints(stamp_ns=over + S)
    assert "is over" in arm.command(HOME, stamp_ns=over).refused


def test_in_lockstep_a_repeated_answer_passes_again() -> None:
    arm = lockstep()
    first, second = (arm.command(HOME + 0.05, stamp_ns=arm.stamp_ns) for _ in range(2))
    assert first.target is not None and second.target is not None


def test_in_lockstep_the_arm_may_jump_home_and_time_may_start_again() -> None:
    arm = lockstep()
    arm.q = HOME + 2.0
    arm.joints(stamp_ns=arm.stamp_ns + S)
    arm.q = HOME
    arm.joints(stamp_ns=S)
    assert arm.command(HOME + 0.05, stamp_ns=S).target is not None


def test_in_lockstep_a_stop_still_stops() -> None:
    arm = lockstep()
    arm.gate.stop("e-stop", arm.now_s)
    decision = arm.command(HOME, stamp_ns=arm.stamp_ns)
    assert decision.stamp_ns == 0 and decision.state is State.STOPPED


@pytest.mark.parametrize("duration_s", [0.0, -1.0, np.nan, np.inf])
def test_a_command_without_a_sensible_duration_is_refused(duration_s: float) -> None:
    arm = Arm()
    arm.settle()
    assert "time_from_start" in arm.command(HOME, duration_s=duration_s).refused
