"""What the demo shows at its end: a table for the terminal and a page with pictures, curves and a clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from vd_policy.base.episode import Episode
from vd_policy.demos.bag import UnusableEpisode, bag_paths, read_episode
from vd_policy.experiments.demo import DemoResult
from vd_policy.experiments.evaluate import Evaluation, Request
from vd_policy.experiments.film import film
from vd_policy.experiments.page import Page
from vd_policy.learning.metrics import STEP, read_csv

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  the backend must be chosen first

FILMED = 6
PICTURED = 5
LOOKED_AT = 20
"""Bags among which the pictured one is chosen."""
LEAD = """A camera-driven arm learns to {goal}: demonstrated, recorded, cloned, pruned, deployed and improved
through real ROS 2 nodes."""
CLIP = """The final policy on the first evaluated starts: the scene, the colour image and the depth image it sees. A
green seam marks a success, a red one a failure."""
CURVES = """Left: how well the network explains the expert's labels. Right: the rollouts that the learner node received,
one point an iteration and their running mean; the dashed lines are evaluations on the fixed starts."""
WINDOW = 5
"""Iterations that the learning curve is averaged over."""
NAMES = {
    "untrained": "untrained network",
    "cloned": "cloned with VD and pruned, mean",
    "cloned sampled": "cloned with VD and pruned, sampled",
    "improved": "after TRPO on the graph, mean",
    "improved sampled": "after TRPO on the graph, sampled",
    "expert": "expert of {task} (eq. 10, clipped)",
}
COLUMNS = ("policy", "success", "95 % interval", "per 200 steps", "mean length")


def verdict(result: DemoResult) -> str:
    """Whether the final policy beats the untrained one, in a sentence with both intervals."""
    final, untrained = result.evaluations["improved"], result.evaluations["untrained"]
    held = "clearly more often than" if result.reached else "NOT clearly more often than"
    return (f"The final policy manages to {result.settings.goal} {held} an untrained one: {_rate(final)} against "
            f"{_rate(untrained)} over {final.episodes} starts.")  # fmt: skip


def improvement(result: DemoResult) -> str:
    """What TRPO changed, by the paper's measure, whichever way it went."""
    before, after = (result.evaluations[n] for n in ("cloned sampled", "improved sampled"))
    return (f"On the graph, {result.improvement['env_steps']} steps of TRPO changed successes per 200 steps of the "
            f"sampled policy from {before.successes_per_200_steps:.1f} to {after.successes_per_200_steps:.1f}; the "
            f"expert makes {result.evaluations['expert'].successes_per_200_steps:.1f}.")  # fmt: skip


def rows(result: DemoResult) -> list[list[str]]:
    """One row a policy, under `COLUMNS`."""
    table = []
    for name in NAMES:
        e = result.evaluations[name]
        low, high = e.interval_95
        table.append([_title(name, result), f"{e.success_rate:.2f}", f"{low:.2f} to {high:.2f}",
                      f"{e.successes_per_200_steps:.1f}", f"{np.mean([p.steps for p in e.played]):.1f}"])  # fmt: skip
    return table


def size_rows(result: DemoResult) -> list[list[str]]:
    """The network before and after pruning."""
    p, ms = result.pruning, result.latency_ms
    return [
        ["parameters of the mean network", f"{p['parameters_before']:,}", f"{p['parameters_after']:,}"],
        ["weights under the threshold", "100 %", f"{1 - p['weight_sparsity']:.1%}"],
        ["units", "100 %", f"{1 - p['unit_sparsity']:.1%}"],
        ["operations a decision", f"{p['flops_before']:,}", f"{p['flops_after']:,}"],
        ["time of a decision [ms]", f"{ms['dense']:.2f}", f"{ms['pruned']:.2f}"],
    ]


def text(result: DemoResult) -> str:
    """Both tables and the verdict, for the terminal."""
    lines = [*_columns([list(COLUMNS), *rows(result)]), ""]
    lines += [*_columns([["network", "before pruning", "after"], *size_rows(result)]), ""]
    return "\n".join([*lines, verdict(result), improvement(result)])


def figures(result: DemoResult) -> dict[str, Any]:
    """The same numbers for ``--json``."""
    policies = {name.replace(" ", "_"): e.figures() for name, e in result.evaluations.items()}
    improved = {k: v for k, v in result.improvement.items() if k != "metrics_csv"}
    pruning = {k: v for k, v in result.pruning.items() if k != "layers"}
    return {
        "task": result.settings.task,
        "reached": result.reached,
        "seconds": result.seconds,
        "demonstrations": result.demonstrations,
        "pruning": pruning,
        "decision_ms": result.latency_ms,
        "deployed": result.deployed,
        "improvement": improved,
        "policies": policies,
    }


