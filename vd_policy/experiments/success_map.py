"""Where on the table a policy succeeds."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.figure
import matplotlib.patches

from vd_policy.base.files import write_bytes
from vd_policy.experiments.evaluate import Evaluation

LOOKS = {
    "success": ("o", "#2ea043", "success"),
    "failure": ("X", "#cf222e", "touched something"),
    "horizon": ("s", "#bf8700", "out of time"),
}
"""Marker, colour and label of each ending; the shapes tell them apart without colour."""


def success_map(
    evaluation: Evaluation, region_m: tuple[tuple[float, float], tuple[float, float]], title: str
) -> matplotlib.figure.Figure:
    """The cups of all starts seen from above, by how their episode ended.

    Args:
        region_m: where cups are put, ((x0, x1), (y0, y1)) in the base frame [m].
    """
    figure = matplotlib.figure.Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.add_subplot()
    for ending, (marker, colour, label) in LOOKS.items():
        cups = [p.cup_m for p in evaluation.played if p.ending == ending]
        if cups:
            xs, ys = zip(*cups)
            axes.scatter(ys, xs, marker=marker, color=colour, s=36, label=f"{label} ({len(cups)})")
    (x0, x1), (y0, y1) = region_m
    axes.add_patch(matplotlib.patches.Rectangle((y0, x0), y1 - y0, x1 - x0, fill=False, linestyle="--", color="grey"))
    axes.plot(0.0, 0.0, marker="^", color="black", markersize=12, linestyle="none", label="base of the arm")
    axes.invert_xaxis()  # the robot's left is the reader's left
    axes.set(xlabel="y [m]", ylabel="x [m]", aspect="equal", title=title)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 0.12), fontsize="small")
    return figure


def save(figure: matplotlib.figure.Figure, path: Path) -> None:
    """As PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes(path, buffer.getvalue())
