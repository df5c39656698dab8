"""Joint states (`sensor_msgs/JointState`), matched by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.messages.header import header
from vd_policy.messages.types import MessageFactory, as_array


def encode_joints(factory: MessageFactory, names: Sequence[str], q: np.ndarray, stamp_ns: int) -> Any:
    """Positions `q` [rad], (J,), of the joints `names`; velocity and effort stay empty, which is legal."""
    if len(names) != len(q):
        raise BadInput("joint positions", len(q), f"{len(names)} values", "give one position a joint")
    return factory.make(
        "sensor_msgs/msg/JointState",
        header=header(factory, stamp_ns, ""),
        name=list(names),
        position=factory.f64(q),
        velocity=factory.f64([]),
        effort=factory.f64([]),
    )


class JointReader:
    """Reads the wanted joints out of a message that may hold others, in any order.

    Args:
        names: the joints wanted, in the order wanted.
        signs: per joint -1 or 1, for a driver that counts a joint the other way; 1 where not named.
        offsets_rad: per joint [rad], added after the sign; 0 where not named.
        around_rad: per joint that turns without end, an angle [rad]; readings are brought within half a turn of it,
            since drivers wrap such joints where they like, and a network knows one turn only.
    """

    def __init__(
        self,
        names: Sequence[str],
        signs: Mapping[str, float] | None = None,
        offsets_rad: Mapping[str, float] | None = None,
        around_rad: Mapping[str, float] | None = None,
    ) -> None:
        self.names = tuple(names)
        for option, given in (("signs", signs), ("offsets_rad", offsets_rad), ("around_rad", around_rad)):
            if unknown := sorted(set(given or {}) - set(self.names)):
                raise BadInput(f"joint {option}", unknown, "joints " + ", ".join(self.names), "correct the names")
        self._sign = np.array([(signs or {}).get(n, 1.0) for n in self.names])
        if not np.isin(self._sign, (-1.0, 1.0)).all():
            raise BadInput("joint signs", dict(signs or {}), "-1 or 1", "correct the sign")
        self._offset = np.array([(offsets_rad or {}).get(n, 0.0) for n in self.names])
        self._around = np.array([(around_rad or {}).get(n, np.nan) for n in self.names])
        self._order: tuple[list[str], np.ndarray] | None = None

    def read(self, msg: Any) -> np.ndarray:
        """Joint angles [rad], float64 (J,). The values are not judged: NaN passes, the gate sees to it.

        Raises:
            BadInput: a wanted joint is missing or named twice, or names and positions disagree in number.
        """
        positions = as_array(msg.position, np.float64)
        if len(positions) != len(msg.name):
            raise BadInput("joint_states positions", len(positions), f"{len(msg.name)}, one a name", "check the driver")
        q = positions[self._columns(msg.name)] * self._sign + self._offset
        turns = np.nan_to_num(np.round((q - self._around) / (2 * np.pi)), posinf=0.0, neginf=0.0)
        return q - 2 * np.pi * turns

    def _columns(self, given: Sequence[str]) -> np.ndarray:
        """Where each wanted joint stands; remembered, since a driver keeps its order."""
        if self._order is None or self._order[0] != given:
            self._order = (list(given), match_names("joint_states", given, self.names))
        return self._order[1]


def match_names(what: str, given: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """The index in `given` of each name in `wanted`, (J,); `BadInput` when one is missing or named twice."""
    count = Counter(given)
    if missing := [n for n in wanted if not count[n]]:
        raise BadInput(f"{what}: joint", missing[0], "all of " + ", ".join(wanted),
                       f"it is missing from {list(given)}")  # fmt: skip
    if twice := [n for n in wanted if count[n] > 1]:
        raise BadInput(f"{what}: joint", twice[0], "each joint once", f"it is named {count[twice[0]]} times")
    index = {n: i for i, n in enumerate(given)}
    return np.array([index[n] for n in wanted], dtype=np.intp)
