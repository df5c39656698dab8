"""Episode bags: written, read, played."""

from __future__ import annotations

from dataclasses import replace

import demo_bags
import numpy as np
import pytest
from demo_bags import INFO, JOINTS, write_episode, write_steps
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from vd_policy.arm.driver import DriverJoint
from vd_policy.base.errors import BadInput
from vd_policy.demos.bag import EpisodeInfo, EpisodeWriter, bag_paths, next_index, read_episode, read_recording
from vd_policy.demos.factory import RosbagsFactory, frame_in_front, from_cdr, stamp_in_front, to_cdr
from vd_policy.demos.reader import custom_data, open_bag
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.topics import COMMAND, JOINT_STATES, OUTCOME, RECORDED, TOPICS, TRAJECTORY
from vd_policy.messages.trajectory import answering, encode_trajectory


def test_an_episode_comes_back_bit_for_bit(tmp_path):
    path, made = write_episode(tmp_path, index=4, steps=5)
    episode = read_episode(path)
    assert path.name == "episode_000004"
    assert np.array_equal(episode.obs["rgb"], made.rgb)
    assert np.array_equal(episode.obs["depth"], made.depth)
    assert np.array_equal(episode.obs["q"], made.q.astype(np.float32))
    for got, target in ((episode.label, made.label), (episode.action, made.command), (episode.applied, made.executed)):
        assert np.array_equal(got, ((target - made.q[:-1]) / INFO.max_step_rad).astype(np.float32))
    assert np.array_equal(episode.reward, np.float32([0.1, 0.2, 0.1 * 3, 0.4, 0.5]))
    assert (episode.success, episode.terminated, episode.truncated) == (True, True, False)
    assert (episode.task, episode.source, episode.seed) == ("reach", "expert", 5)


def test_joints_in_a_drivers_terms_are_read_back_in_the_arms(tmp_path):
    joints = {"shoulder": DriverJoint("yaw", -1.0, 0.7), "elbow": DriverJoint(offset_rad=-1.25)}
    path, made = write_episode(tmp_path, info=replace(INFO, driver_joints=joints))
    recording = read_recording(path)
    assert recording.info.driver_joints == joints
    for got, expected in ((recording.q, made.q), (recording.executed, made.executed), (recording.label, made.label)):
        assert np.allclose(np.stack(list(got.values())), expected, rtol=0, atol=1e-12)
    with open_bag(path) as bag:
        heard = {m.topic: from_cdr(m.cdr, m.type_name) for m in bag.messages()}
    assert heard[f"/{JOINT_STATES}"].name == heard[f"/{TRAJECTORY}"].joint_names == ["yaw", "elbow"]
    assert heard[f"/{COMMAND}"].joint_names == ["shoulder", "elbow"]
    assert heard[f"/{JOINT_STATES}"].position[0] == pytest.approx(0.7 - made.q[-1][0])


def test_a_joint_that_a_driver_may_wrap_is_read_near_home_and_goes_the_short_way(tmp_path):
    path, made = write_episode(tmp_path, info=replace(INFO, around_rad={"elbow": 6.0}))
    recording, episode = read_recording(path), read_episode(path)
    q = np.stack(list(recording.q.values()))
    assert np.array_equal(q[:, 0], made.q[:, 0])
    assert np.abs(q[:, 1] - 6.0).max() <= np.pi
    assert np.allclose(np.sin(q[:, 1]), np.sin(made.q[:, 1])) and np.allclose(np.cos(q[:, 1]), np.cos(made.q[:, 1]))
    way = made.label - made.q[:-1]
    short = np.remainder(way + np.pi, 2 * np.pi) - np.pi
    expected = np.stack([way[:, 0], short[:, 1]], axis=1) / INFO.max_step_rad
    assert np.allclose(episode.label, expected, atol=1e-5)


def test_serialised_and_typed_writing_give_the_same_bag(tmp_path):
    typed, made = write_episode(tmp_path / "typed")
    with EpisodeWriter(tmp_path / "raw", 0, INFO) as writer, open_bag(typed) as bag:
        for message in bag.messages():
            writer.write_raw(message.topic[1:], message.type_name, message.cdr, message.log_ns)
    a, b = read_episode(typed), read_episode(writer.path)
    assert np.array_equal(a.obs["rgb"], b.obs["rgb"]) and np.array_equal(a.label, b.label)
    assert custom_data(typed) == custom_data(writer.path)


