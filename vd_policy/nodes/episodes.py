"""Cuts a stream of serialised messages into one bag per episode."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from pathlib import Path

from vd_policy.base.errors import BadInput
from vd_policy.demos.factory import from_cdr
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.recording import MIN_STEPS
from vd_policy.demos.storage import check_space, next_index
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.outcome import Outcome, decode_outcome
from vd_policy.messages.topics import (
    COLOR,
    COMMAND,
    DEPTH,
    EXPERT_ACTION,
    JOINT_STATES,
    OUTCOME,
    RECORDED,
    TOPICS,
    TRAJECTORY,
)
from vd_policy.nodes.raw import Latched, Raw, write

OBSERVED = (JOINT_STATES, COLOR, DEPTH)
ANSWERS = (COMMAND, TRAJECTORY, EXPERT_ACTION)
OTHER_CLOCK_NS = 60 * 1_000_000_000
"""Two stamps farther apart than this are not of one clock: no episode lasts so long between two messages."""
HELD_BYTES = 256e6
"""Messages ahead of their outcome that are kept: 4 s of four RGBD cameras at 256x256 and 30 Hz."""
HELD_IDLE_BYTES = 64e6
"""The same between two episodes: a second of it, for an episode's first observation, whose outcome may come late."""


@dataclass
class OpenEpisode:
    """An episode that is being written."""

    number: int
    writer: EpisodeWriter
    steps: dict[int, Outcome] = field(default_factory=dict)
    """Outcomes by stamp."""
    seen: dict[str, set[int]] = field(default_factory=dict)
    """Stamps written, by topic."""

    @property
    def last_stamp_ns(self) -> int:
        return max(self.steps)

    @property
    def over(self) -> bool:
        return self.steps[self.last_stamp_ns].last

    def write(self, message: Raw) -> bool:
        """Write a message once; False for a repeat. Stamp 0 means "now" to a controller and is never a repeat."""
        seen = self.seen.setdefault(message.topic, set())
        if message.stamp_ns and message.stamp_ns in seen:
            return False
        seen.add(message.stamp_ns)
        write(self.writer, message)
        return True

    def whole_steps(self) -> int:
        """Steps with all of their observation and every kind of answer that this episode has."""
        topics = [*OBSERVED, *(t for t in ANSWERS if t in self.seen and 0 not in self.seen[t])]
        return sum(all(stamp in self.seen.get(t, ()) for t in topics) for stamp in sorted(self.steps)[:-1])

    def samples(self) -> int:
        """State-label pairs that a dataset takes from it: none from an episode of 0 or 1 step, or with one missing."""
        return self.whole_steps() if len(self.steps) > MIN_STEPS and self.is_gapless() else 0

    def is_gapless(self) -> bool:
        """An outcome of every step, each once."""
        return sorted(outcome.step for outcome in self.steps.values()) == list(range(len(self.steps)))

    def begins_anew(self, stamp_ns: int, outcome: Outcome) -> bool:
        """Whether the first outcome of an episode of this number is that of another life of the simulator."""
        return outcome.step == 0 and (len(self.steps) > 1 or stamp_ns not in self.steps)

    def is_whole(self, expected: frozenset[str]) -> bool:
        """Over, with something of each expected topic, and nothing of it is still on its way."""
        acted = len(self.steps) - 1
        if not self.over or COMMAND not in self.seen or not self.is_gapless():
            return False
        if self.whole_steps() < acted or not expected <= self.seen.keys():
            return False
        others = (t for t in self.seen if t in RECORDED and t not in ANSWERS and t not in OBSERVED)
        side = [t for t in others if 0 not in self.seen[t]]  # calibration; commands of a hand that are not just "now"
        return all(self.last_stamp_ns in self.seen.get(t, ()) for t in (*OBSERVED, *side))


