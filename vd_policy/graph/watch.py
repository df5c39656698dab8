"""A progress bar for a graph: what its nodes have left behind, looked at from a thread beside `up`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from vd_policy.base.errors import VdPolicyError
from vd_policy.base.progress import ProgressBar

LOOK_S = 0.5
"""How often the bar looks."""


@contextmanager
def watching(count: Callable[[], int], total: int, unit: str, title: str = "") -> Iterator[None]:
    """Show how far a graph has come, since `up` keeps the main thread.

    Args:
        count: how much is there now, of `total` (0: no end is known) in `unit`; called from another thread.
        title: stands before the bar.
    """
    over = threading.Event()

    def look() -> None:
        with ProgressBar(unit, total, title) as bar, suppress(VdPolicyError, OSError):  # a bar is not worth a word
            while not bar.disable and not over.wait(LOOK_S):
                bar.reach(count())

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
