"""What the task said of a step: `diagnostic_msgs/DiagnosticArray` with one status of key-value pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vd_policy.base.episode import IN_HAND, how_ended
from vd_policy.base.errors import BadInput
from vd_policy.messages.header import header
from vd_policy.messages.types import MessageFactory

STATUS_NAME = "task/outcome"
UNFINISHED = "unfinished"
_OK, _ERROR = 0, 2


@dataclass(frozen=True)
class Outcome:
    """One step of one episode; step 0 is the reset, with reward 0."""

    task: str
    episode: int
    step: int
    reward: float
    distance_m: float
    success: bool
    failure: bool
    reason: str
    terminated: bool
    truncated: bool
    seed: int
    scene: tuple[float, ...]
    """Task-defined; for reach and grasp the cup's base position [m]."""

    @property
    def last(self) -> bool:
        """Nobody commands after this observation."""
        return self.terminated or self.truncated

    @property
    def ending(self) -> str:
        """How its episode ended: one of `vd_policy.base.episode.ENDINGS`, or `UNFINISHED` before its last step."""
        return how_ended(self.success, self.failure) if self.last else UNFINISHED

    @property
    def in_hand(self) -> bool:
        """What is to be grasped stands between the fingers, in a task that grasps."""
        return self.success or self.reason == IN_HAND


def outcome_of(task: str, episode: int, step: int, seed: int, reward: float, terminated: bool, truncated: bool,
               info: dict[str, Any]) -> Outcome:  # fmt: skip
    """The outcome that an environment's answer amounts to, in-process and on the graph; `info` is that of `ArmEnv`."""
    return Outcome(
        task=task,
        episode=episode,
        step=step,
        reward=float(reward),
        distance_m=float(info["distance_m"]),
        success=bool(info["success"]),
        failure=bool(info["failure"]),
        reason=info["reason"],
        terminated=bool(terminated),
        truncated=bool(truncated),
        seed=seed,
        scene=tuple(float(x) for x in info["scene"]),
    )


def encode_outcome(factory: MessageFactory, outcome: Outcome, stamp_ns: int) -> Any:
    """The outcome as one status; numbers are written so that they read back to the same float64."""
    values = {
        "task": outcome.task,
        "episode": str(outcome.episode),
        "step": str(outcome.step),
        "reward": repr(float(outcome.reward)),
        "distance": repr(float(outcome.distance_m)),
        "success": _flag(outcome.success),
        "failure": _flag(outcome.failure),
        "reason": outcome.reason,
        "terminated": _flag(outcome.terminated),
        "truncated": _flag(outcome.truncated),
        "seed": str(outcome.seed),
        "scene": " ".join(repr(float(x)) for x in outcome.scene),
    }
    status = factory.make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=factory.byte(_ERROR if outcome.failure else _OK),
        name=STATUS_NAME,
        message=outcome.reason,
        hardware_id=outcome.task,
        values=[factory.make("diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in values.items()],
    )
    return factory.make("diagnostic_msgs/msg/DiagnosticArray", header=header(factory, stamp_ns, ""), status=[status])


def decode_outcome(msg: Any) -> Outcome:
    """The outcome in a message.

    ``task``, ``seed``, ``scene``, ``terminated`` and ``truncated`` may be left out by another task node: then the task
    is the status' hardware id, the scene is empty, and success or failure terminates.

    Raises:
        BadInput: no such status, a needed value missing, or one that does not parse.
    """
    status = next((s for s in msg.status if s.name == STATUS_NAME), None)
    if status is None:
        raise BadInput("task/outcome: statuses", [s.name for s in msg.status], STATUS_NAME, "name the status so")
    values = {v.key: v.value for v in status.values}
    success, failure = _read(values, "success", _parse_flag), _read(values, "failure", _parse_flag)
    return Outcome(
        task=values.get("task", status.hardware_id),
        episode=_read(values, "episode", int),
        step=_read(values, "step", int),
        reward=_read(values, "reward", _finite),
        distance_m=_read(values, "distance", _finite),
        success=success,
        failure=failure,
        reason=values.get("reason", status.message),
        terminated=_read(values, "terminated", _parse_flag, default=success or failure),
        truncated=_read(values, "truncated", _parse_flag, default=False),
        seed=_read(values, "seed", int, default=0),
        scene=_read(values, "scene", lambda text: tuple(_finite(x) for x in text.split()), default=()),
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _parse_flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _read(values: dict[str, str], key: str, parse: Any, default: Any = None) -> Any:
    if key not in values:
        if default is not None:
            return default
        raise BadInput(f"task/outcome: {key}", None, "a value", "publish it with every step")
    try:
        return parse(values[key])
    except (ValueError, KeyError):
        raise BadInput(f"task/outcome: {key}", values[key], "a finite number, or true / false", "correct it") from None
