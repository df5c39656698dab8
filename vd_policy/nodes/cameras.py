"""Many cameras and a fast arm, for measuring the recorder: sends a known number of messages and says how many.

``vd_policy.experiments.bench_record`` runs it. Pictures are rendered, with the noise of a real sensor on top: without
it they would compress far better than a camera's.
"""

from __future__ import annotations

import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message

from vd_policy.base.errors import BadInput
from vd_policy.base.files import write_json
from vd_policy.base.seeds import Seeds
from vd_policy.base.settings import setting
from vd_policy.messages.images import encode_color, encode_depth
from vd_policy.messages.joints import encode_joints
from vd_policy.messages.topics import COLOR, DEPTH, DIAGNOSTICS, JOINT_STATES, TOPICS
from vd_policy.nodes.diagnostics import Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import Finished, RclpyFactory, message_class, profile, run, steady_timer, subscribe
from vd_policy.nodes.worker import Worker
from vd_policy.sim.env import ArmEnv

FRAMES = 8
"""Different pictures, sent round and round."""
NOISE_LEVELS = 2.0
NOISE_MM = 2.0
DEPTH_QUEUE = 30
PATIENCE_S = 10.0


@dataclass(frozen=True)
class CamerasSettings:
    """Parameters of the cameras node."""

    out: str = setting("", "JSON file for the counts")
    seconds: float = setting(20.0, "how long to send [s]", minimum=0.1)
    cameras: int = setting(4, "cameras, with colour and depth each", minimum=1, maximum=16)
    size: int = setting(256, "image height and width [pixels]", minimum=8, maximum=2048)
    frame_rate_hz: float = setting(30.0, "pictures a second of each camera", minimum=0.1)
    joint_rate_hz: float = setting(1000.0, "joint states a second", minimum=1.0)
    seed: int = setting(0, "of the pictures", minimum=0)


def camera_topics(camera: int) -> tuple[str, str]:
    """Colour and depth of a camera: those of the table for the first."""
    return (COLOR, DEPTH) if camera == 0 else (f"camera{camera}/color/image_raw", f"camera{camera}/depth/image_raw")


class CamerasNode(Node):
    """Sends from a thread of its own once everything has a subscriber, and ends when all of it is acknowledged."""

    def __init__(self) -> None:
        super().__init__("cameras", automatically_declare_parameters_from_overrides=True)
        self.settings = s = declare(self, CamerasSettings)
        if not s.out:
            raise BadInput("out", "", "a file name", "set the parameter out")
        self._sent: Counter[str] = Counter()
        self._recorder: list[tuple[float, float]] = []
        self._diagnostics = Diagnostics(self)
        joints, colors, depths = _pictures(s)
        self._joints = self._advertise(JOINT_STATES), [joints]
        self._images = [
            (self._advertise(topic), frames)
            for camera in range(s.cameras)
            for topic, frames in zip(camera_topics(camera), (colors, depths))
        ]
        self._sender: Worker | None = None
        self._begun_s = self._ended_s = 0.0
        subscribe(self, DIAGNOSTICS, self._on_diagnostics)
        steady_timer(self, 0.1, self._look)

    def _advertise(self, topic: str) -> Publisher:
        like = TOPICS[JOINT_STATES if topic == JOINT_STATES else COLOR]
        depth = 1000 if topic == JOINT_STATES else DEPTH_QUEUE
        return self.create_publisher(message_class(like.type), topic, profile(like, depth=depth))

    def _senders(self) -> list[Publisher]:
        return [self._joints[0], *(publisher for publisher, _ in self._images)]

    def _on_diagnostics(self, msg: Any) -> None:
        for status in msg.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name == "recorder" and "cpu_s" in values:
                self._recorder.append((time.monotonic(), float(values["cpu_s"])))

    def _look(self) -> None:
        if self._sender is None:
            if self._recorder and all(p.get_subscription_count() for p in self._senders()):
                self._sender = Worker("sender", self._send)
            return
        self._sender.check()
        if not self._sender.is_alive:
            for publisher in self._senders():
                publisher.wait_for_all_acked(Duration(seconds=PATIENCE_S))
            write_json(Path(self.settings.out), self._figures())
            raise Finished

    def _send(self) -> None:
        """Joints at their rate; with every so many of them, the next picture of each camera."""
        s = self.settings
        every, total = max(1, round(s.joint_rate_hz / s.frame_rate_hz)), round(s.seconds * s.joint_rate_hz)
        self._begun_s = time.monotonic()
        for tick in range(total):
            time.sleep(max(0.0, self._begun_s + tick / s.joint_rate_hz - time.monotonic()))
            self._publish(*self._joints, tick)
            for camera, (publisher, frames) in enumerate(self._images):
                if (tick + camera * every // len(self._images)) % every == 0:  # the cameras are not triggered together
                    self._publish(publisher, frames, tick // every)
        self._ended_s = time.monotonic()

    def _publish(self, publisher: Publisher, frames: list[bytearray], index: int) -> None:
        message = frames[index % len(frames)]
        struct.pack_into("<iI", message, 4, *divmod(time.time_ns(), 1_000_000_000))
        publisher.publish(bytes(message))
        self._sent[publisher.topic_name] += 1

    def _figures(self) -> dict[str, Any]:
        seconds = self._ended_s - self._begun_s
        during = [(t, cpu) for t, cpu in self._recorder if self._begun_s <= t <= self._ended_s]
        share = (during[-1][1] - during[0][1]) / (during[-1][0] - during[0][0]) if len(during) > 1 else float("nan")
        return {"seconds": seconds, "sent": dict(self._sent), "recorder_cpu_share": share}


def _pictures(s: CamerasSettings) -> tuple[bytearray, list[bytearray], list[bytearray]]:
    """A joint state, colour images and depth images as CDR bytes, whose stamps are put in later."""
    env, factory, rng = ArmEnv(image_height=s.size, image_width=s.size), RclpyFactory(), Seeds(s.seed).rng("noise")
    env.reset(seed=s.seed)
    colors, depths = [], []
    for _ in range(FRAMES):
        obs = env.step(rng.uniform(-0.5, 0.5, len(env.robot.joints)).astype(np.float32))[0]
        rgb = np.clip(obs["rgb"] + rng.normal(0, NOISE_LEVELS, obs["rgb"].shape).round(), 0, 255).astype(np.uint8)
        near = np.clip(obs["depth"] + rng.normal(0, NOISE_MM, obs["depth"].shape).round(), 1, 65535).astype(np.uint16)
        depth = np.where(obs["depth"] > 0, near, 0).astype(np.uint16)
        colors.append(bytearray(serialize_message(encode_color(factory, rgb, 0, "camera"))))
        depths.append(bytearray(serialize_message(encode_depth(factory, depth, 0, "camera"))))
    joints = bytearray(serialize_message(encode_joints(factory, env.robot.joints, env.q, 0)))
    env.close()
    return joints, colors, depths


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(CamerasNode, args)


if __name__ == "__main__":
    sys.exit(main())