def write_page(result: DemoResult, out: Path) -> Path:
    """``report.html`` under `out`, in one file with everything in it."""
    page = Page("vd_policy demo", LEAD.format(goal=result.settings.goal))
    page.verdict(verdict(result), result.reached)
    page.text(improvement(result))
    page.table(COLUMNS, rows(result))
    clip = out / "clip.mp4"
    s = result.settings
    film(Request(str(out / "improved"), s.seed, False, s.image_size, {"task": s.task}), FILMED, clip)
    page.video(clip, CLIP)
    _add_demonstrations(page, result, out)
    _add_learning(page, result)
    page.heading("Pruning")
    page.table(["network", "before", "after"], size_rows(result))
    page.heading("Where the time went")
    page.table(["stage", "seconds"], [[name, f"{seconds:.0f}"] for name, seconds in result.seconds.items()])
    path = out / "report.html"
    page.write(path)
    return path


def _add_demonstrations(page: Page, result: DemoResult, out: Path) -> None:
    d = result.demonstrations
    page.heading("What the camera saw")
    page.text(
        f"The expert node drove {d['episodes']} episodes with noise of {result.settings.noise} rad on its actions; "
        f"{d['successes']} of them were successes. The recorder wrote {d['samples']} steps, one bag an episode."
    )
    page.picture(_contact_sheet(out / "demonstrations"), "One recorded demonstration: colour above, depth below.")
    driven = result.deployed
    page.picture(
        _contact_sheet(out / "deployed"),
        f"One episode of the deployed policy, recorded on the graph; {driven['successes']} of {driven['episodes']} "
        "succeeded.",
    )


def _contact_sheet(directory: Path) -> np.ndarray:
    """Colour over depth of a few steps of the longest successful episode, u8 (rows, columns, 3)."""
    chosen = max(_usable(directory), key=lambda e: (e.success, min(len(e), PICTURED)))
    steps = np.linspace(0, len(chosen), min(PICTURED, len(chosen) + 1)).astype(int)
    color = np.concatenate([chosen.obs["rgb"][i] for i in steps], axis=1)
    depth = np.concatenate([chosen.obs["depth"][i] for i in steps], axis=1).astype(np.float32)
    grey = np.where(depth > 0, 255 - 225 * depth / max(depth.max(), 1.0), 0).astype(np.uint8)
    sheet = np.concatenate([color, np.repeat(grey[..., None], 3, axis=2)])
    scale = max(1, round(160 / (sheet.shape[0] // 2)))
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def _usable(directory: Path) -> Iterator[Episode]:
    """The first whole episodes; one that lost a message on the way shows nothing worse than the others would."""
    for bag in bag_paths(directory)[:LOOKED_AT]:
        with suppress(UnusableEpisode):
            yield read_episode(bag)


def _add_learning(page: Page, result: DemoResult) -> None:
    page.heading("Learning")
    cloning, rl = read_csv(result.pretraining["metrics_csv"]), read_csv(result.improvement["metrics_csv"])
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    _curve(axes[0], cloning, "train/clone/nll", "Adam step", "negative log-likelihood", "Cloning with VD")
    _curve(axes[1], rl, "rollout/successes_per_200_steps", "environment step", "successes per 200 steps",
           "TRPO on the policy node's rollouts", WINDOW)  # fmt: skip
    _levels(axes[1], result)
    page.figure(figure, CURVES)
    plt.close(figure)


def _curve(axis: Any, table: list[dict[str, float]], name: str, x: str, y: str, title: str, window: int = 0) -> None:
    points = [(row[STEP], row[name]) for row in table if name in row]
    steps, values = np.array(points).T if points else (np.empty(0), np.empty(0))
    axis.plot(steps, values, color="#1668a8", linewidth=1.0 if window else 1.6, alpha=0.35 if window else 1.0)
    if window and len(values) >= window:
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        axis.plot(steps[window - 1 :], mean, color="#1668a8", linewidth=2.0)
    axis.set(xlabel=x, ylabel=y, title=title)
    axis.spines[["top", "right"]].set_visible(False)


def _levels(axis: Any, result: DemoResult) -> None:
    for name, color in (("expert", "#1a7f4b"), ("improved sampled", "#b3261e"), ("cloned sampled", "#8a6d00")):
        level = result.evaluations[name].successes_per_200_steps
        axis.axhline(level, color=color, linestyle="--", linewidth=1.2, label=f"{_title(name, result)}: {level:.1f}")
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower right", fontsize=8, frameon=False)


def _title(name: str, result: DemoResult) -> str:
    return NAMES[name].format(task=result.settings.task)


def _rate(evaluation: Evaluation) -> str:
    low, high = evaluation.interval_95
    return f"{evaluation.success_rate:.0%} ({low:.0%} to {high:.0%})"


def _columns(table: list[list[str]]) -> list[str]:
    """Rows padded to aligned columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) for row in table]
