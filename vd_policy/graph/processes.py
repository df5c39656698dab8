"""Node processes one by one: for whoever has to kill one of them, which would end a graph under `up`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from vd_policy.graph.process import NodeSpec, command, environment

PATIENCE_S = 15.0
"""A node that has been told to end and lives longer is killed."""


class Processes:
    """Starts nodes and, as a context manager, ends whatever of them still runs.

    Each gets a session of its own: an interrupt at the terminal comes to them through `__exit__` alone, and Linux
    shares a busy machine out by sessions.

    Args:
        nodes: what to start.
        folder: for their parameters and output.
    """

    def __init__(self, nodes: Sequence[NodeSpec], folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for node in nodes:
            with open(self._log(node.name), "wb") as log:
                self._running[node.name] = subprocess.Popen(
                    command(node, folder / f"{node.name}.yaml"), env=environment(), stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip

    def __getitem__(self, name: str) -> subprocess.Popen[bytes]:
        return self._running[name]

    def ended(self) -> list[str]:
        """Names of those that ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def last_words(self) -> str:
        """The last line of every node that wrote one."""
        lines = {name: self._log(name).read_text(errors="replace").strip().splitlines() for name in self._running}
        return " | ".join(f"{name}: {said[-1]}" for name, said in lines.items() if said)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