def test_every_topic_is_in_every_bag_with_the_type_and_qos_of_the_table(tmp_path):
    path, _ = write_episode(tmp_path)
    with Reader(path) as reader:
        found = {c.topic[1:]: c for c in reader.connections}
    assert set(found) == set(RECORDED)
    for name, connection in found.items():
        (qos,) = connection.ext.offered_qos_profiles
        assert connection.msgtype == TOPICS[name].type
        assert (qos.depth, qos.reliability) == (TOPICS[name].depth, QosReliability.RELIABLE)
        assert qos.durability is QosDurability.VOLATILE


def test_a_latched_topic_is_latched_on_replay(tmp_path):
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        writer.write_raw("policy/weights", "std_msgs/msg/UInt8MultiArray", b"\0\1\0\0" + bytes(16), 1)
    with Reader(writer.path) as reader:
        (weights,) = [c for c in reader.connections if c.topic == "/policy/weights"]
    assert weights.ext.offered_qos_profiles[0].durability is QosDurability.TRANSIENT_LOCAL


def test_other_readers_open_the_bag(tmp_path):
    path, _ = write_episode(tmp_path, steps=3)
    with AnyReader([path]) as reader:
        assert reader.message_count == 4 * 6 + 3 * 3
        assert all(reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages())


def test_the_metadata_says_what_the_episode_was(tmp_path):
    info = replace(INFO, expert_rule="literal", expert_noise_rad=0.25, sequence=9)
    path, _ = write_episode(tmp_path, info=info)
    custom = custom_data(path)
    assert (custom["outcome"], custom["steps"], custom["seed"], custom["task"]) == ("success", "3", "5", "reach")
    assert EpisodeInfo.from_custom(custom, "bag") == info


def test_nothing_is_under_the_final_name_before_close(tmp_path):
    writer = EpisodeWriter(tmp_path, 0, INFO)
    write_steps(writer, demo_bags.truth(0, 3))
    assert bag_paths(tmp_path) == [] and next_index(tmp_path) == 1
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["episode_000000"]


def test_an_exception_leaves_no_bag_and_no_litter(tmp_path):
    with pytest.raises(ZeroDivisionError), EpisodeWriter(tmp_path, 0, INFO):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bag_is_never_overwritten(tmp_path):
    path, made = write_episode(tmp_path)
    with pytest.raises(BadInput, match="not taken"):
        EpisodeWriter(tmp_path, 0, INFO)
    assert np.array_equal(read_episode(path).obs["rgb"], made.rgb)


def test_the_writer_knows_when_the_episode_is_over(tmp_path):
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        made = demo_bags.truth(0, 3)
        write_steps(writer, made, until=2)
        assert not writer.last_outcome.last
        write_steps(writer, made)
        assert writer.last_outcome.last


def test_repeats_under_the_same_stamp_are_dropped(tmp_path):
    """The sim republishes its observation while it waits for an answer."""
    made = demo_bags.truth(0, 3)
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        write_steps(writer, made, until=2)
        write_steps(writer, made)
    assert np.array_equal(read_episode(writer.path).obs["rgb"], made.rgb)


def test_an_executed_command_stamped_now_belongs_to_the_command_before_it(tmp_path):
    """In real time the safety node stamps 0 towards the controller."""
    path, made = write_episode(tmp_path / "lockstep")
    with EpisodeWriter(tmp_path / "realtime", 0, INFO) as writer, open_bag(path) as bag:
        for m in bag.messages():
            executed = m.topic.startswith("/joint_trajectory_controller")
            cdr = m.cdr[:4] + bytes(8) + m.cdr[12:] if executed else m.cdr  # the stamp, zeroed
            writer.write_raw(m.topic[1:], m.type_name, cdr, m.log_ns)
    assert np.array_equal(read_episode(writer.path).applied, read_episode(path).applied)


def trajectory(target: np.ndarray, sender: str) -> bytes:
    return bytes(to_cdr(encode_trajectory(RosbagsFactory(), INFO.joints, target, INFO.period_s, 0, sender)))


def test_stamp_and_frame_are_read_off_the_front_of_a_message_and_one_cut_short_has_none():
    cdr = bytes(to_cdr(encode_trajectory(RosbagsFactory(), ("a",), np.zeros(1), 1.0, 12_345_678_901, "/safety")))
    assert (stamp_in_front(cdr), frame_in_front(cdr)) == (12_345_678_901, "/safety")
    assert (stamp_in_front(cdr[:11]), frame_in_front(cdr[:15])) == (0, "")


