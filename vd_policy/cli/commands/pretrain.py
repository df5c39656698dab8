"""Clone demonstrations: from episode bags to the run directory of a policy.

DIR holds episode bags, as demonstrate makes them. --method vd regularises with sparse variational dropout, so that
prune can make the policy smaller; l2 and none are the baselines. A checkpoint is written every few epochs: after a
crash the same command with --resume goes on exactly. Curves: metrics.csv in RUN, and TensorBoard events in RUN.events.
"""

from __future__ import annotations

import argparse
from typing import Any

from vd_policy.cli.arguments import path, whole
from vd_policy.cli.result import Result

METHODS = ("vd", "l2", "none")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", type=path, metavar="DIR", help="directory of episode bags")
    parser.add_argument("--method", choices=METHODS, help="regulariser; its recipe of that name (vd)")
    parser.add_argument("--out", type=path, required=True, metavar="RUN", help="run directory to write")
    parser.add_argument("--recipe", metavar="NAME", help="another recipe: a name in config/recipes, or a YAML file")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="passes over the samples (the recipe's)")
    parser.add_argument("--select-every", type=whole(0), metavar="N",
                        help="measure success every N epochs and keep the best policy (0: keep the last)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change any recipe setting")
    parser.add_argument("--arrays", type=path, metavar="PATH",
                        help="where the bags lie as arrays, for one if they are read-only (DIR/.dataset)")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in RUN, exactly")
    parser.add_argument("--allow-changed", action="store_true", help="resume although data or settings are others")


def run(args: argparse.Namespace) -> Result:
    import torch

    from vd_policy.base.progress import ProgressBar
    from vd_policy.demos.dataset import Dataset
    from vd_policy.learning.pretrain import pretrain
    from vd_policy.learning.resume import check_free

    torch.set_num_threads(1)
    settings = _settings(args)
    check_free(args.out, args.resume)  # before the bags are read, which may take minutes
    with ProgressBar("bag", title="reading") as bar:
        dataset = Dataset(args.dir, args.arrays, progress=bar.reach)
    with ProgressBar("step", title="cloning") as bar:
        out, figures = pretrain(
            dataset, settings, args.out, seed=args.seed, resume=args.resume, allow_changed=args.allow_changed,
            progress=lambda done, total, newest: bar.reach(done, total, **_spelled(newest)),
        )  # fmt: skip
    figures |= {"bags_left_out": dataset.skipped, "steps_dropped": dataset.steps_dropped}
    return Result(ok=True, figures={"run": out, "demonstrations": args.dir, **figures}, text=_table(args, figures))


def _settings(args: argparse.Namespace) -> Any:
    from vd_policy.base.errors import BadInput
    from vd_policy.base.settings import build
    from vd_policy.learning.pretrain import PretrainSettings
    from vd_policy.learning.recipe import load_recipe, parse_changes

    if args.recipe and args.method:
        raise BadInput("--method", args.method, "without --recipe, which says the method", "leave one of them out")
    name = args.recipe or args.method or METHODS[0]
    changes = parse_changes(args.set)
    for option, setting in (("epochs", args.epochs), ("select_epochs", args.select_every)):
        if setting is not None and option in changes:
            raise BadInput("--set", option, "without the option that says the same", "leave one of them out")
        if setting is not None:
            changes[option] = setting
    recipe = load_recipe(name, changes)
    if recipe.method != "pretrain":
        raise BadInput("--recipe", name, "a recipe whose method is pretrain", "train takes those of learners")
    return build(PretrainSettings, recipe.settings, f"recipe {name}")


def _spelled(newest: dict[str, float]) -> dict[str, str]:
    """What stands behind the bar; nothing before the first epoch has ended."""
    return {"nll": f"{newest['train/clone/nll']:.2f}"} if newest else {}


def _table(args: argparse.Namespace, figures: dict[str, Any]) -> str:
    rows = [
        ("samples", f"{figures['training_samples']} to train, {figures['validation_samples']} held out"),
        ("Adam steps", f"{figures['steps']}"),
        ("negative log-likelihood", f"{figures['nll']:.3f}"),
    ]
    if "validation_mse" in figures:
        rows.append(("held-out squared error", f"{figures['validation_mse']:.5f}"))
    if figures["method"] == "vd":
        rows.append(("weights over the threshold", f"{figures['weight_sparsity']:.1%}"))
    if "best_success_rate" in figures:
        rows.append(("best measured success", f"{figures['best_success_rate']:.2f}"))
    if figures["bags_left_out"]:
        left = ", ".join(f"{count} ({reason})" for reason, count in figures["bags_left_out"].items())
        rows.append(("bags left out", f"{left}; see vd_policy inspect"))
    if figures["steps_dropped"]:
        rows.append(("steps left out", f"{figures['steps_dropped']} without an image, joints or a label"))
    head = f"{args.out}: cloned {args.dir} with {figures['method']}, seed {args.seed}"
    return "\n".join([head, *(f"  {name:<28} {value}" for name, value in rows)])
