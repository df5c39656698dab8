"""Bags of other robots: a map from their topics and joint names to our observation and action.

A bag made with ``ros2 bag record`` (MCAP or sqlite3, compressed, split) says nothing of tasks or decisions. The map,
``foreign.yaml`` beside the bags, supplies what is missing; one bag is one demonstration. Time is cut into decisions
at a fixed rate, and each takes the latest message of every sensor received before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import from_yaml, setting
from vd_policy.demos.factory import from_cdr
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import Bag, RawMessage, UnusableEpisode, open_bag
from vd_policy.demos.recording import Recording, read_recording
from vd_policy.demos.storage import is_bag
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.joints import JointReader
from vd_policy.messages.outcome import Outcome
from vd_policy.messages.resize import FITS, resize_color, resize_depth

MAP_FILE = "foreign.yaml"


@dataclass(frozen=True)
class ForeignMap:
    """Where a foreign bag keeps what we need."""

    joint_states: str = setting(help="topic of sensor_msgs/JointState")
    color: str = setting(help="topic of the colour sensor_msgs/Image")
    depth: str = setting(help="topic of the depth sensor_msgs/Image, aligned to colour; 16UC1 [mm] or 32FC1 [m]")
    joints: dict[str, str] = setting(help="the bag's name of each arm joint -> ours, in the order of our actions")
    robot: str = setting(help="name of the robot")
    task: str = setting(help="name of the task")
    rate_hz: float = setting(help="decisions a second", minimum=1e-3, maximum=1000.0)
    max_step_rad: float = setting(
        help="largest joint step of one decision [rad]; actions are divided by it", minimum=1e-9
    )
    signs: dict[str, float] = setting(factory=dict, help="-1 for a joint (the bag's name) that counts the other way")
    offsets_rad: dict[str, float] = setting(factory=dict, help="added to a joint after its sign [rad]")
    around_rad: dict[str, float] = setting(
        factory=dict, help="a joint (the bag's name) that turns without end is read within half a turn of this [rad]"
    )
    image_height: int = setting(0, "images are scaled to this height [px]; 0 keeps theirs", minimum=0, maximum=4096)
    image_width: int = setting(0, "images are scaled to this width [px]; 0 keeps theirs", minimum=0, maximum=4096)
    fit: str = setting("crop", "scaled images: cropped to the new aspect ratio first, or stretched", choices=FITS)
    max_age_s: float = setting(0.5, "a decision is left out when a sensor's latest message is older [s]", minimum=0.0)


def find_map(directory: Path) -> ForeignMap | None:
    """The map in a directory of bags, or beside the one bag that it is; None where there is none."""
    places = (directory, directory.absolute().parent) if is_bag(directory) else (directory,)
    path = next((place / MAP_FILE for place in places if (place / MAP_FILE).is_file()), None)
    return None if path is None else from_yaml(ForeignMap, path)


def read_bag(path: Path, mapping: ForeignMap | None) -> Recording:
    """A bag of ours, or through its map that of another robot; see `read_recording` and `read_foreign`."""
    return read_recording(path) if mapping is None else read_foreign(path, mapping)


def read_foreign(path: Path, mapping: ForeignMap) -> Recording:
    """A foreign bag as a recording of decisions; the label of each is the way that the arm then went.

    Raises:
        UnusableEpisode: the bag is unreadable, lacks a topic, or a joint moves farther in one decision than
            `max_step_rad`.
    """
    info = EpisodeInfo(task=mapping.task, robot=mapping.robot, joints=tuple(mapping.joints.values()),
                       max_step_rad=mapping.max_step_rad, period_s=1 / mapping.rate_hz, horizon=10**9, source=path.name,
                       around_rad={mapping.joints[name]: angle for name, angle in mapping.around_rad.items()
                                   if name in mapping.joints},
                       software="foreign")  # fmt: skip
    recording = Recording(path, info)
    ticker = _Ticker(recording, mapping)
    with open_bag(path) as bag:
        _check_topics(bag, mapping)
        for message in bag.messages(set(ticker.topics)):
            ticker.add(message)
    ticker.finish()
    _tell_outcomes(recording, ticker.ticks)
    _label(recording, ticker.ticks)
    return recording


class _Ticker:
    """Cuts a stream of messages into decisions; holds one message a sensor and decodes only what a decision takes."""

    def __init__(self, to: Recording, mapping: ForeignMap) -> None:
        self._to, self._mapping = to, mapping
        self._joints = JointReader(list(mapping.joints), mapping.signs, mapping.offsets_rad, mapping.around_rad)
        self._period_ns, self._max_age_ns = round(1e9 / mapping.rate_hz), mapping.max_age_s * 1e9
        self._latest: dict[str, RawMessage] = {}
        self._now_ns = 0
        self.topics = (mapping.joint_states, mapping.color, mapping.depth)
        self.ticks: list[int] = []

    def add(self, message: RawMessage) -> None:
        """Take a message; decisions that lie before it are taken first."""
        name = self._to.path.name
        if message.log_ns < self._now_ns:
            raise UnusableEpisode(
                "clock jumped back", f"{name}: {message.topic}", message.log_ns, f"after {self._now_ns}"
            )
        self._now_ns = message.log_ns
        self._tick_until(message.log_ns - 1)
        self._latest[message.topic] = message
        if not self.ticks and len(self._latest) == len(self.topics):
            self._tick(message.log_ns)

    def finish(self) -> None:
        """No message comes any more."""
        self._tick_until(self._now_ns)

    def _tick_until(self, t_ns: int) -> None:
        while self.ticks and self.ticks[-1] + self._period_ns <= t_ns:
            self._tick(self.ticks[-1] + self._period_ns)

    def _tick(self, t_ns: int) -> None:
        self.ticks.append(t_ns)
        joints, color, depth = (self._fresh(topic, t_ns) for topic in self.topics)
        to = self._to
        try:
            if joints is not None:
                to.q[t_ns] = self._joints.read(joints)
            if color is not None:
                to.rgb[t_ns] = self._scaled(resize_color, decode_color(color))
            if depth is not None:
                to.depth[t_ns] = self._scaled(resize_depth, decode_depth(depth))
        except BadInput as error:
            raise UnusableEpisode("damaged", f"{to.path.name}: a message before {t_ns} ns", str(error),
                                  "messages that decode") from None  # fmt: skip

    def _scaled(self, resize: Callable[..., np.ndarray], image: np.ndarray) -> np.ndarray:
        to = self._mapping
        return resize(image, to.image_height or image.shape[0], to.image_width or image.shape[1], to.fit)

    def _fresh(self, topic: str, t_ns: int) -> Any:
        """The decoded latest message of a sensor, or None when it is too old."""
        message = self._latest[topic]
        return from_cdr(message.cdr, message.type_name) if t_ns - message.log_ns <= self._max_age_ns else None


def _check_topics(bag: Bag, mapping: ForeignMap) -> None:
    kinds = ((mapping.joint_states, "sensor_msgs/msg/JointState"), (mapping.color, "sensor_msgs/msg/Image"),
             (mapping.depth, "sensor_msgs/msg/Image"))  # fmt: skip
    for topic, kind in kinds:
        if bag.types.get(topic) != kind:
            raise UnusableEpisode("topic missing", f"{bag.path.name}: type of {topic}", bag.types.get(topic), kind,
                                  f"correct {MAP_FILE}; the bag has {', '.join(sorted(bag.types))}")  # fmt: skip


def _tell_outcomes(to: Recording, ticks: list[int]) -> None:
    """Nobody judged these decisions: no reward, and the end of the bag ends the episode."""
    for step, tick in enumerate(ticks):
        over = step == len(ticks) - 1
        to.outcome[tick] = Outcome(to.info.task, 0, step, 0.0, 0.0, False, False, "end of the bag" if over else "",
                                   False, over, 0, ())  # fmt: skip


def _label(to: Recording, ticks: list[int]) -> None:
    """Each decision led to where the arm stood at the next one."""
    for now, following in zip(ticks, ticks[1:]):
        if now not in to.q or following not in to.q:
            continue
        way = to.way(to.q[now], to.q[following])
        step = float(np.abs(way).max())
        if not step <= to.info.max_step_rad * (1 + 1e-6):
            raise UnusableEpisode("step too large", f"{to.path.name}: joint step in one decision [rad]", step,
                                  f"at most max_step_rad {to.info.max_step_rad}",
                                  f"raise max_step_rad or rate_hz in {MAP_FILE}")  # fmt: skip
        to.label[now] = to.command[now] = to.executed[now] = to.q[now] + way
