"""Training curves: one row of numbers an iteration, as CSV and as TensorBoard events."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from vd_policy.base.errors import BadInput
from vd_policy.base.files import storage_errors

STEP = "step"
"""Column of the horizontal axis: Adam steps in cloning, environment steps (pre-training counted in) in RL."""


class Metrics:
    """Rows in the order they were logged.

    Args:
        text: a ``metrics.csv`` whose rows are taken up again, as a resumed training does.
    """

    def __init__(self, text: str | None = None) -> None:
        self.rows: list[dict[str, float]] = read_csv(text) if text else []
        self._in_events = len(self.rows)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one row; figures by name, such as ``rollout/return``."""
        self.rows.append({STEP: step, **figures})

    def columns(self) -> list[str]:
        """`STEP`, then every name in the order of its first appearance."""
        return [STEP, *dict.fromkeys(name for row in self.rows for name in row if name != STEP)]

    def csv(self) -> str:
        """All rows; a figure that a row lacks is left empty. `repr` of a float is exact, so reading it back is too."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def write_events(self, run: Path) -> None:
        """Append the rows since the last call to the TensorBoard events of a run, in ``<run>.events/`` beside it.

        Beside it, since the run directory is replaced whole at each checkpoint and holds hashed files only.
        """
        directory = run.with_name(run.name + ".events")
        with storage_errors("writing curves", directory), SummaryWriter(str(directory)) as writer:
            for row in self.rows[self._in_events :]:
                for name, value in row.items():
                    if name != STEP:
                        writer.add_scalar(name, value, int(row[STEP]))
        self._in_events = len(self.rows)


def read_csv(text: str) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``.

    Raises:
        BadInput: there is no `STEP` column, or something is no number.
    """
    reader = csv.DictReader(io.StringIO(text))
    if STEP not in (reader.fieldnames or ()):
        raise BadInput("metrics.csv: columns", reader.fieldnames, f"a column named {STEP!r}", "is it a metrics.csv?")
    try:
        return [{k: _number(v) for k, v in row.items() if v not in ("", None)} for row in reader]
    except ValueError as error:
        raise BadInput("metrics.csv", str(error), "numbers", "restore the file") from None


def _number(text: str) -> float:
    """An int where one was written, so that text that was read and written again stays the same."""
    return int(text) if text.lstrip("-").isdigit() else float(text)
