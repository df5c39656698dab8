"""How the recorder cuts a stream of messages into one bag per episode."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commander import HOME, SPEC

from vd_policy.base.errors import VdPolicyError
from vd_policy.demos.bag import bag_paths, read_episode, unfinished_paths
from vd_policy.demos.factory import RosbagsFactory, from_cdr, stamp_in_front, to_cdr
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import open_bag
from vd_policy.messages.header import header
from vd_policy.messages.images import encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COLOR, COMMAND, DEPTH, EXPERT_ACTION, JOINT_STATES, OUTCOME, TRAJECTORY
from vd_policy.messages.trajectory import answering, encode_trajectory
from vd_policy.nodes.byte_queue import ByteQueue
from vd_policy.nodes.episodes import EpisodeRecorder
from vd_policy.nodes.raw import TRANSFORMS, Raw, raw_message

PERIOD_NS = 1_100_000_000


INFO = EpisodeInfo(task="reach", robot="j2n6s300", joints=SPEC.joints, max_step_rad=0.6, period_s=1.1, horizon=25)
ROOT = Outcome("reach", episode=0, step=0, reward=0.0, distance_m=0.5, success=False, failure=False, reason="",
               terminated=False, truncated=False, seed=1, scene=(0.4, 0.0, 0.0))  # fmt: skip
FACTORY = RosbagsFactory()


def stamp_of(outcome: Outcome) -> int:
    return (1 + 100 * outcome.episode + outcome.step) * PERIOD_NS


def raw(topic: str, msg: Any) -> Raw:
    return raw_message(topic, bytes(to_cdr(msg)), 5)


def seen(outcome: Outcome) -> list[Raw]:
    """Joints and images of an observation, then its outcome."""
    stamp = stamp_of(outcome)
    picture = np.full((4, 4, 3), outcome.step, np.uint8)
    return [
        raw(JOINT_STATES, encode_joints(FACTORY, SPEC.joints, HOME + 0.1 * outcome.step, stamp)),
        raw(COLOR, encode_color(FACTORY, picture, stamp, "camera")),
        raw(DEPTH, encode_depth(FACTORY, picture[..., 0].astype(np.uint16) + 500, stamp, "camera")),
        raw(OUTCOME, encode_outcome(FACTORY, outcome, stamp)),
    ]


def answers(outcome: Outcome, topics: tuple[str, ...] = (EXPERT_ACTION, COMMAND, TRAJECTORY)) -> list[Raw]:
    target = HOME + 0.1 * (outcome.step + 1)
    return [raw(t, encode_trajectory(FACTORY, SPEC.joints, target, 1.1, stamp_of(outcome), "who")) for t in topics]


def episode(number: int, steps: int = 3, **options: Any) -> list[list[Raw]]:
    """The messages of a whole episode, step by step."""
    outcomes = [replace(ROOT, episode=number, step=k, seed=number, reward=0.5 * k, terminated=k == steps)
                for k in range(steps + 1)]  # fmt: skip
    return [seen(o) + ([] if o.last else answers(o, **options)) for o in outcomes]


def recorded(recorder: EpisodeRecorder, *streams: list[list[Raw]]) -> None:
    for stream in streams:
        for step in stream:
            for message in step:
                recorder.take(message)


def bags(path: Path) -> list[Any]:
    return [read_episode(p) for p in bag_paths(path)]


def test_each_whole_episode_becomes_one_bag(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0), episode(1, steps=5))
    recorder.stop()
    assert [(e.seed, len(e), e.sequence) for e in bags(tmp_path)] == [(0, 3, 0), (1, 5, 1)]
    assert recorder.counts["samples"] == 8 and recorder.counts["incomplete"] == 0


def test_an_episode_of_one_step_is_recorded_and_counts_for_no_sample(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO, samples=1)
    recorded(recorder, episode(0, steps=1), episode(1, steps=2))
    recorder.stop()
    assert len(bag_paths(tmp_path)) == 2 and recorder.counts["samples"] == 2


def test_messages_that_overtake_each_other_land_in_their_own_episode(tmp_path: Path) -> None:
    first, second = episode(0), episode(1)
    late_image = first[-1].pop(1)
    early_joints = second[0].pop(0)
    first[-1].insert(0, early_joints)  # of the next episode, before this one's last outcome
    second[0].append(late_image)  # of this episode, after the next one's first outcome
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, first, second)
    recorder.stop()
    assert [len(e) for e in bags(tmp_path)] == [3, 3]
    assert recorder.counts["incomplete"] == 0


def test_a_first_outcome_that_comes_late_finds_its_observation(tmp_path: Path) -> None:
    """By the clock a second of joint states may have come since."""
    first = episode(0)
    outcome = first[0].pop(3)
    later = seen(replace(ROOT, step=1))[0]
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, [first[0][:3]], [[later]] * 200, [[outcome, *first[0][3:]]], first[1:])
    recorder.stop()
    assert [len(e) for e in bags(tmp_path)] == [3] and recorder.counts["incomplete"] == 0


def by_the_clock(message: Raw) -> Raw:
    """As the safety node sends it in real time: to be begun at once, naming the observation that it answers."""
    if message.topic != TRAJECTORY:
        return message
    sender = answering("/safety", message.stamp_ns)
    return raw(TRAJECTORY, encode_trajectory(FACTORY, SPEC.joints, HOME, 1.1, 0, sender))


def test_an_executed_command_of_the_next_episode_that_comes_early_is_not_lost_to_it(tmp_path: Path) -> None:
    first, second = ([[by_the_clock(m) for m in step] for step in episode(number)] for number in (0, 1))
    early = second[0].pop()
    assert early.topic == TRAJECTORY
    first[-1].insert(0, early)
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, first, second)
    recorder.stop()
    assert [len(e) for e in bags(tmp_path)] == [3, 3]
    assert recorder.counts["incomplete"] == 0


def test_repeats_are_recorded_once(tmp_path: Path) -> None:
    steps = [messages for messages in episode(0) for _ in range(2)]
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, steps)
    recorder.stop()
    assert [len(e) for e in bags(tmp_path)] == [3]
    assert recorder.counts["repeats"] > 0


def test_a_policy_is_recorded_without_labels(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0, topics=(COMMAND, TRAJECTORY)))
    recorder.stop()
    assert [e.label for e in bags(tmp_path)] == [None]
    assert recorder.counts["samples"] == 3


@pytest.mark.parametrize("whole_only", [True, False])
def test_an_episode_without_a_topic_that_somebody_sends_is_no_whole_one(tmp_path: Path, whole_only: bool) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO, whole_only=whole_only)
    recorder.expected = frozenset({JOINT_STATES, COLOR, DEPTH, OUTCOME, EXPERT_ACTION, COMMAND, TRAJECTORY})
    recorded(recorder, episode(0, topics=(EXPERT_ACTION, COMMAND)), episode(1))
    recorder.stop()
    assert [e.seed for e in bags(tmp_path)] == ([1] if whole_only else [0, 1])
    assert recorder.counts["incomplete"] == 1 and not unfinished_paths(tmp_path)


def test_an_episode_that_a_reset_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0)[:2], episode(1))
    recorder.stop()
    assert [(e.seed, e.sequence) for e in bags(tmp_path)] == [(1, 0)]
    assert recorder.counts["aborted"] == 1 and not unfinished_paths(tmp_path)


def test_an_episode_that_had_begun_before_is_left_out_and_counted(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0)[1:], episode(1))
    recorder.stop()
    assert [e.seed for e in bags(tmp_path)] == [1]
    assert recorder.counts["begun before"] == 1


def test_an_episode_begins_only_when_all_publishers_are_there(tmp_path: Path) -> None:
    recorder = EpisodeRecorder(tmp_path, INFO)
    for message in episode(0)[0]:
        recorder.take(message, ready=False)
    recorded(recorder, episode(0))  # the sim repeats the first observation while it waits
    recorder.stop()
    assert [(e.seed, len(e)) for e in bags(tmp_path)] == [(0, 3)]


def test_a_missing_image_is_counted_and_loses_no_other_step(tmp_path: Path) -> None:
    steps = episode(0)
    steps[1] = [m for m in steps[1] if m.topic != COLOR]
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, steps, episode(1))
    recorder.stop()
    assert len(bag_paths(tmp_path)) == 2
    assert (recorder.counts["incomplete"], recorder.counts["samples"]) == (1, 5)


def test_recording_goes_on_after_the_episodes_that_are_there_and_stops_at_the_target(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = EpisodeRecorder(tmp_path, INFO, episodes=2)
        recorded(recorder, *(episode(n) for n in range(4)))
        recorder.stop()
        assert recorder.target_reached
    assert [path.name for path in bag_paths(tmp_path)] == [f"episode_{i:06d}" for i in range(4)]


@pytest.mark.parametrize("steps", [1, 3])
def test_an_episode_that_began_before_the_last_one_asked_for_was_whole_is_dropped(tmp_path: Path, steps: int) -> None:
    first, second = episode(0), episode(1, steps=steps)
    second[0].append(first[-1].pop(1))  # an image of the first that comes late
    recorder = EpisodeRecorder(tmp_path, INFO, episodes=1)
    recorded(recorder, first, second, episode(2))
    recorder.stop()
    assert [e.seed for e in bags(tmp_path)] == [0] and not unfinished_paths(tmp_path)


def test_a_full_disk_stops_before_the_next_episode_and_keeps_the_earlier_ones(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0))
    full = EpisodeRecorder(tmp_path, INFO, min_free_bytes=2 * free)
    with pytest.raises(VdPolicyError, match="free"):
        recorded(full, episode(1))
    assert [e.seed for e in bags(tmp_path)] == [0] and not unfinished_paths(tmp_path)


def test_an_episode_that_is_over_is_kept_when_the_next_one_cannot_begin(tmp_path: Path) -> None:
    first = episode(0)
    first[-1] = [m for m in first[-1] if m.topic != DEPTH]  # nothing says yet that it is whole
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, first)
    recorder._min_free_bytes = 2 * shutil.disk_usage(tmp_path).free
    with pytest.raises(VdPolicyError, match="free"):
        recorded(recorder, episode(1))
    recorder.stop()
    assert [p.name for p in bag_paths(tmp_path)] == ["episode_000000"] and not unfinished_paths(tmp_path)


@pytest.mark.parametrize("whole_only", [True, False])
def test_an_episode_that_lacks_a_steps_outcome_counts_for_no_sample(tmp_path: Path, whole_only: bool) -> None:
    gap = episode(0, steps=5)
    gap[2] = [m for m in gap[2] if m.topic != OUTCOME]
    recorder = EpisodeRecorder(tmp_path, INFO, whole_only=whole_only)
    recorded(recorder, gap, episode(1))
    recorder.stop()
    assert recorder.counts["samples"] == 3 and recorder.counts["incomplete"] == 1
    assert len(bag_paths(tmp_path)) == (1 if whole_only else 2)


def test_an_episode_that_a_simulator_started_again_begins_anew_is_recorded_from_there(tmp_path: Path) -> None:
    """In lockstep its stamps are those of its earlier life."""
    recorder = EpisodeRecorder(tmp_path, INFO)
    recorded(recorder, episode(0, steps=5)[:3], [[*step, *step] for step in episode(0, steps=4)])
    recorder.stop()
    assert [len(e) for e in bags(tmp_path)] == [4] and recorder.counts["aborted"] == 1
    assert (recorder.counts["samples"], recorder.counts["incomplete"]) == (4, 0)


def test_a_full_queue_refuses_what_is_new_and_keeps_its_order() -> None:
    queue, done = ByteQueue(100), []
    assert queue.put(60, lambda: done.append("first")) and queue.put(40, lambda: done.append("second"))
    assert not queue.put(1, lambda: done.append("too much")) and queue.bytes == 100
    queue.close()
    assert not queue.put(0, lambda: done.append("too late"))
    while action := queue.get():
        action()
    assert done == ["first", "second"] and queue.bytes == 0


def extra(message: Any, kind: str, topic: str, received_ns: int = 5, *, latched: bool = False) -> Raw:
    """A message of a topic outside the table, as the node hands it over."""
    cdr = bytes(to_cdr(message))
    return Raw(topic, 0 if latched else stamp_in_front(cdr), cdr, received_ns, kind, latched)


def test_a_topic_on_another_clock_is_recorded_as_it_comes_and_does_not_pile_up(tmp_path: Path) -> None:
    """A driver's wall clock, or /diagnostics, beside a simulator whose time begins at 1 s."""
    recorder, sent, wall = EpisodeRecorder(tmp_path, INFO), 0, 1_780_000_000_000_000_000
    for number in range(3):
        for step in episode(number):
            for message in step:
                recorder.take(message)
            kind, now = "diagnostic_msgs/msg/DiagnosticArray", wall + sent
            array = FACTORY.make(kind, header=header(FACTORY, now, "x"), status=[])
            recorder.take(extra(array, kind, "/diagnostics", now))
            sent += 1
    held = len(recorder._held)
    recorder.stop()
    counts = []
    for path in bag_paths(tmp_path):
        with open_bag(path) as bag:
            counts.append(bag.counts["/diagnostics"])
    assert counts == [3, 3, 3], "what comes between two episodes belongs to none"
    assert recorder.counts["other clock"] == 9 and held <= 1


