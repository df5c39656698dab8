"""What the paper claims of its figures and of Table I, and whether our runs bear it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from vd_policy.experiments.reproduce.arms import TITLES, Arm
from vd_policy.experiments.reproduce.curves import Curve, Trained
from vd_policy.experiments.reproduce.jobs import FILTERS, MAGNITUDE, UNCERTAINTY
from vd_policy.experiments.reproduce.measure import Measure
from vd_policy.experiments.reproduce.plan import FIGURES, FULL_SAMPLES, OUR_EXPERT, is_papers, shows_ours
from vd_policy.experiments.reproduce.verdict import TOO_SHORT, Judge, Verdict

COMPARABLE = 0.1
"""One arm counts as comparable to another where it is certainly less than this share below it."""
L2_SHARE = 0.25
"""Of L2's samples: what the paper says VD needs."""
OUR_SHARE = 0.25
"""Of the samples of the paper's recipe: what ours is meant to need."""
NEAR_EXPERT = 0.9
"""Share of the expert's return within which a policy counts as being there."""
TABLE_1 = {(8000, 0.5): 0.677, (4000, 0.5): 0.526, (2000, 0.5): 0.359, (8000, 0.25): 0.685, (8000, 0.05): 0.766}
"""The paper's sparsity by demonstrations and noise [rad]."""
TABLE_1_GRASP = 0.693
SHARES = ("unit", "weight")
"""The paper speaks of neurons and of weights: both are given."""

Pair = tuple[Arm, Arm]
Sparsities = Mapping[tuple[int, float], Mapping[int, dict[str, Any]]]
"""Demonstrations and noise to seed to the figures of a finished clone."""


def curve_verdicts(
    figure: str, arms: Sequence[Arm], experts: Mapping[str, float], window: int, recipe: str = "trpo"
) -> list[Verdict]:
    """The claims of a figure about its learning curves.

    Args:
        arms: one for each method and data, see `best_of`.
        experts: the figure's measure of ``expert``, and of ``expert-literal`` where that is one of its lines.
        window: iterations that a level is judged over.
        recipe: of RL, the one that was asked for; ours is judged beside it.
    """
    judge, measure = Judge(FIGURES[figure].min_seeds), FIGURES[figure].measure
    by_method = {arm.job.method: arm for arm in arms}
    if figure == "fig4":
        return _fig4(judge, by_method, experts, window, measure)
    if figure in ("recipes", "ours"):
        return _recipes(judge, arms, experts, window, measure, recipe)
    if figure == "fig7":
        return _fig7(judge, by_method, experts, measure)
    pairs = _pairs(arms)
    found = [_vd_above_l2(judge, pair, measure) for pair in pairs]
    return [*found, *(_fig5(judge, pairs, measure) if figure == "fig5" else _fig6(judge, pairs))]


def sparsity_verdicts(figure: str, sparsities: Sparsities, full: int) -> list[Verdict]:
    """Rows of Table I; its numbers are judged at its own numbers of demonstrations alone, its trends always.

    Args:
        full: our number of demonstrations in place of the paper's 8000.
    """
    judge = Judge(FIGURES[figure].min_seeds)
    return _grasping_row(judge, sparsities, full) if figure == "table1_grasp" else _table1(judge, sparsities, full)


def _differences(a: Arm, b: Arm, number: Callable[[Curve], float]) -> list[float]:
    """Of the seeds that both have: demonstrations and rollouts are drawn alike."""
    return [number(mine) - number(other) for mine, other in _curves(a, b)]


def _curves(a: Arm, b: Arm) -> list[tuple[Curve, Curve]]:
    """Of the seeds that both have, in the order of `a`."""
    theirs = {t.job.seed: t.curve for t in b.trainings}
    return [(t.curve, theirs[t.job.seed]) for t in a.trainings if t.job.seed in theirs]


