"""Worker processes that neither outlive their parent nor take its Ctrl-C for theirs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from multiprocessing import resource_tracker


def serve_parent() -> None:
    """Call first in a worker: it ignores Ctrl-C, which its parent answers, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def deaf() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, not even before they can say so; this one hears it afterwards."""
    resource_tracker.ensure_running()  # the first process that is spawned starts it, and that lets Ctrl-C through again
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a child inherits, unlike a handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt


def start_all(executor: Executor, workers: int) -> None:
    """Let a pool start all of its processes now."""
    with deaf():
        for _ in range(workers):
            executor.submit(os.getpid)
