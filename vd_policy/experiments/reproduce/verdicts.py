"""What the paper claims of its figures, and whether our runs bear it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vd_policy.experiments.interval import Mean, mean_of
from vd_policy.experiments.reproduce.arms import Arm
from vd_policy.experiments.reproduce.curves import Curve
from vd_policy.experiments.reproduce.jobs import MAGNITUDE

MIN_SEEDS = 5
"""Fewer seeds make no verdict."""
COMPARABLE = 0.1
"""VD counts as comparable where it is certainly less than this share below L2."""
REPRODUCED, NOT_REPRODUCED, TOO_FEW = "reproduced", "not reproduced", "not enough seeds"
REVERSED = f"{NOT_REPRODUCED}: the reverse holds"
"""The whole interval lies on the other side of the bound."""
OTHER_SETTING = "another setting, no verdict"
PAPER_SAMPLES = 8000
TABLE_1 = {(8000, 0.5): 0.677, (4000, 0.5): 0.526, (2000, 0.5): 0.359, (8000, 0.25): 0.685, (8000, 0.05): 0.766}
"""The paper's sparsity by demonstrations and noise [rad]."""

Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class Verdict:
    """One claim beside our number."""

    claim: str
    paper: str
    """The paper's number, or what it says in its place."""
    measure: str
    """What our number is."""
    ours: Mean
    outcome: str


def above(claim: str, paper: str, measure: str, values: Sequence[float], bound: float = 0.0) -> Verdict:
    """A claim that a number over the seeds exceeds `bound`: reproduced if its whole interval does."""
    ours = mean_of(values)
    return Verdict(claim, paper, measure, ours, _outcome(ours, ours.low > bound, ours.high < bound))


def below(claim: str, paper: str, measure: str, values: Sequence[float], bound: float) -> Verdict:
    """A claim that a number over the seeds is below `bound`."""
    ours = mean_of(values)
    return Verdict(claim, paper, measure, ours, _outcome(ours, ours.high < bound, ours.low > bound))


def verdicts_of(figure: str, arms: Sequence[Arm], experts: Mapping[str, float], window: int) -> list[Verdict]:
    """The claims of a figure about its learning curves.

    Args:
        arms: one for each method and data, see `best_of`.
        experts: successes per 200 steps of ``expert`` and ``expert-literal``.
        window: iterations that a level is judged over.
    """
    if figure == "fig4":
        return _fig4({arm.key[0]: arm for arm in arms}, experts, window)
    pairs = _pairs(arms)
    return [*(_vd_above_l2(pair) for pair in pairs), *(_fig5(pairs) if figure == "fig5" else _fig6(pairs))]