def _vd_above_others(
    judge: Judge, arms: Mapping[str, Arm], measure: Measure, said: Mapping[str, tuple[str, str]]
) -> list[Verdict]:
    """VD beside each other method that was run, over all of RL and at its end.

    Args:
        said: what a method is called, and what the paper says of it.
    """
    found = []
    for other, (name, paper) in said.items():
        if other in arms:
            for number, which in ((Curve.area, "mean"), (Curve.final, "final")):
                found.append(judge.above(f"VD is better than {name}", paper, f"difference in {which} {measure.words}",
                                         _differences(arms["vd"], arms[other], number)))  # fmt: skip
    return found


def _fig4(
    judge: Judge, arms: Mapping[str, Arm], experts: Mapping[str, float], window: int, measure: Measure
) -> list[Verdict]:
    vd = arms.get("vd")
    if vd is None:
        return []
    said = {"l2": ("L2", "clearly above"), MAGNITUDE: ("L2 pruned to its size", "not in the paper"),
            "none": ("no regulariser", "not in the paper"), "random": ("no pre-training", "far above")}  # fmt: skip
    found = _vd_above_others(judge, arms, measure, said)
    if "l2" in arms:
        found.append(_quicker(judge, vd, arms["l2"], window))
    if FILTERS in arms:
        found.append(judge.above("VD of filters, too, learns as fast", "not in the paper",
                                 f"difference in mean {measure.words}, more than -{COMPARABLE:.0%} of VD's",
                                 _differences(arms[FILTERS], vd, Curve.area),
                                 -COMPARABLE * vd.mean(Curve.area).mean))  # fmt: skip
    if UNCERTAINTY in arms:
        found.append(judge.above("VD's uncertainty explores better than a fixed start", "future work",
                                 f"difference in mean {measure.words}",
                                 _differences(arms[UNCERTAINTY], vd, Curve.area)))  # fmt: skip
    for expert, rate in experts.items():
        ends = [t.curve.final() - rate for t in vd.trainings]
        found.append(judge.above(f"VD ends above the expert ({expert}, {rate:.1f})", "above",
                                 f"difference in final {measure.words}", ends))  # fmt: skip
    return found


def _quicker(judge: Judge, vd: Arm, l2: Arm, window: int) -> Verdict:
    """How many of L2's steps VD takes to where L2 ends, seed by seed.

    Nobody reaches a level within less than a window. Where that alone is more of L2's steps than the claim allows, and
    what was measured may be no more than that, the trainings are too short to tell.
    """
    levels = [(mine, other, other.final()) for mine, other in _curves(vd, l2)]
    ours = [_steps(mine, level, window) for mine, _, level in levels]
    theirs = [_steps(other, level, window) for _, other, level in levels]
    found = judge.below("VD needs less than a quarter of L2's samples for L2's final level", f"< {L2_SHARE}",
                        "share of L2's steps; a level never reached counts as all steps",
                        [mine / other for mine, other in zip(ours, theirs)], L2_SHARE)  # fmt: skip
    if levels:
        soonest = [float(mine.steps[min(window, len(mine.steps)) - 1]) for mine, _, _ in levels]
        least = median(soonest) / median(theirs)
        if least >= L2_SHARE and not found.ours.low > least:
            return replace(found, outcome=TOO_SHORT)
    return found


def _steps(curve: Curve, level: float, window: int, least: float = 0.0) -> float:
    """To a level; all of them, and no fewer than `least`, where it was never reached."""
    return curve.steps_to(level, window) or float(max(curve.steps[-1], least))


