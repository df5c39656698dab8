"""The monitor node: how late and how regular commands are, as somebody beside the robot sees it.

It listens for a while, writes what it found as JSON and ends; ``vd_policy.experiments.bench_control`` runs it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.base.errors import BadInput
from vd_policy.base.files import write_json
from vd_policy.base.settings import setting
from vd_policy.messages.header import stamp_ns
from vd_policy.messages.topics import COMMAND, DIAGNOSTICS
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import Finished, run, steady_timer, subscribe


@dataclass(frozen=True)
class MonitorSettings:
    """Parameters of the monitor node."""

    out: str = setting("", "JSON file for the figures")
    seconds: float = setting(10.0, "how long to measure [s]", minimum=0.1)
    skip: int = setting(30, "commands to let pass before measuring", minimum=0)


class MonitorNode(Node):
    """Counts from the first command after `skip` others."""

    def __init__(self) -> None:
        super().__init__("monitor", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, MonitorSettings)
        if not self.settings.out:
            raise BadInput("out", "", "a file name", "set the parameter out")
        self._skipped = 0
        self._arrived: list[float] = []
        self._latency: list[float] = []
        self._begun: dict[str, dict[str, float]] = {}
        self._last: dict[str, dict[str, float]] = {}
        self._cpu_begun: dict[str, dict[str, float]] = {}
        subscribe(self, COMMAND, self._on_command)
        subscribe(self, DIAGNOSTICS, self._on_diagnostics)
        steady_timer(self, 0.1, self._look)

    def _on_command(self, msg: Any) -> None:
        latency_s = (self.get_clock().now().nanoseconds - stamp_ns(msg)) / 1e9
        if self._skipped < self.settings.skip:
            self._skipped += 1
            return
        self._begun = self._begun or dict(self._last)
        self._arrived.append(time.monotonic())
        self._latency.append(latency_s)

    def _on_diagnostics(self, msg: Any) -> None:
        for status in msg.status:
            figures = {pair.key: _number(pair.value) for pair in status.values}
            heard = self._last[status.name] = {**figures, "heard_s": time.monotonic()}
            if "cpu_s" in figures and (status.name not in self._cpu_begun or not self._arrived):
                self._cpu_begun[status.name] = heard

    def _look(self) -> None:
        whole = self._arrived and time.monotonic() - self._arrived[0] > self.settings.seconds
        if whole and "infer_p50_ms" in self._last.get("policy", {}) and self._cpu_known("policy"):
            write_json(Path(self.settings.out), self._figures())
            raise Finished

    def _figures(self) -> dict[str, float]:
        latency, interval = 1e3 * np.array(self._latency), 1e3 * np.diff(self._arrived)
        figures = {"commands": len(latency), "commands_per_s": 1e3 / float(interval.mean())}
        figures |= {f"latency_p{p}_ms": float(np.percentile(latency, p)) for p in (50, 95, 99)}
        figures |= {f"period_p{p}_ms": float(np.percentile(interval, p)) for p in (50, 99)}
        figures |= {name: self._last["policy"][name] for name in ("infer_p50_ms", "infer_p99_ms")}
        figures |= {name: self._grown("policy", name) for name in ("misses", "skipped")}
        return figures | {f"cpu_{node}_percent": self._cpu_percent(node)
                          for node in self._cpu_begun if self._cpu_known(node)}  # fmt: skip

    def _grown(self, node: str, name: str) -> float:
        return self._last[node][name] - self._begun.get(node, {}).get(name, 0.0)

    def _cpu_known(self, node: str) -> bool:
        """The node told its CPU time twice: a policy may begin to command before its first report."""
        last, begun = self._last.get(node, {}), self._cpu_begun.get(node)
        return begun is not None and "cpu_s" in last and last["heard_s"] > begun["heard_s"]

    def _cpu_percent(self, node: str) -> float:
        last, begun = self._last[node], self._cpu_begun[node]
        return 100.0 * (last["cpu_s"] - begun["cpu_s"]) / (last["heard_s"] - begun["heard_s"])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(MonitorNode, args)


if __name__ == "__main__":
    sys.exit(main())