def test_an_executed_command_that_names_its_observation_belongs_there_whatever_came_when(tmp_path):
    """The order of two topics at the recorder is no one's promise, and the safety node halts in between."""
    path, made = write_episode(tmp_path / "made", steps=3)
    with EpisodeWriter(tmp_path / "heard", 0, INFO) as writer, open_bag(path) as bag:
        for m in bag.messages():
            if not m.topic.startswith("/joint_trajectory_controller"):
                writer.write_raw(m.topic[1:], m.type_name, m.cdr, m.log_ns)
            if m.topic == f"/{COMMAND}":
                halt = trajectory(made.q[0], "/safety")
                writer.write_raw(TRAJECTORY, TOPICS[TRAJECTORY].type, halt, m.log_ns + 1)
        for step, stamp in enumerate(sorted(read_recording(path).executed)):
            named = trajectory(made.executed[step], answering("/safety", stamp))
            writer.write_raw(TRAJECTORY, TOPICS[TRAJECTORY].type, named, 1)  # before its command
    assert np.array_equal(read_episode(writer.path).applied, read_episode(path).applied)


def test_a_command_that_was_refused_was_answered_by_the_halt_that_followed(tmp_path):
    path, made = write_episode(tmp_path / "made", steps=3)
    first = sorted(read_recording(path).executed)[0]
    with EpisodeWriter(tmp_path / "heard", 0, INFO) as writer, open_bag(path) as bag:
        for m in bag.messages():
            cdr, command = m.cdr, from_cdr(m.cdr, m.type_name) if m.topic == f"/{TRAJECTORY}" else None
            if command is not None:
                stamp = stamp_ns(command)
                answered = answering("/safety", stamp) if stamp != first else "/safety"
                step = round((stamp - first) / 1e9 / INFO.period_s)
                cdr = trajectory(made.executed[step] if stamp != first else made.q[0], answered)
            writer.write_raw(m.topic[1:], m.type_name, cdr, m.log_ns)
    applied = read_episode(writer.path).applied
    assert np.array_equal(applied[0], np.zeros(len(INFO.joints), np.float32))
    assert np.array_equal(applied[1:], read_episode(path).applied[1:])


def test_topics_in_a_namespace_are_found(tmp_path):
    path, made = write_episode(tmp_path)
    with EpisodeWriter(tmp_path, 1, None) as writer, open_bag(path) as bag:
        for m in bag.messages():
            writer.write_raw(f"/robot_a{m.topic}", m.type_name, m.cdr, m.log_ns)
        writer.close(INFO.to_custom())
    assert np.array_equal(read_recording(writer.path).episode().obs["depth"], made.depth)


def test_one_topic_has_one_type(tmp_path):
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        with pytest.raises(BadInput, match="type of joint_states"):
            writer.write_raw(JOINT_STATES, "sensor_msgs/msg/Image", b"", 1)
        with pytest.raises(BadInput, match="type of custom"):
            writer.write_raw("custom", "my_msgs/msg/Thing", b"", 1)


def test_observations_in_the_wrong_order_of_arrival_are_put_right(tmp_path):
    made = demo_bags.truth(0, 4)
    path, _ = write_episode(tmp_path, steps=4)
    with EpisodeWriter(tmp_path, 1, INFO) as writer, open_bag(path) as bag:
        for i, m in enumerate(reversed(list(bag.messages()))):
            if m.topic != f"/{OUTCOME}":
                writer.write_raw(m.topic[1:], m.type_name, m.cdr, i)
        for m in bag.messages({f"/{OUTCOME}"}):
            writer.write_raw(OUTCOME, m.type_name, m.cdr, 10**6 + m.log_ns)
    assert np.array_equal(read_episode(writer.path).obs["rgb"], made.rgb)


def test_an_unfinished_episode_counts_as_truncated_and_says_so(tmp_path):
    made = demo_bags.truth(0, 5)
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        write_steps(writer, made, until=4)
    episode = read_episode(writer.path)
    assert (len(episode), episode.terminated, episode.truncated) == (3, False, True)
    assert custom_data(writer.path)["outcome"] == "unfinished"


def test_numbers_go_on_after_the_highest_and_sort_by_value(tmp_path):
    for index in (999_999, 1_000_000, 3):
        write_episode(tmp_path, index, seed=0)
    assert [p.name for p in bag_paths(tmp_path)] == ["episode_000003", "episode_999999", "episode_1000000"]
    assert next_index(tmp_path) == 1_000_001


def test_the_camera_of_the_steps_gives_their_camera_info(tmp_path):
    path, made = write_episode(tmp_path)
    with AnyReader([path]) as reader:
        infos = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages() if c.topic.endswith("camera_info")
        ]
    assert {(i.height, i.width, i.header.frame_id) for i in infos} == {(demo_bags.HEIGHT, demo_bags.WIDTH, "camera")}


def test_joint_angles_keep_all_their_bits(tmp_path):
    path, made = write_episode(tmp_path)
    recording = read_recording(path)
    assert np.array_equal(np.stack([recording.q[s] for s in sorted(recording.q)]), made.q)
    assert recording.info.joints == JOINTS
