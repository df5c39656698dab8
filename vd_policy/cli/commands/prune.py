"""Drop the weights that dropout found useless, and rebuild the smaller network that is left.

RUN is a run that pretrain --method vd wrote. Weights whose log alpha exceeds the threshold go, then every unit that has
no use any more; the result computes what the thresholded network does. For any other run, --density or --like drop the
smallest weights in their place: the magnitude baseline.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vd_policy.base.errors import BadInput
from vd_policy.cli.arguments import number, path
from vd_policy.cli.result import Result

if TYPE_CHECKING:
    from vd_policy.policy.prune import PruneReport

THRESHOLD = 3.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=path, metavar="RUN", help="run directory to prune; it is left as it is")
    parser.add_argument("--out", type=path, required=True, metavar="RUN", help="run directory to write")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--threshold", type=number(-8.0, 8.0), default=THRESHOLD, metavar="X",
                     help=f"largest log alpha that stays ({THRESHOLD:g})")  # fmt: skip
    how.add_argument("--density", type=number(0.0, 1.0), metavar="X", help="keep this share of the largest weights")
    how.add_argument(
        "--like", type=path, metavar="RUN", help="keep as many weights in each layer as this pruned run did"
    )
    parser.add_argument(
        "--explore-on", type=path, metavar="DIR",
        help="demonstrations on which dropout's own uncertainty becomes the policy's standard deviation",
    )  # fmt: skip
    parser.add_argument("--arrays", type=path, metavar="PATH", help="where they lie as arrays (DIR/.dataset)")


def run(args: argparse.Namespace) -> Result:
    import torch

    from vd_policy.demos.dataset import Dataset
    from vd_policy.experiments.timed_networks import as_dense, forward_ms
    from vd_policy.learning.pruning import check_new, prune_run
    from vd_policy.policy.checkpoint import load_run

    if args.arrays is not None and args.explore_on is None:
        raise BadInput("--arrays", str(args.arrays), "with --explore-on, whose demonstrations they are",
                       "give both, or leave it out")  # fmt: skip
    torch.set_num_threads(1)
    check_new(args.out)  # before the bags of --explore-on are read
    source = load_run(args.run)
    density = args.density if args.like is None else _densities(args.like)
    how = None if args.like is None else {"like": args.like.name}
    explore_on = None if args.explore_on is None else Dataset(args.explore_on, args.arrays)
    report = prune_run(source, args.out, threshold=args.threshold, density=density, how=how, explore_on=explore_on,
                       seed=args.seed)  # fmt: skip
    before, after = forward_ms([as_dense(source.policy), load_run(args.out).policy])
    figures = {
        "run": args.out,
        "source": args.run,
        **{name: value for name, value in report.to_manifest().items() if name != "layers"},
        "forward_before_ms": before,
        "forward_after_ms": after,
    }
    return Result(
        ok=True, figures={**figures, "layers": report.to_manifest()["layers"]}, text=_table(args, report, figures)
    )


def _densities(path: Path) -> dict[str, float]:
    from vd_policy.policy.checkpoint import load_manifest

    layers = load_manifest(path).get("pruning", {}).get("layers")
    if not layers:
        raise BadInput("--like", str(path), "a run that vd_policy prune wrote", "choose another, or use --density")
    return {layer["name"]: layer["kept"] / layer["weights"] for layer in layers}


def _table(args: argparse.Namespace, report: PruneReport, figures: dict[str, Any]) -> str:
    lines = [f"{args.out}: pruned from {args.run}", "  layer          weights      kept      left  units  left"]
    for layer in report.layers:
        counts = f"{layer.weights:9d} {layer.kept:9d} {layer.left:9d} {layer.units:6d} {layer.units_left:5d}"
        lines.append(f"  {layer.name:<12} {counts}")
    rows = [
        ("weights dropped", f"{report.weight_sparsity:.1%}"),
        ("units removed", f"{report.unit_sparsity:.1%}"),
        ("parameters", f"{report.parameters_before} -> {report.parameters_after}"),
        ("operations a decision", f"{report.flops_before} -> {report.flops_after}"),
        ("forward pass [ms]", f"{figures['forward_before_ms']:.2f} -> {figures['forward_after_ms']:.2f}"),
    ]
    lines += [f"  {name:<24} {value}" for name, value in rows]
    return "\n".join(lines + [f"  note: {note}" for note in report.notes])
