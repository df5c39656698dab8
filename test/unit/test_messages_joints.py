"""Joint states, commands and outcomes to messages and back."""

from __future__ import annotations

import numpy as np
import pytest
from message_factory import FACTORIES

from vd_policy.base.errors import BadInput
from vd_policy.messages.header import MAX_STAMP_NS, duration, stamp_ns, time, time_ns
from vd_policy.messages.joints import JointReader, encode_joints
from vd_policy.messages.outcome import Outcome, decode_outcome, encode_outcome
from vd_policy.messages.topics import RECORDED, TOPICS
from vd_policy.messages.trajectory import decode_trajectory, encode_trajectory

NAMES = ("a", "b", "c")
Q = np.array([0.1, -2.0, 3.5])


@pytest.fixture(params=FACTORIES, ids=lambda f: type(f).__name__)
def factory(request):
    return request.param


def test_joint_angles_come_back_in_the_order_asked_for(factory):
    msg = encode_joints(factory, NAMES, Q, 7)
    assert np.array_equal(JointReader(("c", "a")).read(msg), [3.5, 0.1])
    assert stamp_ns(msg) == 7


def test_a_reader_follows_a_driver_that_changes_its_order(factory):
    reader = JointReader(("a", "b"))
    reader.read(encode_joints(factory, ("a", "b"), np.array([1.0, 2.0]), 1))
    assert np.array_equal(reader.read(encode_joints(factory, ("b", "a"), np.array([1.0, 2.0]), 2)), [2.0, 1.0])


def test_signs_and_offsets_turn_a_driver_s_angles_into_ours(factory):
    reader = JointReader(NAMES, signs={"b": -1.0}, offsets_rad={"b": 0.5, "c": -1.0})
    assert np.allclose(reader.read(encode_joints(factory, NAMES, Q, 1)), [0.1, 2.5, 2.5])


@pytest.mark.parametrize("options", [{"signs": {"z": 1.0}}, {"offsets_rad": {"z": 1.0}}, {"signs": {"a": 2.0}}])
def test_signs_and_offsets_of_unknown_joints_are_refused(options):
    with pytest.raises(BadInput):
        JointReader(NAMES, **options)


def test_a_command_comes_back_by_name_with_its_sender_and_duration(factory):
    msg = encode_trajectory(factory, NAMES, Q, 1.1, 99, "expert")
    target = decode_trajectory(msg, ("b", "c", "a"))
    assert np.array_equal(target.positions, [-2.0, 3.5, 0.1])
    assert (target.duration_s, target.stamp_ns, target.sender) == (1.1, 99, "expert")


def test_an_outcome_comes_back_to_the_last_bit(factory):
    outcome = Outcome(
        "reach", 3, 7, -1 / 3, 0.1 + 0.2, True, False, "contact:a:b", True, False, 2**31 - 1, (0.1, -0.2, 1e-17)
    )
    assert decode_outcome(encode_outcome(factory, outcome, 5)) == outcome


def test_an_outcome_of_another_task_node_may_leave_out_what_only_we_use(factory):
    msg = encode_outcome(factory, Outcome("reach", 0, 1, 1.0, 0.5, True, False, "", True, False, 1, (1.0,)), 5)
    needed = ("episode", "step", "reward", "distance", "success", "failure", "reason")
    msg.status[0].values = [v for v in msg.status[0].values if v.key in needed]
    outcome = decode_outcome(msg)
    assert (outcome.task, outcome.scene, outcome.terminated, outcome.truncated) == ("reach", (), True, False)


@pytest.mark.parametrize("key,value", [("step", "three"), ("reward", "nan"), ("success", "maybe"), ("scene", "1 inf")])
def test_an_outcome_that_does_not_parse_is_refused_by_name(factory, key, value):
    msg = encode_outcome(factory, Outcome("reach", 0, 1, 1.0, 0.5, True, False, "", True, False, 1, ()), 5)
    next(v for v in msg.status[0].values if v.key == key).value = value
    with pytest.raises(BadInput, match=f"task/outcome: {key}"):
        decode_outcome(msg)


def test_times_split_into_seconds_and_nanoseconds(factory):
    for value in (0, 1, 999_999_999, 1_000_000_000, MAX_STAMP_NS):
        made = time(factory, value)
        assert time_ns(made) == value and made.nanosec < 1_000_000_000
    assert time_ns(duration(factory, 1.1)) == 1_100_000_000
    for bad in (-1, MAX_STAMP_NS + 1):
        with pytest.raises(BadInput):
            time(factory, bad)


def test_the_topic_table_names_every_recorded_topic_once():
    assert len(set(RECORDED)) == len(RECORDED) == 11
    assert all(TOPICS[name].name == name and TOPICS[name].type.count("/msg/") == 1 for name in TOPICS)
    assert set(RECORDED) <= set(TOPICS)