def _fig7(judge: Judge, arms: Mapping[str, Arm], experts: Mapping[str, float], measure: Measure) -> list[Verdict]:
    found = []
    if "random" in arms:
        successes = [t.successes for t in arms["random"].trainings]
        found.append(judge.never("without pre-training nothing is learned", "not a single success",
                                 "successful trajectories in all of RL", successes))  # fmt: skip
    if "vd" not in arms:
        return found
    said = {"l2": ("L2", "clearly above"), MAGNITUDE: ("L2 pruned to its size", "not in the paper"),
            "none": ("no regulariser", "not in the paper"), "random": ("no pre-training", "above")}  # fmt: skip
    found += _vd_above_others(judge, arms, measure, said)
    for method, name in (("vd", "VD"), ("l2", "L2")):
        for expert, level in experts.items() if method in arms else ():
            found += _beside_expert(judge, name, arms[method].trainings, f"{expert}, {level:.1f}", level, measure)
    return found


def _beside_expert(
    judge: Judge, name: str, trainings: Sequence[Trained], expert: str, level: float, measure: Measure
) -> list[Verdict]:
    """How much is left to the expert: while exploring, as the paper plots it, and for the policy that is put to use."""
    ends = [t.curve.final() - level for t in trainings]
    shares = [end[measure.evaluated] / level for t in trainings if (end := t.at_end)]
    return [
        judge.below(f"{name} ends short of the expert ({expert})", "significantly short",
                    f"difference in final {measure.words}", ends),
        judge.reaches(f"{name} comes within 10 % of the expert ({expert})", "not reached",
                      "mean policy's share of the expert's return on fixed starts", shares, NEAR_EXPERT),
    ]  # fmt: skip


def _recipes(
    judge: Judge, arms: Sequence[Arm], experts: Mapping[str, float], window: int, measure: Measure, recipe: str
) -> list[Verdict]:
    """What is ours beside VD under the asked-for recipe, seed by seed: what each level costs, and where ours ends."""
    clipped = {name: level for name, level in experts.items() if name == "expert"}  # as printed it is passed at once
    shown = {name: level for name, level in experts.items() if name in ("expert", OUR_EXPERT)}
    plain = [arm for arm in arms if is_papers(arm.job, recipe)]
    found = []
    for arm in arms:
        if arm in plain:
            continue
        name = _name(arm)
        for other in plain:
            for level in (*measure.levels, *clipped.values()):
                found.append(judge.costs_at_most(
                    f"{name} needs at most 1/4 of {other.job.recipe}'s samples for {level:.1f}", "not in the paper",
                    "share of the steps; a level never reached counts as all steps", _cost(arm, other, level, window),
                    OUR_SHARE, len(_curves(arm, other))))  # fmt: skip
        for expert, level in shown.items():
            ends = [t.curve.final() - level for t in arm.trainings]
            found.append(judge.reaches(f"{name} ends above the expert ({expert}, {level:.1f})", "not in the paper",
                                       f"difference in final {measure.words}", ends, 0.0))  # fmt: skip
    return found


def _name(arm: Arm) -> str:
    """A recipe as a whole: demonstrations and exploration where they are not the paper's, and RL."""
    parts = ["our demonstrations"] if shows_ours(arm.job.clone) else []
    if arm.job.method == UNCERTAINTY:
        parts.append(TITLES[UNCERTAINTY])
    return ", ".join([*parts, arm.job.recipe])


def _cost(a: Arm, b: Arm, level: float, window: int) -> list[float]:
    """Steps of `a` to a level as a share of those of `b`, of all seeds that both have; none where nobody got there.

    Where `a` never got there it counts all steps of whichever went on for longer: it may have been stopped early.
    """
    curves = _curves(a, b)
    if not any(curve.steps_to(level, window) for pair in curves for curve in pair):
        return []
    return [_steps(mine, level, window, least=other.steps[-1]) / _steps(other, level, window) for mine, other in curves]


def _pairs(arms: Sequence[Arm]) -> list[Pair]:
    """VD and L2 on the same data, fewer demonstrations and less noise first."""
    by_key = {arm.key: arm for arm in arms}
    data = sorted({key[1:] for key in by_key if ("vd", *key[1:]) in by_key and ("l2", *key[1:]) in by_key})
    return [(by_key["vd", *same], by_key["l2", *same]) for same in data]