def table1_verdicts(sparsities: Mapping[tuple[int, float], Mapping[int, dict[str, Any]]], full: int) -> list[Verdict]:
    """Table I; its numbers are judged at its own numbers of demonstrations alone, its trends always.

    Args:
        sparsities: demonstrations and noise to seed to the figures of a finished clone.
        full: our number of demonstrations in place of the paper's 8000.
    """
    found = []
    for (samples, noise), paper in TABLE_1.items():
        row = sparsities.get((samples * full // PAPER_SAMPLES, noise), {})
        for share in ("unit", "weight"):
            ours = mean_of([figures[f"{share}_sparsity"] for figures in row.values()])
            claim = f"sparsity with {samples * full // PAPER_SAMPLES} demonstrations, noise {noise:g}"
            outcome = _outcome(ours, ours.low <= paper <= ours.high) if full == PAPER_SAMPLES else OTHER_SETTING
            said = f"{paper} with {samples}"
            found.append(Verdict(claim, said, f"share of {share}s pruned", ours, outcome))
    for share in ("unit", "weight"):
        for claim, more, less in (("more demonstrations, sparser", (full, 0.5), (full // 4, 0.5)),
                                  ("less noise, sparser", (full, 0.05), (full, 0.5))):  # fmt: skip
            a, b = sparsities.get(more, {}), sparsities.get(less, {})
            gains = [a[s][f"{share}_sparsity"] - b[s][f"{share}_sparsity"] for s in a if s in b]
            said = f"{TABLE_1[8000, more[1]] - TABLE_1[2000 if more[1] == 0.5 else 8000, 0.5]:+.3f}"
            found.append(above(claim, said, f"difference in the share of {share}s pruned", gains))
    return found


def _outcome(ours: Mean, held: bool, opposite: bool = False) -> str:
    if ours.values < MIN_SEEDS:
        return TOO_FEW
    return REPRODUCED if held else REVERSED if opposite else NOT_REPRODUCED


def _differences(a: Arm, b: Arm, measure: Callable[[Curve], float]) -> list[float]:
    """Of the seeds that both have: demonstrations and rollouts are drawn alike."""
    theirs = {t.job.seed: measure(t.curve) for t in b.trainings}
    return [measure(t.curve) - theirs[t.job.seed] for t in a.trainings if t.job.seed in theirs]


def _fig4(arms: Mapping[str, Arm], experts: Mapping[str, float], window: int) -> list[Verdict]:
    found = []
    vd = arms.get("vd")
    if vd is None:
        return []
    for other, name, paper in (("l2", "L2", "clearly above"), (MAGNITUDE, "L2 pruned to its size", "not in the paper"),
                               ("none", "no regulariser", "not in the paper"),
                               ("random", "no pre-training", "far above")):  # fmt: skip
        if other in arms:
            for measure, said in ((Curve.area, "mean"), (Curve.final, "final")):
                differences = _differences(vd, arms[other], measure)
                found.append(above(f"VD is better than {name}", paper,
                                   f"difference in {said} successes per 200 steps", differences))  # fmt: skip
    if "l2" in arms:
        found.append(below("VD needs less than a quarter of L2's samples for L2's final level", "< 0.25",
                           "share of the steps; 1 where it never got there", _shares(vd, arms["l2"], window),
                           0.25))  # fmt: skip
    for expert, rate in experts.items():
        ends = [t.curve.final() - rate for t in vd.trainings]
        found.append(above(f"VD ends above the expert ({expert}, {rate:.1f})", "above",
                           "difference in final successes per 200 steps", ends))  # fmt: skip
    return found


def _shares(vd: Arm, l2: Arm, window: int) -> list[float]:
    ends = l2.by_seed(Curve.final)
    shares = []
    for t in vd.trainings:
        level = ends.get(t.job.seed)
        if level is not None:
            shares.append((t.curve.steps_to(level, window) or t.curve.steps[-1]) / t.curve.steps[-1])
    return shares


def _pairs(arms: Sequence[Arm]) -> list[Pair]:
    """VD and L2 on the same data, fewer demonstrations and less noise first."""
    by_key = {arm.key: arm for arm in arms}
    data = sorted({key[1:] for key in by_key if ("vd", *key[1:]) in by_key and ("l2", *key[1:]) in by_key})
    return [(by_key["vd", samples, noise], by_key["l2", samples, noise]) for samples, noise in data]


def _vd_above_l2(pair: Pair) -> Verdict:
    clone = pair[0].job.clone
    claim = f"VD is better than L2 with {clone.samples} demonstrations, noise {clone.noise_std_rad:g}"
    return above(claim, "above", "difference in mean successes per 200 steps", _differences(*pair, Curve.area))


def _fig5(pairs: Sequence[Pair]) -> list[Verdict]:
    if len(pairs) < 2:
        return []
    vd, l2 = pairs[0][0], pairs[-1][1]
    claim = f"VD with {vd.job.clone.samples} demonstrations is comparable to L2 with {l2.job.clone.samples}"
    return [above(claim, "comparable", f"difference in mean successes per 200 steps, more than -{COMPARABLE:.0%} of L2",
                  _differences(vd, l2, Curve.area), -COMPARABLE * l2.mean(Curve.area).mean)]  # fmt: skip


def _fig6(pairs: Sequence[Pair]) -> list[Verdict]:
    if len(pairs) < 2:
        return []
    vd, l2 = (_spread([pair[i] for pair in pairs]) for i in (0, 1))
    values = [l2[seed] - vd[seed] for seed in vd if seed in l2]
    return [above("VD depends less on the noise than L2", "less", "difference in the spread of the mean over noises",
                  values)]  # fmt: skip


def _spread(arms: Sequence[Arm]) -> dict[int, float]:
    """Largest less smallest mean rate over the arms, by seed."""
    areas = [{t.job.seed: t.curve.area() for t in arm.trainings} for arm in arms]
    common = set.intersection(*(set(a) for a in areas))
    return {seed: max(a[seed] for a in areas) - min(a[seed] for a in areas) for seed in sorted(common)}
