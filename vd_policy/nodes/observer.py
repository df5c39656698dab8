"""The senses of the policy node: topics in, whole observations out, and a name for whatever is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.control.assembler import Assembled, ObservationAssembler
from vd_policy.control.joint_filter import JointFilter
from vd_policy.control.watch import InputWatch, Problem, WatchSettings
from vd_policy.messages.driver import DriverJoints, driver_of
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.outcome import decode_outcome
from vd_policy.messages.resize import FITS, resize_color, resize_depth
from vd_policy.messages.topics import COLOR, DEPTH, JOINT_STATES, OUTCOME, TOPICS
from vd_policy.nodes.ros import subscribe
from vd_policy.policy.observation import ObservationSpec

REFUSE = "refuse"
NOT_KNOWN_YET = "_NODE_NAME_UNKNOWN_"
"""What rclpy calls the node of a publisher that was discovered before its node."""
TOPIC_OF = {"rgb": COLOR, "depth": DEPTH, "q": JOINT_STATES, "outcome": OUTCOME}


@dataclass(frozen=True)
class ObserverSettings(WatchSettings):
    """How observations are put together."""

    lockstep: bool = setting(False, "the simulator waits for each command; all parts of an observation share a stamp")
    tolerance_s: float = setting(0.03, "real time: largest distance of depth and joints to the colour image [s]",
                                 minimum=0)  # fmt: skip
    resize: str = setting(REFUSE, "images of another size than in training: refuse them, crop them to the aspect ratio "
                          "and scale, or stretch", choices=(REFUSE, *FITS))  # fmt: skip
    robot: str = setting("", "real time: robot file that says how the driver names and counts the joints"
                         " (driver_joints), and how fast they can be; empty: the run's")  # fmt: skip
    future_s: float = setting(0.1, "stamps may run ahead of this node's clock by this much [s]", minimum=0)


def driver_for(spec: ObservationSpec, settings: ObserverSettings) -> DriverJoints:
    """The joints of a policy as the driver counts them.

    Joints that turn without end are brought near home, where training saw them.
    """
    if settings.lockstep or not settings.robot:
        return DriverJoints(spec.joints)
    robot = load_robot(settings.robot)
    if robot.joints != tuple(spec.joints):
        raise BadInput("robot", settings.robot, "an arm with joints " + ", ".join(spec.joints) + ", as in training",
                       "deploy the run on the arm it was trained for")  # fmt: skip
    return driver_of(robot, lockstep=False, around_rad=robot.around_rad)


def filter_for(settings: ObserverSettings) -> JointFilter | None:
    """What knows impossible joint samples; a simulator in lockstep gives none, and moves the arm at once at a reset."""
    if settings.lockstep or not settings.robot:
        return None
    robot = load_robot(settings.robot)
    return JointFilter(robot.joints, np.array(robot.speed_limit_rad_s), np.array(robot.continuous))


class Observer:
    """Subscribes, decodes, assembles.

    Args:
        node, spec, settings: whose topics, which joints and image size, how to assemble.
        on_observation: called with each whole observation and whether it may be acted on.
        on_repeat: lockstep: called when the simulator repeats the observation that was assembled last.

    In lockstep the task's outcome is a part of the observation, and there is no wall clock to be late by.
    """

    def __init__(self, node: Node, spec: ObservationSpec, settings: ObserverSettings,
                 on_observation: Callable[[Assembled, bool], None], on_repeat: Callable[[], None]) -> None:  # fmt: skip
        self._node, self._spec, self._settings = node, spec, settings
        self._on_observation, self._on_repeat = on_observation, on_repeat
        kinds = ("rgb", "depth", "q") + (("outcome",) if settings.lockstep else ())
        tolerance_s = 0.0 if settings.lockstep else settings.tolerance_s
        self.assembler = ObservationAssembler(tolerance_s, kinds, settings.future_s)
        self.watch = InputWatch(settings, kinds)
        self.q: tuple[np.ndarray, int] | None = None
        self._unreadable: dict[str, str] = {}
        self._jump, self._jump_s = "", 0.0
        self._whole_ns = 0
        self._reader, self._filter = driver_for(spec, settings).reader(), filter_for(settings)
        decoders = {"rgb": self._color, "depth": self._depth, "q": self._reader.read, "outcome": decode_outcome}
        self._subscriptions = [self._subscribe(kind, decoders[kind]) for kind in kinds]

    def close(self) -> None:
        """Hear nothing more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def problem(self, now_s: float) -> Problem | None:
        """Why nobody may act on what is seen, by the names of the topics; None where somebody may."""
        for kind, reason in (*self._unreadable.items(), *self.assembler.refusals.items()):
            return Problem(f"{self._node.resolve_topic_name(TOPIC_OF[kind])}: {reason}")
        problem = self.watch.problem(now_s)
        if problem is None or not problem.silent:
            return problem
        if problem.silent == "q" and self._jump and now_s - self._jump_s < self._settings.obs_timeout_s:
            return Problem(f"{self._node.resolve_topic_name(JOINT_STATES)}: {self._jump}")  # they come, in vain
        return Problem(f"{self._describe(problem.silent)}: {problem.text}")

    def _subscribe(self, kind: str, decode: Callable[[Any], Any]) -> Any:
        return subscribe(self._node, TOPIC_OF[kind], lambda msg: self._take(kind, msg, decode))

    def _take(self, kind: str, msg: Any, decode: Callable[[Any], Any]) -> None:
        now_s, stamp = time.monotonic(), stamp_ns(msg)
        if kind == "outcome" and stamp == self._whole_ns:
            self._on_repeat()
            return
        try:
            value = decode(msg)
        except BadInput as error:
            self._unreadable[kind] = str(error)
            self.watch.rejected[f"unreadable {kind}"] += 1
            return
        self._unreadable.pop(kind, None)
        self._assemble(kind, stamp, value, now_s)

    def _is_impossible(self, q: np.ndarray, stamp: int, now_s: float) -> bool:
        """Whether the arm cannot have come to a sample; NaN goes on to the watch, which names it."""
        self._jump = self._filter.check(q, stamp / 1e9) if self._filter is not None and np.isfinite(q).all() else ""
        if self._jump:
            self._jump_s = now_s
            self.watch.rejected["joint jump"] += 1
        return bool(self._jump)

    def _assemble(self, kind: str, stamp: int, value: Any, now_s: float) -> None:
        jumps = self.assembler.jumps
        clock_ns = None if self._settings.lockstep else self._node.get_clock().now().nanoseconds
        if not self.assembler.admit(kind, stamp, clock_ns):
            return
        if self.assembler.jumps > jumps:
            self.watch.reset()
            if self._filter is not None:
                self._filter.reset()
        if kind == "q" and self._is_impossible(value, stamp, now_s):
            return
        whole = self.assembler.take(kind, stamp, value, now_s)
        if kind == "q" and np.isfinite(value).all():
            self.q = (value, stamp)
        self.watch.seen(kind, now_s)
        if whole is not None:
            self._whole_ns = whole.stamp_ns
            usable = self._settings.lockstep or self.watch.judge(whole.values, now_s)
            self._on_observation(whole, usable)

    def _color(self, msg: Any) -> np.ndarray:
        return self._sized("colour", decode_color(msg), resize_color)

    def _depth(self, msg: Any) -> np.ndarray:
        return self._sized("depth", decode_depth(msg), resize_depth)

    def _sized(self, what: str, image: np.ndarray, resize: Callable[..., np.ndarray]) -> np.ndarray:
        height, width = self._spec.image_height, self._spec.image_width
        if self._settings.resize != REFUSE:
            return resize(image, height, width, self._settings.resize)
        if image.shape[:2] != (height, width):
            raise BadInput(f"{what} image (height, width)", image.shape[:2], f"({height}, {width}), as in training",
                           "set the camera driver's resolution, or the parameter resize to crop")  # fmt: skip
        return image

    def _describe(self, kind: str) -> str:
        """A topic with what is asked of it and who publishes it."""
        topic = TOPICS[TOPIC_OF[kind]]
        name = self._node.resolve_topic_name(topic.name)
        asked = "best_effort" if topic.subscribe_as_sensor or not topic.reliable else "reliable"
        offers = self._node.get_publishers_info_by_topic(name)
        seen = "".join(f", {o.node_name} ({o.topic_type}, {o.qos_profile.reliability.name.lower()})" for o in offers
                       if o.node_name != NOT_KNOWN_YET)  # fmt: skip
        return f"{name} [{topic.type}, {asked}], {len(offers)} publisher{'s' * (len(offers) != 1)}{seen}"
