"""The recorder as a session recorder: no task judges episodes, and there is more than the table's topics."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import LATCHED, RosGraph
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image, JointState
from stand_in import HOME, SPEC
from std_msgs.msg import String

from vd_policy.demos.bag import bag_paths, unfinished_paths
from vd_policy.demos.factory import typestore
from vd_policy.demos.reader import open_bag
from vd_policy.messages.images import encode_color
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.topics import COLOR, JOINT_STATES
from vd_policy.nodes.ros import RclpyFactory

SIDE, SECOND = "side/image_raw", "/robot_description"
MAKE = RclpyFactory()


def sent(ros: RosGraph, publishers: dict[str, Any], first: int, count: int) -> None:
    """Joints and a picture of two cameras under each of these stamps."""
    for stamp in range(first, first + count):
        picture = np.full((4, 4, 3), stamp, np.uint8)
        publishers[JOINT_STATES].publish(encode_joints(MAKE, SPEC.joints, HOME, stamp * 10**9))
        for topic in (COLOR, SIDE):
            publishers[topic].publish(encode_color(MAKE, picture, stamp * 10**9, "camera"))


def test_a_session_says_which_stream_it_does_not_get(ros: RosGraph, tmp_path: Path) -> None:
    ros.start("recorder", out=str(tmp_path), bag="session")
    said = ros.probe.diagnostics()
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    camera = ros.probe.node.create_publisher(Image, COLOR, best_effort)
    joints = ros.probe.publisher(JointState, JOINT_STATES)

    def told(words: str) -> bool:
        joints.publish(encode_joints(MAKE, SPEC.joints, HOME, time.time_ns()))
        camera.publish(encode_color(MAKE, np.zeros((4, 4, 3), np.uint8), time.time_ns(), "camera"))
        return words in said("recorder").get("message", "")

    ros.wait_for(lambda: told(f"nothing comes on {COLOR}; a best-effort publisher needs lossless: false"), "the camera")
    ros.wait_for(lambda: f"nothing comes on {COLOR}, {JOINT_STATES}" in said("recorder")["message"], "the joints, too")


def test_a_session_holds_every_topic_between_start_and_stop(ros: RosGraph, tmp_path: Path) -> None:
    recorder = ros.start("recorder", out=str(tmp_path), bag="session", autostart=False, extra_topics=(SIDE, SECOND))
    said = ros.probe.diagnostics()
    ros.probe.publisher(String, SECOND, LATCHED).publish(String(data="a robot"))
    publishers = {topic: ros.probe.publisher(kind, topic)
                  for topic, kind in ((JOINT_STATES, JointState), (COLOR, Image), (SIDE, Image))}  # fmt: skip

    def counted(messages: int, name: str = "messages") -> None:
        ros.wait_for(lambda: int(said("recorder").get(name, -1)) == messages, f"{messages} {name}")

    sent(ros, publishers, 1, 5)
    counted(1 + 3 * 5, "ignored")
    assert ros.probe.call("recorder/start").success
    ros.wait_for(lambda: "recording to" in said("recorder").get("message", ""), "the recording to begin")
    sent(ros, publishers, 6, 5)
    counted(15)
    assert "saved" in ros.probe.call("recorder/stop").message
    ros.wait_for(lambda: len(bag_paths(tmp_path)) == 1, "the first session")
    assert ros.probe.call("recorder/start").success
    sent(ros, publishers, 20, 2)
    counted(21)
    assert recorder.stop(signal.SIGTERM) == 0, recorder.output
    assert not unfinished_paths(tmp_path)
    with open_bag(bag_paths(tmp_path)[0]) as first, open_bag(bag_paths(tmp_path)[1]) as second:
        for bag, count in ((first, 5), (second, 2)):
            assert {t: n for t, n in bag.counts.items() if n} == {
                "/joint_states": count, "/camera/color/image_raw": count, f"/{SIDE}": count, SECOND: 1,
            }  # fmt: skip
    with Reader(bag_paths(tmp_path)[1]) as reader:
        durability = {c.topic: c.ext.offered_qos_profiles[0].durability for c in reader.connections}
    assert durability.pop(SECOND) is QosDurability.TRANSIENT_LOCAL, "a replay latches what was latched"
    assert set(durability.values()) == {QosDurability.VOLATILE}
    with AnyReader([bag_paths(tmp_path)[1]], default_typestore=typestore()) as reader:
        names = {c.topic: reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()}
    assert names[SECOND].data == "a robot" and names[f"/{SIDE}"].data[0] == 21


def test_what_dds_loses_on_the_way_is_counted_and_said(ros: RosGraph, tmp_path: Path) -> None:
    recorder = ros.start("recorder", out=str(tmp_path), bag="session", lossless=False)
    said = ros.probe.diagnostics()
    publisher = ros.probe.publisher(Image, COLOR, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
    picture = encode_color(MAKE, np.zeros((200, 300, 3), np.uint8), 10**9, "camera")

    def count(name: str) -> int:
        publisher.publish(picture)
        return int(said("recorder").get(name, 0))

    ros.wait_for(lambda: count("messages"), "a recorded picture")
    recorder.send(signal.SIGSTOP)
    for _ in range(200):
        publisher.publish(picture)
    recorder.send(signal.SIGCONT)

    ros.wait_for(lambda: count(f"lost {COLOR}"), "a recorder that knows it missed pictures")
    status = ros.wait_for(lambda: "lost on the way" in said("recorder")["message"] and said("recorder"), "a warning")
    assert status["level"] == "1" and status["lost"] == status[f"lost {COLOR}"]
