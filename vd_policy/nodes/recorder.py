"""The recorder node: what the topics carry, one bag per episode, written by a thread of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.files import storage_errors
from vd_policy.base.settings import setting
from vd_policy.demos.factory import stamp_in_front
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.storage import check_space
from vd_policy.messages.outcome import decode_outcome
from vd_policy.messages.topics import (
    COLOR,
    COMMAND,
    DEPTH,
    GRIPPER_COMMAND,
    GRIPPER_TRAJECTORY,
    JOINT_STATES,
    OUTCOME,
    RECORDED,
    TOPICS,
    TRAJECTORY,
)
from vd_policy.nodes.byte_queue import ByteQueue
from vd_policy.nodes.diagnostics import OK, WARN, Diagnostics
from vd_policy.nodes.episodes import EpisodeRecorder
from vd_policy.nodes.extra_topics import ExtraTopics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.raw import Raw, raw_message, received_ns
from vd_policy.nodes.ros import LOSSLESS_DEPTH, Finished, run, serve, steady_timer, subscribe
from vd_policy.nodes.session import SessionRecorder
from vd_policy.nodes.worker import Worker
from vd_policy.sim.tasks import changes_of, load_task

MAY_BE_SILENT = {GRIPPER_COMMAND, GRIPPER_TRAJECTORY}
"""A gripper node that comes up in the middle of an episode says nothing before the next."""
STREAMS = {JOINT_STATES, COLOR, DEPTH}
"""What a driver and a camera send all the time."""
SILENT_S = 2.0
"""After which a stream of a session is named that is published and not heard."""
NEEDED = (JOINT_STATES, COLOR, DEPTH, OUTCOME, COMMAND, TRAJECTORY)
"""Somebody must publish these before an episode is begun, and what `RecorderSettings.needed` adds."""
EPISODE, SESSION = "episode", "session"
QUEUE_DEPTH = 2000
"""Two seconds of joint states at 1000 Hz, so that a busy machine loses none."""
IMAGE_QUEUE_DEPTH = LOSSLESS_DEPTH
CALM_BYTES = 8e6
"""With more than this waiting for the disk, the next episode is not asked for."""


@dataclass(frozen=True)
class RecorderSettings:
    """Parameters of the recorder node."""

    out: str = setting("demonstrations", "directory for the episode bags")
    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    robot: str = setting("j2n6s300", "robot: a name in config/robots, or a YAML file")
    source: str = setting("expert", "who acts")
    expert_rule: str = setting("", "the expert's eq. 10, for the record: clipped or literal")
    expert_noise_rad: float = setting(0.0, "the expert's noise, for the record [rad]", minimum=0.0)
    samples: int = setting(0, "end after so many recorded steps; 0 = never", minimum=0)
    episodes: int = setting(0, "end after so many recorded episodes; 0 = never", minimum=0)
    autostart: bool = setting(True, "record at once; otherwise wait for recorder/start")
    bag: str = setting(EPISODE, "one an episode, as task/outcome says; or one a session, from recorder/start to stop",
                       choices=(EPISODE, SESSION))  # fmt: skip
    needed: tuple[str, ...] = setting((), "more of the recorded topics that somebody must publish before an episode is"
                                      " begun: expert/action, gripper/command")  # fmt: skip
    extra_topics: tuple[str, ...] = setting((), "more topics to record: standard message types, other cameras for one")
    compress: bool = setting(True, "zstd chunks, lossless; false takes less of a core and more of the disk")
    lockstep: bool = setting(False, "the simulator waits for each command; it counts the joints as the URDF does")
    lossless: bool = setting(True, "ask for images reliably; false for a camera that publishes best effort")
    paced: bool = setting(False, "call sim/reset for each next episode, so that the sim cannot outrun the disk")
    queue_mb: float = setting(256.0, "messages waiting for the disk, at most [MB]", minimum=1.0)
    min_free_mb: float = setting(256.0, "begin no episode with less free on the disk [MB]", minimum=0.0)


class ResetCaller:
    """Asks the sim for the next episode, once for each that is over."""

    def __init__(self, node: Node) -> None:
        self._client = node.create_client(Trigger, "sim/reset")
        self._over: int | None = None
        self._asked: int | None = None

    def heard(self, message: Raw) -> None:
        """Look at one outcome."""
        try:
            last = decode_outcome(deserialize_message(message.cdr, DiagnosticArray)).last
        except BadInput:
            return  # the writer counts it
        self._over = message.stamp_ns if last else None

    def ask(self) -> None:
        """Call `sim/reset` when the episode is over and it has not been called for that one."""
        if self._over is None or self._over == self._asked or not self._client.service_is_ready():
            return
        self._asked = self._over
        self._client.call_async(Trigger.Request())


class RecorderNode(Node):
    """Raw subscriptions in, `EpisodeRecorder` behind a queue: the disk, which can stall for 9 ms, never blocks DDS."""

    def __init__(self) -> None:
        super().__init__("recorder", automatically_declare_parameters_from_overrides=True)
        self.settings = s = declare(self, RecorderSettings)
        self._directory = Path(s.out)
        self._needed = self._all_needed()
        self._recorder = self._made(self._prepared(self._directory))
        self._recorder.recording = s.autostart
        self._diagnostics = Diagnostics(self)
        self._queue = ByteQueue(s.queue_mb * 1e6)
        self._ready = False
        self._heard: dict[str, float] = {}
        self._began_s = time.monotonic()
        self._worker = Worker("writer", self._write)
        self._subscribed = {topic: self._subscribe(topic) for topic in RECORDED}
        self._extra = ExtraTopics(self, s.extra_topics, self._take_extra, self._lost, IMAGE_QUEUE_DEPTH)
        self._reset_caller = ResetCaller(self) if s.paced else None
        serve(self, "recorder/start", partial(self._switch, True))
        serve(self, "recorder/stop", partial(self._switch, False))
        steady_timer(self, 0.1, self._look)
        self._look()

    @property
    def _min_free_bytes(self) -> int:
        return int(self.settings.min_free_mb * 1e6)

    def _all_needed(self) -> frozenset[str]:
        for topic in self.settings.needed:
            if topic not in RECORDED:
                raise BadInput("needed", topic, "one of " + ", ".join(RECORDED), "give other topics as extra_topics")
        return frozenset((*NEEDED, *self.settings.needed))

    def _prepared(self, directory: Path) -> Path:
        with storage_errors("recording", directory):
            directory.mkdir(parents=True, exist_ok=True)
        check_space(directory, self._min_free_bytes)
        return directory

    def _made(self, directory: Path) -> EpisodeRecorder | SessionRecorder:
        s = self.settings
        if s.bag == SESSION:
            if s.samples or s.paced:
                raise BadInput("bag", SESSION, "episode, with samples or paced", "a session has no steps to count")
            return SessionRecorder(directory, self._info(), episodes=s.episodes, min_free_bytes=self._min_free_bytes,
                                   compress=s.compress)  # fmt: skip
        return EpisodeRecorder(directory, self._info(), samples=s.samples, episodes=s.episodes,
                               min_free_bytes=self._min_free_bytes, compress=s.compress,
                               whole_only=s.paced)  # fmt: skip

    def _info(self) -> EpisodeInfo:
        s, task, robot = self.settings, load_task(self.settings.task), load_robot(self.settings.robot)
        return EpisodeInfo(task=task.task, robot=robot.name, joints=robot.joints, max_step_rad=task.max_step_rad,
                           period_s=task.period_s, horizon=task.horizon, source=s.source,
                           task_changes=changes_of(task), expert_rule=s.expert_rule,
                           expert_noise_rad=s.expert_noise_rad, goals=task.goals,
                           driver_joints={} if s.lockstep else robot.driver_joints,
                           around_rad={} if s.lockstep else robot.around_rad)  # fmt: skip

    def _subscribe(self, topic: str) -> Subscription:
        depth = IMAGE_QUEUE_DEPTH if TOPICS[topic].subscribe_as_sensor else QUEUE_DEPTH
        return subscribe(self, topic, partial(self._take, topic), reliable=self.settings.lossless or None, depth=depth,
                         raw=True, on_lost=partial(self._lost, topic))  # fmt: skip

    def _take(self, topic: str, cdr: bytes, info: dict[str, Any]) -> None:
        message = raw_message(topic, cdr, received_ns(info))
        self._heard[topic] = time.monotonic()
        if topic == OUTCOME:
            self._is_ready()
            if self._reset_caller is not None:
                self._reset_caller.heard(message)
                self._pace()
        self._enqueue(len(cdr), partial(self._recorder.take, message, self._ready))

    def _is_ready(self) -> bool:
        self._ready = self._ready or self._connected()
        return self._ready

    def _connected(self) -> bool:
        """An episode that begins now will be whole: who sends is found, and a graph that goes on without us is heard
        on every topic it has."""
        sent = self._published()
        if isinstance(self._recorder, EpisodeRecorder):
            self._recorder.expected = sent
        return not (self._needed - sent or self._silent(sent))

    def _silent(self, sent: frozenset[str]) -> frozenset[str]:
        """Topics that somebody publishes and that were not heard yet, of a graph that does not wait for us."""
        return frozenset() if self.settings.paced else sent - MAY_BE_SILENT - self._heard.keys()

    def _published(self) -> frozenset[str]:
        """Topics of the table that somebody publishes."""
        return frozenset(name for name, each in self._subscribed.items() if each.get_publisher_count())

    def _missing(self) -> str:
        """What no episode is begun without, and is not there yet; nothing is needed for a session."""
        if self._ready or not isinstance(self._recorder, EpisodeRecorder):
            return ""
        sent = self._published()
        if unsent := sorted(self._needed - sent):
            return f"nobody publishes {', '.join(unsent)}"
        silent = sorted(self._silent(sent)) if OUTCOME in self._heard else []
        return f"nothing came on {', '.join(silent)}" if silent else ""

    def _fallen_silent(self) -> list[str]:
        """Of a session: streams that somebody publishes and of which nothing comes any more, or never did."""
        if not isinstance(self._recorder, SessionRecorder):
            return []
        since_s = time.monotonic() - SILENT_S
        quiet = [t for t in STREAMS if max(self._heard.get(t, self._began_s), self._began_s) < since_s]
        return sorted(topic for topic in quiet if self.count_publishers(topic))  # those of a QoS that does not fit, too

    def _take_extra(self, topic: str, kind: str, latched: bool, headed: bool, cdr: bytes, info: dict[str, Any]) -> None:
        message = Raw(topic, stamp_in_front(cdr) if headed else 0, cdr, received_ns(info), kind, latched)
        self._enqueue(len(cdr), partial(self._recorder.take, message))

    def _lost(self, topic: str, count: int) -> None:
        """DDS gave messages up before they reached this node."""
        self._diagnostics.counts["lost"] += count
        self._diagnostics.counts[f"lost {topic}"] += count

    def _enqueue(self, size: int, action: Callable[[], Any]) -> None:
        if not self._queue.put(size, action):
            self._diagnostics.counts["overflow"] += 1

    def _pace(self) -> None:
        wanted = self._recorder.recording and not self._recorder.target_reached
        if self._reset_caller is not None and wanted and self._queue.bytes < CALM_BYTES and self._is_ready():
            self._reset_caller.ask()

    def _switch(self, on: bool) -> str:
        def switch() -> None:
            if not on:
                self._recorder.stop()
            self._recorder.recording = on

        self._enqueue(0, switch)
        self._began_s = time.monotonic()
        if on:
            return f"recording to {self._directory}"
        return f"stopped; the open {'session is saved' if self.settings.bag == SESSION else 'episode is dropped'}"

    def _write(self) -> None:
        """The writer thread: one action after another until the queue is closed."""
        try:
            while (action := self._queue.get()) is not None:
                action()
        except VdPolicyError:
            with suppress(VdPolicyError):  # one more may follow from the first
                self._recorder.stop()  # what is whole stays
            raise
        else:
            self._recorder.stop()
        finally:
            self._queue.close()

    def _look(self) -> None:
        self._worker.check()
        recorder, counts = self._recorder, self._diagnostics.counts
        for name, n in dict(recorder.counts).items():
            counts[name] = n
        self._diagnostics.values["queue_mb"] = f"{self._queue.bytes / 1e6:.1f}"
        self._diagnostics.values["cpu_s"] = f"{time.process_time():.3f}"
        if recorder.target_reached:
            raise Finished
        self._pace()
        self._extra.look()
        self._tell_state()

    def _tell_state(self) -> None:
        counts, waiting = self._diagnostics.counts, self._extra.waiting
        if counts["overflow"]:
            self._diagnostics.state(WARN, "the disk is too slow: messages were dropped")
        elif counts["lost"]:
            self._diagnostics.state(WARN, "messages were lost on the way here: see the counts")
        elif not self._recorder.recording:
            self._diagnostics.state(OK, "waiting for recorder/start")
        elif missing := self._missing():
            self._diagnostics.state(WARN, f"recording to {self._directory}; no episode is begun: {missing}")
        elif waiting:
            self._diagnostics.state(WARN, f"recording to {self._directory}; nobody publishes {', '.join(waiting)}")
        elif silent := self._fallen_silent():
            why = "; a best-effort publisher needs lossless: false" if self.settings.lossless else ""
            self._diagnostics.state(WARN, f"recording to {self._directory}; nothing comes on {', '.join(silent)}{why}")
        else:
            self._diagnostics.state(OK, f"recording to {self._directory}")

    def close(self) -> None:
        """Write what is queued and close what is whole; an open episode is dropped, an open session kept."""
        self._queue.close()
        self._worker.join()
        counts = self._recorder.counts
        self.get_logger().info(f"{counts['samples']} samples in {counts['episodes']} episodes in {self._directory}")
        self._worker.check()


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(RecorderNode, args)


if __name__ == "__main__":
    sys.exit(main())