class EpisodeRecorder:
    """Writes every whole episode to a bag of its own; an interrupted one leaves nothing behind.

    Messages belong to an episode by their stamps: what runs ahead of its outcome is held back until that has come, and
    an episode that is over stays open until everything of it is there or the next one has made a step.

    Args:
        directory: where the bags go; numbering goes on after those that are there.
        info: what each bag says of itself; the sequence number is filled in.
        samples, episodes: record no further than this; 0 = no target.
        min_free_bytes: begin no episode on a disk with less space.
        compress: as for `EpisodeWriter`.
        whole_only: drop an episode of which something is missing: in lockstep that is a fault of the recording, such as
            a connection that came too late, where by the clock it is what the sensors did.

    Attributes:
        expected: topics that somebody sends; an episode without one of them is not whole.

    Raises:
        VdPolicyError: the disk is full or cannot be written; whole episodes are intact.
    """

    def __init__(
        self, directory: Path, info: EpisodeInfo, *, samples: int = 0, episodes: int = 0, min_free_bytes: int = 0,
        compress: bool = True, whole_only: bool = False,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter(samples=0, episodes=0)
        self.recording = True
        self._directory, self._info, self._min_free_bytes, self._compress = directory, info, min_free_bytes, compress
        self._target_samples, self._target_episodes = samples, episodes
        self._index = next_index(directory)
        self._open: OpenEpisode | None = None
        self._ending: OpenEpisode | None = None
        self._held: deque[Raw] = deque()
        self._held_bytes = 0
        self._latched = Latched()
        self._whole_only = whole_only
        self.expected: frozenset[str] = frozenset()
        self._missed = -1

    @property
    def target_reached(self) -> bool:
        done = self.counts
        return (0 < self._target_samples <= done["samples"]) or (0 < self._target_episodes <= done["episodes"])

    def take(self, message: Raw, ready: bool = True) -> None:
        """One message, in the order of arrival.

        Args:
            ready: all needed publishers are connected, so that an episode beginning now will be whole.
        """
        self._latched.hear(message)
        if message.topic == OUTCOME:
            outcome = self._decoded(message)
            if outcome is not None:
                self._take_outcome(message, outcome, ready)
        else:
            self._place(message)
        if self._ending is not None and self._ending.is_whole(self.expected):
            self._finish()

    def stop(self) -> None:
        """Close what is over, drop what is not."""
        try:
            self._finish()
        finally:
            self._abort()
            self._hold_only([])

    def _decoded(self, message: Raw) -> Outcome | None:
        try:
            return decode_outcome(from_cdr(message.cdr, TOPICS[OUTCOME].type))
        except BadInput:
            self.counts["unreadable"] += 1
            return None

    def _take_outcome(self, message: Raw, outcome: Outcome, ready: bool) -> None:
        if self._open is not None and outcome.episode != self._open.number:
            self._abort()  # sim/reset: the new number is all that says so
        elif self._open is not None and self._open.steps and self._open.begins_anew(message.stamp_ns, outcome):
            self._abort()  # the simulator was started again
        if self._open is not None and outcome.step == 1:
            self._finish()
        if self._open is None and not self._begin(outcome, message.received_ns, ready):
            return
        assert self._open is not None
        if message.stamp_ns in self._open.steps:
            self.counts["repeats"] += 1
            return
        self._open.steps[message.stamp_ns] = outcome
        self._open.write(message)
        if outcome.step == 0:
            latest_ns = message.stamp_ns + OTHER_CLOCK_NS
            self._hold_only([m for m in self._held if message.stamp_ns <= m.stamp_ns <= latest_ns])
        self._release()
        if outcome.last:
            self._finish()
            self._ending, self._open = self._open, None

    def _begin(self, outcome: Outcome, received_ns: int, ready: bool) -> bool:
        """Open a bag where an episode begins; False for one to leave out."""
        if self._ending is not None and outcome.episode == self._ending.number:
            self.counts["repeats"] += 1
            return False
        if not self.recording or self.target_reached:
            return False
        if outcome.step > 0:
            self.counts["begun before"] += outcome.episode != self._missed
            self._missed = outcome.episode
        if outcome.step > 0 or not ready:
            return False
        check_space(self._directory, self._min_free_bytes)
        info = replace(self._info, sequence=self._index)
        writer = EpisodeWriter(self._directory, self._index, info, compress=self._compress)
        self._latched.repeat(writer, received_ns)
        self._open = OpenEpisode(outcome.episode, writer)
        self._index += 1
        return True

    def _place(self, message: Raw) -> None:
        if message.topic not in RECORDED and self._is_of_another_clock(message.stamp_ns):
            self.counts["other clock"] += 1
            message = message._replace(stamp_ns=0)  # it belongs to now, as what has no header
        for episode in (self._ending, self._open):
            if episode is not None and episode.steps and message.stamp_ns <= episode.last_stamp_ns:
                if message.stamp_ns == 0 or message.stamp_ns >= min(episode.steps):
                    self.counts["repeats"] += not episode.write(message)
                return
        self._hold(message)

    def _is_of_another_clock(self, stamp_ns: int) -> bool:
        """A stamp so far from those of the open episode that it is of other time: a driver's, beside a simulator's."""
        if self._open is None or not self._open.steps or stamp_ns == 0:
            return False
        return abs(stamp_ns - self._open.last_stamp_ns) > OTHER_CLOCK_NS

    def _hold(self, message: Raw) -> None:
        self._held.append(message)
        self._held_bytes += len(message.cdr)
        while self._held_bytes > (HELD_IDLE_BYTES if self._open is None else HELD_BYTES):
            self._held_bytes -= len(self._held.popleft().cdr)
            self.counts["overtaken"] += self._open is not None

    def _hold_only(self, messages: list[Raw]) -> None:
        self._held, self._held_bytes = deque(messages), sum(len(m.cdr) for m in messages)

    def _release(self) -> None:
        held = list(self._held)
        self._hold_only([])
        for message in held:
            self._place(message)

    def _finish(self) -> None:
        """Publish the episode that is over; with the last one asked for, drop what has begun after it."""
        episode, self._ending = self._ending, None
        if episode is None:
            return
        whole = episode.is_whole(self.expected)
        self.counts["incomplete"] += not whole
        if self._whole_only and not whole:
            episode.writer.abort()
            return
        episode.writer.close()
        self.counts["episodes"] += 1
        self.counts["samples"] += episode.samples()
        if self.target_reached:
            self._abort()

    def _abort(self) -> None:
        if self._open is None:
            return
        self._open.writer.abort()
        self._open = None
        self._index -= 1
        self.counts["aborted"] += 1
