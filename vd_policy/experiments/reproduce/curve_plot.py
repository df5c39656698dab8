"""Learning curves of several arms in one plot: mean over the seeds and its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.figure
import numpy as np
from matplotlib.ticker import MaxNLocator

from vd_policy.experiments.reproduce.arms import Arm, titles
from vd_policy.experiments.reproduce.measure import Measure
from vd_policy.experiments.reproduce.plan import OUR_EXPERT

POINTS = 200
TICKS = 6
"""Of the axis of steps at most: six digits each."""
LEGEND_CHARACTERS = 200
"""Of a line of the legend, with 10 for each entry's mark."""
EXPERT_LINES = {
    "expert": ("--", "expert, eq. 10 clipped"),
    "expert-literal": (":", "expert, eq. 10 as printed"),
    OUR_EXPERT: ("-.", "expert of our demonstrations"),
}


def curve_plot(
    title: str, arms: Sequence[Arm], experts: Mapping[str, float], window: int, measure: Measure
) -> matplotlib.figure.Figure:
    """Left: rollouts of the exploring policy while it learns. Right: its mean on the fixed starts."""
    figure = matplotlib.figure.Figure(figsize=(11.0, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (arm, name) in enumerate(zip(arms, titles(arms))):
        count = len(arm.trainings)
        label = f"{name} ({count} seed{'s' if count > 1 else ''})"
        _rollouts(left, arm, label, f"C{number}", window, measure.least)
        _evaluations(right, arm, f"C{number}")
    for expert, rate in experts.items():
        style, label = EXPERT_LINES[expert]
        left.axhline(rate, color="black", linestyle=style, linewidth=1, label=label)
    left.set(title=f"exploring policy, mean of {window} iterations", xlabel="environment steps of RL",
             ylabel=measure.words, ylim=(measure.least, None))  # fmt: skip
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(TICKS))
    right.set(title="mean policy on fixed starts", xlabel="environment steps of RL", ylabel="success rate",
              ylim=(0, 1.02))  # fmt: skip
    longest = max(len(str(label)) for label in left.get_legend_handles_labels()[1])
    columns = max(1, min(4, LEGEND_CHARACTERS // (longest + 10)))
    figure.legend(loc="outside lower center", ncols=columns, fontsize="small")
    figure.suptitle(title)
    return figure


def _rollouts(axes: matplotlib.axes.Axes, arm: Arm, label: str, colour: str, window: int, least: float | None) -> None:
    begin = max(t.curve.steps[min(window, len(t.curve.steps)) - 1] for t in arm.trainings)
    end = min(t.curve.steps[-1] for t in arm.trainings)
    grid = np.linspace(begin, end, POINTS)
    band = arm.band(grid, window)
    axes.plot(grid, [m.mean for m in band], color=colour, label=label)
    low = [m.low if least is None else max(m.low, least) for m in band]
    axes.fill_between(grid, low, [m.high for m in band], color=colour, alpha=0.2)


def _evaluations(axes: matplotlib.axes.Axes, arm: Arm, colour: str) -> None:
    for training in arm.trainings:
        steps = [row.get("reached", row["env_steps"]) for row in training.evaluations]
        axes.plot(steps, [row["success_rate"] for row in training.evaluations], "o-", color=colour, alpha=0.6,
                  markersize=3, linewidth=1)  # fmt: skip
