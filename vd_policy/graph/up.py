"""Runs a graph where there is no ``ros2 launch``: the same node processes, under honcho."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from honcho.manager import SIGNALS, Manager
from honcho.printer import Message, Printer

from vd_policy.graph.nodes import graph
from vd_policy.graph.process import NodeSpec, command, environment

INTERRUPTED = tuple(signal_["rc"] for signal_ in SIGNALS.values())
"""What `up` returns when it was told to stop by SIGINT or SIGTERM: 130, 143."""

PATIENCE_S = 15.0
"""A node that was told to end is killed when it lives so much longer than honcho's own 5 s: a recorder may have to
write what it holds, a learner to finish an update."""

OnLine = Callable[[str, str], None]
"""Called with a node's name (or ``system``) and one line of its output."""


def up(name: str, options: Any = None, on_line: OnLine | None = None) -> int:
    """Run a graph until one of its nodes ends; the others are then stopped with SIGTERM, which they take cleanly.

    Must be called in the main thread, since it takes SIGINT and SIGTERM meanwhile.

    Args:
        name: ``sim``, ``demonstrate``, ``deploy`` or ``train``.
        options: an instance of that graph's options; None for the defaults.
        on_line: gets the nodes' output instead of stdout.

    Returns:
        the exit code of the node that ended first (128 + n when signal n ended it), or one of `INTERRUPTED`.

    Raises:
        BadInput: an option is wrong; nothing has been started.
    """
    return run(graph(name, options), on_line)


def run(nodes: list[NodeSpec], on_line: OnLine | None = None) -> int:
    """`up` for any list of nodes."""
    printer = _Lines(on_line) if on_line else Printer(sys.stdout)
    manager = _Manager(printer)
    with tempfile.TemporaryDirectory(prefix="vd_policy-") as folder, _signals_restored():
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))  # the terminal was closed
        for node in nodes:
            line = command(node, Path(folder) / f"{node.name}.yaml")
            # exec: the shell must not stand between a signal and the node
            manager.add_process(node.name, "exec " + shlex.join(line), env=environment())
        manager.loop()
    code = manager.returncode
    return 128 - code if code < 0 else code


class _Manager(Manager):
    """A honcho manager that can be told to end while its processes are being started, and that gives them time."""

    _wanted, _overdue_s = False, float("inf")

    def terminate(self) -> None:
        """Now, or as soon as all have started: honcho itself knows no process that has not said so yet."""
        self._wanted = True
        if super()._all_started():
            super().terminate()

    def kill(self) -> None:
        """Called again and again once honcho's patience is at an end."""
        now_s = time.monotonic()
        self._overdue_s = min(self._overdue_s, now_s + PATIENCE_S)
        if now_s >= self._overdue_s:
            super().kill()

    def _all_started(self) -> bool:
        started = super()._all_started()
        if started and self._wanted and not self._terminating:
            super().terminate()
        return bool(started)


class _Lines:
    """A honcho printer that hands lines to a function."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self.width = 0

    def write(self, message: Message) -> None:
        data = message.data
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
        for line in text.splitlines():
            self._on_line(message.name, line)


@contextmanager
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
