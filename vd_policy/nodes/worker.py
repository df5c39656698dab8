"""A thread that works beside a node's callbacks, and whose failure ends the node."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs `work` at once on a thread of its own.

    Args:
        name: of the thread.
        work: returns when it is done, or raises.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)  # a node that fails early ends
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for the end of the work."""
        self._thread.join()

    def check(self) -> None:
        """Raise, once, what ended the work; call it on the node's own thread."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # shown and raised by the node's own thread
            self._failure = error
