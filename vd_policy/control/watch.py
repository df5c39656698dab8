"""Whether a policy may trust what it sees: every input fresh, the camera alive, enough valid depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vd_policy.base.settings import setting
from vd_policy.control.freshness import Freshness, FrozenImage


@dataclass(frozen=True)
class Problem:
    """Why the policy may not act."""

    text: str
    silent: str = ""
    """The input that the text is about, where nothing comes of it."""

    def __str__(self) -> str:
        return f"{self.silent}: {self.text}" if self.silent else self.text


WAITING = Problem("waiting for fresh observations")


@dataclass(frozen=True)
class WatchSettings:
    """When observations are not good enough to act on."""

    obs_timeout_s: float = setting(0.5, "inputs older than this are stale: hold [s]", minimum=0.01)
    fresh_needed: int = setting(3, "good observations in a row before the policy acts (again)", minimum=1)
    frozen_frames: int = setting(5, "identical pictures in a row, while the arm moves, that make a frozen camera",
                                 minimum=2)  # fmt: skip
    frozen_motion_rad: float = setting(0.05, "how far the arm must move meanwhile [rad]", minimum=0)
    max_invalid_depth: float = setting(0.9, "share of invalid depth pixels above which an observation is not used",
                                       minimum=0, maximum=1)  # fmt: skip


class InputWatch:
    """Judges inputs one by one and whole observations.

    Args:
        settings: see `WatchSettings`.
        kinds: the inputs that must keep coming, for example ``("rgb", "depth", "q")``.
    """

    def __init__(self, settings: WatchSettings, kinds: Sequence[str]) -> None:
        self.settings = settings
        self.inputs = {kind: Freshness(settings.obs_timeout_s) for kind in kinds}
        self.rejected: Counter[str] = Counter()
        self._observations = Freshness(settings.obs_timeout_s, settings.fresh_needed)
        self._frozen = {k: FrozenImage(settings.frozen_frames, settings.frozen_motion_rad) for k in ("rgb", "depth")}
        self._fault = ""

    def seen(self, kind: str, now_s: float) -> None:
        """A readable message of this input came."""
        self.inputs[kind].seen(now_s)

    def judge(self, values: Mapping[str, Any], now_s: float) -> bool:
        """Look at one assembled observation (``rgb``, ``depth``, ``q``); True when the policy may act on it."""
        self._fault = self._why_unusable(values)
        if self._fault:
            self._observations.reset()
            return False
        self._observations.seen(now_s)
        return self._observations.ok(now_s)

    def problem(self, now_s: float) -> Problem | None:
        """Why the policy may not act now, or None."""
        for kind, fresh in self.inputs.items():
            if not fresh.ok(now_s):
                never = fresh.received_s is None
                return Problem("nothing yet" if never else f"nothing for {self.settings.obs_timeout_s} s", silent=kind)
        if self._fault:
            return Problem(self._fault)
        if not self._observations.ok(now_s):
            age_s = self._observations.age_s(now_s)
            late = self.settings.obs_timeout_s < age_s < np.inf
            return Problem(f"no whole observation for {self.settings.obs_timeout_s} s") if late else WAITING
        return None

    def reset(self) -> None:
        """A clock jumped: trust nothing until fresh observations came."""
        self._observations.reset()
        for frozen in self._frozen.values():
            frozen.reset()

    def _why_unusable(self, values: Mapping[str, Any]) -> str:
        q, fault = np.asarray(values["q"]), ""
        if not np.isfinite(q).all():
            return self._reject("joints", "joint states: NaN or Inf")
        for kind, frozen in self._frozen.items():  # both see every picture
            if frozen.add(values[kind], q):
                fault = self._reject(f"frozen {kind}", f"{kind}: frozen, {frozen.same} identical pictures")
        invalid = float(np.mean(values["depth"] == 0))
        if not fault and invalid > self.settings.max_invalid_depth:
            fault = self._reject("invalid depth", f"depth: {invalid:.0%} of the pixels are invalid")
        return fault

    def _reject(self, kind: str, reason: str) -> str:
        self.rejected[kind] += 1
        return reason
