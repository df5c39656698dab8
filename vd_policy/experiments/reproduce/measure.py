"""What a figure's vertical axis shows of each iteration of RL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A number of each iteration's trajectories, higher is better."""

    name: str
    """In columns and keys."""
    words: str
    """In sentences and on axes."""
    column: str
    """Of a training's ``metrics.csv``."""
    evaluated: str
    """The same in the figures of an evaluation."""
    levels: tuple[float, ...]
    """Whose first reaching is reported."""
    least: float | None = None
    """Below which it cannot fall."""


SUCCESSES = Measure("successes_per_200_steps", "successes per 200 steps", "rollout/successes_per_200_steps",
                    "successes_per_200_steps", levels=(40.0, 50.0, 60.0, 70.0), least=0.0)  # fmt: skip
"""Of the paper's Figs. 4 to 6."""
RETURN = Measure("return_per_trajectory", "return a trajectory", "rollout/return", "mean_return",
                 levels=(0.0, 5.0, 10.0, 15.0))  # fmt: skip
"""Of the paper's Fig. 7."""
