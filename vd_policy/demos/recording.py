"""Reads an episode bag: messages by observation stamp, then an `Episode`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput
from vd_policy.demos.factory import from_cdr
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import Bag, RawMessage, UnusableEpisode, open_bag
from vd_policy.messages.driver import DriverJoints
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.images import decode_color, decode_depth
from vd_policy.messages.outcome import Outcome, decode_outcome
from vd_policy.messages.topics import (
    COLOR,
    COMMAND,
    DEPTH,
    EXPERT_ACTION,
    JOINT_STATES,
    OUTCOME,
    TOPICS,
    TRAJECTORY,
)
from vd_policy.messages.trajectory import decode_trajectory

MIN_STEPS = 2
"""An episode of fewer steps teaches nothing and is left out."""
DECODED = (JOINT_STATES, COLOR, DEPTH, OUTCOME, EXPERT_ACTION, COMMAND, TRAJECTORY)


@dataclass
class Recording:
    """The decoded messages of one episode, each by the stamp [ns] of the observation that it belongs to.

    Joints are named and counted as in ``info.joints``, whatever the driver's terms were. A repeat under the same stamp
    (the sim's, while it waits for an answer) is dropped: the first one counts.
    """

    path: Path
    info: EpisodeInfo
    q: dict[int, np.ndarray] = field(default_factory=dict)
    """Joint angles [rad], float64 (J,)."""
    rgb: dict[int, np.ndarray] = field(default_factory=dict)
    depth: dict[int, np.ndarray] = field(default_factory=dict)
    outcome: dict[int, Outcome] = field(default_factory=dict)
    label: dict[int, np.ndarray] = field(default_factory=dict)
    """Where the expert would have gone without noise: absolute joint angles [rad], (J,)."""
    command: dict[int, np.ndarray] = field(default_factory=dict)
    executed: dict[int, np.ndarray] = field(default_factory=dict)

    def steps(self) -> list[tuple[int, Outcome]]:
        """Stamps and outcomes from step 0 to the last, T + 1 of them.

        Raises:
            UnusableEpisode: ``no outcome``, ``several episodes``, ``steps missing``, ``too short`` or
                ``longer than the horizon``.
        """
        steps = sorted(self.outcome.items(), key=lambda item: item[1].step)
        name = self.path.name
        if not steps:
            raise UnusableEpisode("no outcome", f"{name}: {OUTCOME} messages", 0, "one a step")
        if len({o.episode for _, o in steps}) > 1:
            raise UnusableEpisode("several episodes", f"{name}: episode numbers", sorted({o.episode for _, o in steps}),
                                  "one episode a bag")  # fmt: skip
        if [o.step for _, o in steps] != list(range(len(steps))):
            raise UnusableEpisode("steps missing", f"{name}: steps", [o.step for _, o in steps], "0, 1, 2, ...")
        if any(a >= b for (a, _), (b, _) in zip(steps, steps[1:])):
            raise UnusableEpisode("clock jumped back", f"{name}: stamps", "not rising", "later stamps for later steps")
        if len(steps) - 1 < MIN_STEPS:
            raise UnusableEpisode("too short", f"{name}: steps", len(steps) - 1, f"at least {MIN_STEPS}")
        if len(steps) - 1 > self.info.horizon:
            raise UnusableEpisode("longer than the horizon", f"{name}: steps", len(steps) - 1,
                                  f"at most {self.info.horizon}")  # fmt: skip
        return steps

    def has_observation(self, stamp: int) -> bool:
        """Joint angles and both images carry this stamp."""
        return stamp in self.q and stamp in self.rgb and stamp in self.depth

    def observations(self, stamps: list[int]) -> dict[str, np.ndarray]:
        """The observations of these stamps, each array with leading dimension ``len(stamps)``."""
        for kind, values in (("joint angles", self.q), ("colour", self.rgb), ("depth", self.depth)):
            if missing := [s for s in stamps if s not in values]:
                raise UnusableEpisode("observation missing", f"{self.path.name}: {kind} at stamp", missing[0],
                                      f"one for each of {len(stamps)} steps; {len(missing)} are missing")  # fmt: skip
        shapes = {self.rgb[s].shape[:2] for s in stamps} | {self.depth[s].shape for s in stamps}
        if len(shapes) > 1:
            raise UnusableEpisode("image sizes differ", f"{self.path.name}: image sizes", sorted(shapes), "one size")
        return {
            "rgb": np.stack([self.rgb[s] for s in stamps]),
            "depth": np.stack([self.depth[s] for s in stamps]),
            "q": np.stack([self.q[s] for s in stamps]).astype(np.float32),
        }

    def deltas(self, targets: dict[int, np.ndarray], stamps: list[int], what: str) -> np.ndarray:
        """Absolute targets as actions, ``(target - q) / max_step``, float32 (T, A)."""
        if missing := [s for s in stamps if s not in targets]:
            raise UnusableEpisode(f"{what} missing", f"{self.path.name}: {what} at stamp", missing[0],
                                  f"one for each of the {len(stamps)} steps ({len(missing)} are missing)")  # fmt: skip
        deltas = self.way(np.stack([self.q[s] for s in stamps]), np.stack([targets[s] for s in stamps]))
        return (deltas / self.info.max_step_rad).astype(np.float32)

    def way(self, start: np.ndarray, target: np.ndarray) -> np.ndarray:
        """From joint angles to others [rad], (..., J); the short way for a joint that a driver may wrap."""
        wraps = np.array([joint in self.info.around_rad for joint in self.info.joints])
        return np.where(wraps, np.remainder(target - start + np.pi, 2 * np.pi) - np.pi, target - start)

    def episode(self) -> Episode:
        """The whole episode: strict, every step has its observation, command and executed command.

        Labels are None when the bag holds none. An episode that was cut off counts as truncated.
        """
        steps = self.steps()
        stamps = [stamp for stamp, _ in steps]
        outcomes = [outcome for _, outcome in steps]
        acted, last = stamps[:-1], outcomes[-1]
        return Episode(
            obs=self.observations(stamps),
            action=self.deltas(self.command or self.executed, acted, "command"),
            applied=self.deltas(self.executed or self.command, acted, "executed command"),
            label=self.deltas(self.label, acted, "label") if self.label else None,
            reward=np.array([o.reward for o in outcomes[1:]], np.float32),
            log_prob=np.zeros(len(acted), np.float32),
            terminated=last.terminated,
            truncated=not last.terminated,
            success=last.success,
            failure=last.failure,
            source=self.info.source,
            sequence=self.info.sequence,
            weight_version=0,
            task=self.info.task,
            seed=last.seed,
            scene=np.array(last.scene, np.float64),
        ).check(self.path.name)

    def pairs(self) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
        """Observations and labels, (N, ...) and (N, A), of every step that has both, and how many steps have not."""
        acted = [stamp for stamp, _ in self.steps()[:-1]]
        if not self.label:
            raise UnusableEpisode("no labels", f"{self.path.name}: {EXPERT_ACTION} messages", 0, "one a step")
        whole = [s for s in acted if s in self.label and self.has_observation(s)]
        if not whole:
            raise UnusableEpisode("observation missing", f"{self.path.name}: steps with images, joints and label", 0,
                                  f"some of {len(acted)}")  # fmt: skip
        return self.observations(whole), self.deltas(self.label, whole, "label"), len(acted) - len(whole)


def read_recording(path: str | Path) -> Recording:
    """The decoded messages of a bag.

    Raises:
        UnusableEpisode: the bag is ``unreadable``, or a message in it is ``damaged``.
    """
    with open_bag(Path(path)) as bag:
        recording = Recording(bag.path, _info(bag))
        names = {topic: name for topic, name in bag.table_names().items() if name in DECODED}
        decoder = _Decoder(recording)
        for raw in bag.messages(set(names)):
            decoder.add(names[raw.topic], raw)
        decoder.finish()
    return recording


def read_episode(path: str | Path) -> Episode:
    """One episode, its observations bit-identical to what the camera and the joints gave; see `Recording.episode`."""
    return read_recording(path).episode()


class _Decoder:
    """Puts messages where they belong in a `Recording`."""

    def __init__(self, recording: Recording) -> None:
        self._to = recording
        self._driver = DriverJoints(recording.info.joints, recording.info.driver_joints,
                                    recording.info.around_rad)  # fmt: skip
        self._joints = self._driver.reader()
        self._commanded = 0
        self._unnamed: dict[int, np.ndarray] = {}
        """Executed targets that do not say what they answer, by the stamp of the command received before them."""

    def add(self, name: str, raw: RawMessage) -> None:
        """Decode one message of the topic `name` of the table."""
        if raw.type_name != TOPICS[name].type:
            raise UnusableEpisode(
                "damaged", f"{self._to.path.name}: type of {raw.topic}", raw.type_name, TOPICS[name].type
            )
        try:
            msg = from_cdr(raw.cdr, raw.type_name)
            self._put(name, stamp_ns(msg), msg)
        except BadInput as error:
            raise UnusableEpisode("damaged", f"{self._to.path.name}: a message of {raw.topic} at {raw.log_ns} ns",
                                  str(error), "messages that decode") from None  # fmt: skip

    def _put(self, name: str, stamp: int, msg: Any) -> None:
        to, joints = self._to, self._to.info.joints
        if name == JOINT_STATES:
            to.q.setdefault(stamp, _finite(self._joints.read(msg), "joint angles"))
        elif name == COLOR:
            to.rgb.setdefault(stamp, decode_color(msg))
        elif name == DEPTH:
            to.depth.setdefault(stamp, decode_depth(msg))
        elif name == OUTCOME:
            to.outcome.setdefault(stamp, decode_outcome(msg))
        elif name == EXPERT_ACTION:
            to.label.setdefault(stamp, _finite(decode_trajectory(msg, joints).positions, "label"))
        elif name == COMMAND:
            self._commanded = stamp
            to.command.setdefault(stamp, _finite(decode_trajectory(msg, joints).positions, "command"))
        elif name == TRAJECTORY:
            target = decode_trajectory(msg, self._driver.names)
            angles = _finite(self._driver.from_driver(target.positions), "executed")
            if target.answers_ns:
                to.executed.setdefault(target.answers_ns, angles)
            else:
                self._unnamed.setdefault(self._commanded, angles)

    def finish(self) -> None:
        """A command that nothing names was answered by what the controller got next: a halt, or all from elsewhere."""
        self._to.executed.update((s, q) for s, q in self._unnamed.items() if s not in self._to.executed)


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise BadInput(what, values.tolist(), "finite numbers", "leave the episode out")
    return values


def _info(bag: Bag) -> EpisodeInfo:
    try:
        return bag.info()
    except BadInput as error:
        raise UnusableEpisode("foreign", f"bag {bag.path.name}", str(error), "a bag of vd_policy",
                              "put a foreign.yaml beside the bags, see docs/bags.md") from None  # fmt: skip
