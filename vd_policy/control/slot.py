"""A place for one item in which the newest wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Hands the newest item from one thread to another; an item nobody took in time is replaced, never queued."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.replaced = 0

    def put(self, item: T) -> None:
        """Leave an item; counts one that is replaced unseen."""
        with self._condition:
            self.replaced += self._item is not None
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and remove it; None when the slot was closed or the time is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Drop what nobody took."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """Wake every waiting reader for good."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
