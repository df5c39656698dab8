"""The intervals that go with every success rate and every mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927): never outside [0, 1], sound near 0 and 1.

    Returns:
        lower and upper bound; (0, 1) when there was no trial.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z, rate = Z_95, successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


STUDENT_95 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
"""Two-sided 95 % quantiles of Student's t distribution for 1 to 30 degrees of freedom."""


class Mean(NamedTuple):
    """A mean over seeds with its 95 % interval; the bounds are NaN where a single value has none."""

    mean: float
    low: float
    high: float
    values: int

    def __str__(self) -> str:
        if self.values == 0:
            return "-"
        return f"{self.mean:.3g}" if self.values == 1 else f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_of(values: Sequence[float]) -> Mean:
    """Mean and Student's t interval of independent values."""
    count = len(values)
    if count == 0:
        return Mean(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(values) / count
    if count == 1:
        return Mean(mean, math.nan, math.nan, 1)
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    half = _student_95(count - 1) * math.sqrt(variance / count)
    return Mean(mean, mean - half, mean + half, count)


def _student_95(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t; beyond the table by its expansion about the normal one's (26.7.5 of
    Abramowitz and Stegun, Handbook of Mathematical Functions), which is right to 1e-5 there."""
    if freedom <= len(STUDENT_95):
        return STUDENT_95[freedom - 1]
    z = Z_95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