def test_what_a_long_pause_brings_belongs_to_no_episode(tmp_path: Path) -> None:
    """The next episode is 5 minutes later on the same clock; what came meanwhile is of neither."""
    recorder = EpisodeRecorder(tmp_path, INFO)
    first, second = episode(0), episode(3)
    first[-1] = [m for m in first[-1] if m.topic != COLOR]  # by the clock no picture has the outcome's stamp: not whole
    recorded(recorder, first)
    recorder.expected = frozenset({COLOR})
    for stamp in range(stamp_of(replace(ROOT, step=4)), stamp_of(replace(ROOT, episode=3)), PERIOD_NS):
        array = FACTORY.make("diagnostic_msgs/msg/DiagnosticArray", header=header(FACTORY, stamp, "x"), status=[])
        recorder.take(extra(array, "diagnostic_msgs/msg/DiagnosticArray", "/diagnostics"))
    recorded(recorder, second)
    recorder.stop()
    assert recorder.counts["other clock"] == 0
    for path in bag_paths(tmp_path):
        with open_bag(path) as bag:
            assert bag.counts.get("/diagnostics", 0) == 0


def test_every_transform_that_holds_begins_each_bag_whoever_published_it(tmp_path: Path) -> None:
    def transforms(*children: str) -> Raw:
        kind = "geometry_msgs/msg/"
        zero = FACTORY.make(f"{kind}Vector3", x=0.0, y=0.0, z=0.0)
        turn = FACTORY.make(f"{kind}Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        each = [FACTORY.make(f"{kind}TransformStamped", header=header(FACTORY, 1, "base"), child_frame_id=child,
                             transform=FACTORY.make(f"{kind}Transform", translation=zero, rotation=turn))
                for child in children]  # fmt: skip
        message = FACTORY.make(TRANSFORMS, transforms=each)
        return extra(message, TRANSFORMS, "/tf_static", latched=True)

    recorder = EpisodeRecorder(tmp_path, INFO)
    for told in (transforms("camera"), transforms("wrist"), transforms("wrist", "hand")):
        recorder.take(told)
    recorded(recorder, episode(0), episode(1))
    recorder.stop()
    for path in bag_paths(tmp_path):
        with open_bag(path) as bag:
            found = [from_cdr(m.cdr, TRANSFORMS).transforms for m in bag.messages({"/tf_static"})]
        assert [[t.child_frame_id for t in each] for each in found] == [["camera"], ["wrist", "hand"]]
