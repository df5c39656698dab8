"""A camera of another size than the policy was trained for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import RosGraph
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import Image, JointState
from stand_in import HOME, SPEC
from std_msgs.msg import UInt8MultiArray
from trained import saved, small_policy
from trajectory_msgs.msg import JointTrajectory

from vd_policy.demos.factory import RosbagsFactory, to_cdr, typestore
from vd_policy.demos.foreign import MAP_FILE, find_map, read_foreign
from vd_policy.messages.blobs import decode_blob, unpack_episode
from vd_policy.messages.images import encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COLOR, COMMAND, DEPTH, JOINT_STATES, OUTCOME, ROLLOUT, TOPICS
from vd_policy.messages.types import MessageFactory
from vd_policy.nodes.ros import RclpyFactory

S = 1_000_000_000
CLASSES = {JOINT_STATES: JointState, COLOR: Image, DEPTH: Image, OUTCOME: DiagnosticArray}


def observation(make: MessageFactory, step: int) -> dict[str, Any]:
    """What a camera of 48x64 pixels sees at this step, one second apart; step 1 is the last."""
    rng, stamp = np.random.default_rng(step), (step + 1) * S
    outcome = Outcome("reach", 0, step, 0.0, 0.3, False, False, "", False, step == 1, 11, ())
    return {
        JOINT_STATES: encode_joints(make, SPEC.joints, HOME, stamp),
        COLOR: encode_color(make, rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), stamp, "camera"),
        DEPTH: encode_depth(make, rng.integers(0, 3000, (48, 64), dtype=np.uint16), stamp, "camera"),
        OUTCOME: encode_outcome(make, outcome, stamp),
    }


def online(ros: RosGraph, run: str, fit: str) -> dict[str, np.ndarray]:
    """What the network of a policy node was given, from its rollout."""
    ros.start("policy", run=run, lockstep=True, rollouts=True, learner_timeout_s=0.0, resize=fit)
    rollouts = ros.probe.listen(UInt8MultiArray, ROLLOUT)
    commands = ros.probe.listen(JointTrajectory, COMMAND)
    ros.wait_for(lambda: ros.probe.node.count_publishers(ROLLOUT), "the policy node")
    publishers = {topic: ros.probe.publisher(kind, topic) for topic, kind in CLASSES.items()}

    def say(step: int, heard: list[Any]) -> Callable[[], bool]:
        def told() -> bool:
            for topic, message in observation(RclpyFactory(), step).items():
                publishers[topic].publish(message)
            return bool(heard)

        return told

    ros.wait_for(say(0, commands), "a command")
    ros.wait_for(say(1, rollouts), "a rollout")
    return unpack_episode(decode_blob(rollouts[0])).obs


def offline(folder: Path, fit: str) -> dict[str, np.ndarray]:
    """The same messages in another robot's bag, read through a map."""
    folder.mkdir()
    topics = {name: f"/{name}" for name in (JOINT_STATES, COLOR, DEPTH)}
    with Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {n: writer.add_connection(t, TOPICS[n].type, typestore=typestore()) for n, t in topics.items()}
        for step in range(2):
            for name, message in observation(RosbagsFactory(), step).items():
                if name in to:
                    writer.write(to[name], (step + 1) * S, to_cdr(message))
    mapping = {"joint_states": topics[JOINT_STATES], "color": topics[COLOR], "depth": topics[DEPTH], "fit": fit,
               "joints": {joint: joint for joint in SPEC.joints}, "robot": "r", "task": "t", "rate_hz": 1.0,
               "max_step_rad": 1.0, "image_height": 16, "image_width": 16}  # fmt: skip
    (folder / MAP_FILE).write_text(yaml.safe_dump(mapping, sort_keys=False))
    made = read_foreign(folder / "bag", find_map(folder))
    stamps = sorted(made.outcome)
    return {"rgb": np.stack([made.rgb[s] for s in stamps]), "depth": np.stack([made.depth[s] for s in stamps])}


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_policy_sees_of_a_larger_camera_what_a_dataset_holds_of_it(ros: RosGraph, tmp_path: Path, fit: str) -> None:
    seen, held = online(ros, saved(tmp_path / "run", small_policy()), fit), offline(tmp_path / "bags", fit)
    assert seen["rgb"].shape == (2, 16, 16, 3) and seen["rgb"].std() > 1
    for name in ("rgb", "depth"):
        assert np.array_equal(seen[name], held[name]), name
