"""Turns what is complete of a figure into CSV, plot and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vd_policy.base.files import write_bytes, write_json
from vd_policy.base.settings import as_dict
from vd_policy.experiments.interval import Mean
from vd_policy.experiments.reproduce.arms import Arm, arms_of, best_of, titles
from vd_policy.experiments.reproduce.chain import csv_text, done
from vd_policy.experiments.reproduce.claims import curve_verdicts, sparsity_verdicts
from vd_policy.experiments.reproduce.curve_plot import curve_plot
from vd_policy.experiments.reproduce.curves import Curve, Trained, read_trained
from vd_policy.experiments.reproduce.jobs import CloneJob, TrainJob
from vd_policy.experiments.reproduce.measure import Measure
from vd_policy.experiments.reproduce.plan import Plan
from vd_policy.experiments.reproduce.verdict import Verdict
from vd_policy.experiments.success_map import save
from vd_policy.sim.tasks import load_task

PLAIN_RECIPE = "trpo"
"""Its files bear the figure's name alone; those of another recipe are kept apart by its name."""

TIMING = ("units", "seconds")
"""What a done-file says for the forecast alone."""

Clone = tuple[CloneJob, dict[str, Any]]
"""A finished clone and what its done-file says."""


@dataclass(frozen=True)
class FigureReport:
    """What is known of a figure, and the files that say so."""

    figures: dict[str, Any]
    markdown: str
    files: tuple[Path, ...]


def write_report(plan: Plan, experts: Mapping[str, float], root: Path) -> FigureReport:
    """Write the tables of all jobs of `plan` that are done; others are left out and counted.

    Args:
        experts: the figure's measure, by name.
        root: the figure's directory, which the jobs lie in and the files go to.
    """
    measure = plan.contents.measure
    found = [t for job in plan.trainings if (t := read_trained(job, root, measure)) is not None]
    clones = [(job, figures) for job in plan.clones if (figures := done(job, root)) is not None]
    arms = arms_of(found)
    window = plan.scale.smoothing
    if plan.trainings:
        verdicts = curve_verdicts(plan.figure, best_of(arms), experts, window, plan.recipe)
    else:
        verdicts = sparsity_verdicts(plan.figure, _by_data(clones), plan.scale.samples)
    rows = [_arm_row(arm, name, experts, window, measure) for arm, name in zip(arms, titles(arms))]
    wanted, there = (len(plan.trainings), len(found)) if plan.trainings else (len(plan.clones), len(clones))
    figures = {
        "figure": plan.figure,
        "recipe": plan.recipe,
        "scale": as_dict(plan.scale),
        "jobs": wanted,
        "jobs_complete": there,
        f"experts_{measure.name}": dict(experts),
        "arms": rows,
        "verdicts": [_plain_verdict(v) for v in verdicts],
    }
    stem = root / (plan.figure if plan.recipe == PLAIN_RECIPE else f"{plan.figure}_{Path(plan.recipe).stem}")
    images = "x".join(map(str, load_task(plan.task).image(plan.scale.image_size)))
    text = _markdown(figures, rows, verdicts, experts, measure, images)
    texts = {f"{name}.csv": csv_text(table) for name, table in _tables(found, clones, window, measure).items() if table}
    files = [_file(stem, name) for name in (*texts, "verdicts.md", "verdicts.json")]
    for file, content in zip(files, (*texts.values(), text)):
        write_bytes(file, content.encode())
    write_json(files[-1], figures)
    if arms:
        title = f"{plan.figure}, {images} images, {plan.scale.samples} demonstrations at most, {plan.recipe}"
        files.append(stem.with_name(f"{stem.name}.png"))
        save(curve_plot(title, arms, experts, window, measure), files[-1])
    return FigureReport(figures, text, tuple(files))


def _file(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}_{name}")


def _tables(
    found: Sequence[Trained], clones: Sequence[Clone], window: int, measure: Measure
) -> dict[str, list[dict[str, Any]]]:
    """The CSV files by name."""
    return {
        "curves": [row for t in found for row in _curve_rows(t, window, measure)],
        "evaluations": [{**_head(t.job), **row} for t in found for row in t.evaluations],
        "sparsity": [
            {**_clone_head(job), **{k: v for k, v in figures.items() if k not in TIMING}}
            for job, figures in clones
            if "unit_sparsity" in figures
        ],
    }


def _by_data(clones: Sequence[Clone]) -> dict[tuple[int, float], dict[int, dict[str, Any]]]:
    table: dict[tuple[int, float], dict[int, dict[str, Any]]] = {}
    for job, figures in clones:
        table.setdefault((job.samples, job.noise_std_rad), {})[job.seed] = figures
    return table


def _clone_head(clone: CloneJob) -> dict[str, Any]:
    return {"method": clone.method, "demonstrations": clone.samples, "noise_rad": clone.noise_std_rad,
            "rule": clone.rule, "task": clone.task, "l2_weight": clone.l2_weight, "seed": clone.seed}  # fmt: skip


