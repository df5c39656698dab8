"""A queue of work between two threads, bounded by the bytes it holds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class ByteQueue:
    """Actions with the size of what they carry; when it is full, new ones are refused and the old ones stay."""

    def __init__(self, limit_bytes: float) -> None:
        self._items: deque[tuple[int, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._limit_bytes = limit_bytes
        self._closed = False
        self.bytes = 0

    def put(self, size: int, action: Callable[[], None]) -> bool:
        """Append an action; False when it is full or closed."""
        with self._changed:
            if self._closed or self.bytes + size > self._limit_bytes:
                return False
            self.bytes += size
            self._items.append((size, action))
            self._changed.notify()
            return True

    def get(self) -> Callable[[], None] | None:
        """The next action, waiting for one; None when the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return None
            size, action = self._items.popleft()
            self.bytes -= size
            return action

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
