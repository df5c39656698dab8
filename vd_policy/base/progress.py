"""How far a piece of work is, for people: a bar on standard error, where that is a terminal."""

from __future__ import annotations

from tqdm import tqdm


class ProgressBar(tqdm):
    """Gone when the work is over.

    Args:
        unit: what is counted.
        total: how much there is; None where that is not known yet.
        title: stands before the bar.
    """

    def __init__(self, unit: str, total: int | None = None, title: str = "") -> None:
        super().__init__(desc=title or None, total=total or None, unit=unit, disable=None, leave=False)

    def reach(self, done: int, total: int | None = None, **newest: str) -> None:
        """Come to `done`, counted from the beginning, of `total` if that is known by now; `newest` stands behind it."""
        if total is not None:
            self.total = total
        if newest:
            self.set_postfix(newest, refresh=False)
        self.update(done - self.n)