def _vd_above_l2(judge: Judge, pair: Pair, measure: Measure) -> Verdict:
    clone = pair[0].job.clone
    claim = f"VD is better than L2 with {clone.samples} demonstrations, noise {clone.noise_std_rad:g}"
    return judge.above(claim, "above", f"difference in mean {measure.words}", _differences(*pair, Curve.area))


def _fig5(judge: Judge, pairs: Sequence[Pair], measure: Measure) -> list[Verdict]:
    if len(pairs) < 2:
        return []
    vd, l2 = pairs[0][0], pairs[-1][1]
    claim = f"VD with {vd.job.clone.samples} demonstrations is comparable to L2 with {l2.job.clone.samples}"
    return [judge.above(claim, "comparable", f"difference in mean {measure.words}, more than -{COMPARABLE:.0%} of L2",
                        _differences(vd, l2, Curve.area), -COMPARABLE * l2.mean(Curve.area).mean)]  # fmt: skip


def _fig6(judge: Judge, pairs: Sequence[Pair]) -> list[Verdict]:
    if len(pairs) < 2:
        return []
    vd, l2 = (_spread([pair[i] for pair in pairs]) for i in (0, 1))
    values = [l2[seed] - vd[seed] for seed in vd if seed in l2]
    return [judge.above("VD depends less on the noise than L2", "less",
                        "difference in the spread of the mean over noises", values)]  # fmt: skip


def _spread(arms: Sequence[Arm]) -> dict[int, float]:
    """Largest less smallest mean over the arms, by seed."""
    areas = [{t.job.seed: t.curve.area() for t in arm.trainings} for arm in arms]
    common = set.intersection(*(set(a) for a in areas))
    return {seed: max(a[seed] for a in areas) - min(a[seed] for a in areas) for seed in sorted(common)}


def _table1(judge: Judge, sparsities: Sparsities, full: int) -> list[Verdict]:
    found = []
    for (samples, noise), paper in TABLE_1.items():
        ours = samples * full // FULL_SAMPLES
        found += _row(judge, f"sparsity with {ours} demonstrations, noise {noise:g}", f"{paper} with {samples}", paper,
                      sparsities.get((ours, noise), {}), comparable=full == FULL_SAMPLES)  # fmt: skip
    for share in SHARES:
        for claim, more, less in (("more demonstrations, sparser", (full, 0.5), (full // 4, 0.5)),
                                  ("less noise, sparser", (full, 0.05), (full, 0.5))):  # fmt: skip
            a, b = sparsities.get(more, {}), sparsities.get(less, {})
            gains = [a[s][f"{share}_sparsity"] - b[s][f"{share}_sparsity"] for s in a if s in b]
            said = f"{TABLE_1[8000, more[1]] - TABLE_1[2000 if more[1] == 0.5 else 8000, 0.5]:+.3f}"
            found.append(judge.above(claim, said, f"difference in the share of {share}s pruned", gains))
    return found


def _grasping_row(judge: Judge, sparsities: Sparsities, full: int) -> list[Verdict]:
    """Judged at the paper's number of demonstrations; its noise is not known."""
    return [
        verdict
        for (samples, noise), row in sparsities.items()
        for verdict in _row(judge, f"sparsity for grasping, {samples} demonstrations, noise {noise:g}",
                            f"{TABLE_1_GRASP}", TABLE_1_GRASP, row, comparable=full == FULL_SAMPLES)
    ]  # fmt: skip


def _row(
    judge: Judge, claim: str, said: str, paper: float, row: Mapping[int, dict[str, Any]], *, comparable: bool
) -> list[Verdict]:
    found = []
    for share in SHARES:
        values, measure = [figures[f"{share}_sparsity"] for figures in row.values()], f"share of {share}s pruned"
        found.append(judge.agrees(claim, said, measure, values, paper) if comparable
                     else judge.elsewhere(claim, said, measure, values))  # fmt: skip
    return found