def _head(job: TrainJob) -> dict[str, Any]:
    return {**_clone_head(job.clone), "method": job.method, "initial_std": job.initial_std, "recipe": job.recipe}


def _curve_rows(t: Trained, window: int, measure: Measure) -> list[dict[str, Any]]:
    head, smoothed = _head(t.job), t.curve.smoothed(window)
    return [
        {**head, "env_steps": int(steps), measure.name: round(float(value), 4), "smoothed": round(s, 4)}
        for steps, value, s in zip(t.curve.steps, t.curve.values, smoothed.tolist())
    ]


def _arm_row(arm: Arm, name: str, experts: Mapping[str, float], window: int, measure: Measure) -> dict[str, Any]:
    """One line of the table of arms: areas, final levels, steps to levels (of the seeds that got there)."""
    levels = {f"{level:g}": level for level in measure.levels} | dict(experts)
    reached = {label: arm.by_seed(lambda curve, at=level: curve.steps_to(at, window))  # type: ignore[misc]
               for label, level in levels.items()}  # fmt: skip
    ends = [end for t in arm.trainings if (end := t.at_end)]
    return {
        "arm": name,
        "seeds": len(arm.trainings),
        "env_steps": min(int(t.curve.steps[-1]) for t in arm.trainings),
        f"mean_{measure.name}": _bounds(arm.mean(Curve.area)),
        f"final_{measure.name}": _bounds(arm.mean(Curve.final)),
        "final_success_rate_of_the_mean_policy": _number(_mean([row["success_rate"] for row in ends])),
        f"final_{measure.name}_of_the_mean_policy": _number(_mean([row[measure.evaluated] for row in ends])),
        "steps_to_level": {label: {str(s): v for s, v in found.items()} for label, found in reached.items()},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _bounds(mean: Mean) -> dict[str, float | None]:
    return {name: _number(getattr(mean, name)) for name in ("mean", "low", "high")}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    return {"claim": verdict.claim, "paper": verdict.paper, "measure": verdict.measure, "ours": _bounds(verdict.ours),
            "seeds": verdict.ours.values, "outcome": verdict.outcome}  # fmt: skip


def _markdown(
    figures: Mapping[str, Any],
    rows: Sequence[dict[str, Any]],
    verdicts: Sequence[Verdict],
    experts: Mapping[str, float],
    measure: Measure,
    images: str,
) -> str:
    scale = figures["scale"]
    lines = [
        f"# {figures['figure']}, recipe {figures['recipe']}",
        "",
        f"{figures['jobs_complete']} of {figures['jobs']} jobs complete; {images} images, {scale['samples']} "
        f"demonstrations, expert's eq. 10 {scale['rule']}. Means over seeds with 95 % t intervals.",
        "",
        "| claim | paper | ours | measured as | seeds | verdict |",
        "|---|---|---|---|---|---|",
        *(f"| {v.claim} | {v.paper} | {v.ours} | {v.measure} | {v.ours.values} | {v.outcome} |" for v in verdicts),
    ]
    if rows:
        lines += ["", *_arm_table(rows, measure)]
    if experts:
        said = ", ".join(f"{name} {rate:.1f}" for name, rate in experts.items())
        lines += ["", f"Experts, noiseless, {measure.words}: {said}."]
    return "\n".join([*lines, ""])


def _arm_table(rows: Sequence[dict[str, Any]], measure: Measure) -> list[str]:
    labels = list(rows[0]["steps_to_level"])
    head = ["arm", "seeds", "steps", "mean", "final", f"mean policy's {measure.words}", "its success",
            *(f"steps to {label}" for label in labels)]  # fmt: skip
    lines = [f"{measure.words.capitalize()} of the exploring policy; a level counts as reached when the smoothed curve "
             "is first there, and is given as the mean of the seeds that got there and their number.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]  # fmt: skip
    for row in rows:
        level = row[f"final_{measure.name}_of_the_mean_policy"]
        rate = row["final_success_rate_of_the_mean_policy"]
        cells = [row["arm"], str(row["seeds"]), str(row["env_steps"]), _spell(row[f"mean_{measure.name}"]),
                 _spell(row[f"final_{measure.name}"]), "-" if level is None else f"{level:.1f}",
                 "-" if rate is None else f"{rate:.2f}",
                 *(_reached(row["steps_to_level"][label]) for label in labels)]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _spell(bounds: Mapping[str, float | None]) -> str:
    low, high = bounds["low"], bounds["high"]
    return f"{bounds['mean']:.1f}" + (f" [{low:.1f}, {high:.1f}]" if low is not None and high is not None else "")


def _reached(by_seed: Mapping[str, float | None]) -> str:
    there = [steps for steps in by_seed.values() if steps is not None]
    return f"{sum(there) / len(there):.0f} ({len(there)})" if there else "never"
