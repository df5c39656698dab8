"""Run the paper's experiments: both cores, resumable, with curves, a plot and verdicts.

fig4: VD, VD of filters, too, L2, L2 pruned by magnitude to VD's size, cloning without a regulariser and no
pre-training, beside both experts. fig5: fewer demonstrations. fig6: less noise on the expert. fig7: as fig4, for
grasping, judged by the return a trajectory. table1 and table1_grasp: how sparse VD leaves the network. recipes: VD
under our recipe of RL beside the paper's. ours: our demonstrations and our RL beside the paper's, each recipe whole.
Every job (method, seed, setting) has a directory of its own under DIR; after a crash the same command goes on, and more
--steps go on from fewer. Several values of --initial-std and --l2-weight make a sweep: every method is then judged by
its best setting. --scale paper is the printed setting and takes days on two cores.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import MAX_SEED
from vd_policy.cli.arguments import number, path, whole
from vd_policy.cli.result import Result

if TYPE_CHECKING:
    from vd_policy.experiments.reproduce.plan import Plan

FIGURES = ("fig4", "fig5", "fig6", "fig7", "table1", "table1_grasp", "recipes", "ours")
"""Of `experiments/reproduce/plan.py`, which costs seconds to load."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("figure", choices=FIGURES, metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="directory of jobs and results")
    parser.add_argument(
        "--scale",
        choices=("small", "paper"),
        default="small",
        help="smaller images and fewer demonstrations and steps, or the paper's numbers (small)",
    )
    parser.add_argument("--seeds", type=whole(1, 1000), default=5, metavar="N",
                        help="runs of every arm: seeds --seed, --seed + 1, ... (5)")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=None, metavar="METHOD",
                        help="leave it at some of vd, vd_filters, vd_uncertainty, l2, l2_pruned, none, "
                             "random")  # fmt: skip
    parser.add_argument("--recipe", default="trpo", metavar="NAME",
                        help="of RL: a name in config/recipes or a YAML file (trpo, the paper's)")  # fmt: skip
    parser.add_argument(
        "--initial-std",
        type=number(0.001, 1.0),
        nargs="+",
        default=[],
        metavar="X",
        help="exploration that RL starts from, in action units; several are a sweep (as --scale says)",
    )
    parser.add_argument("--l2-weight", type=number(0.0, 1.0), nargs="+", default=None, metavar="X",
                        help="weight of L2; several are a sweep (as pretrain --method l2)")  # fmt: skip
    parser.add_argument("--steps", type=whole(1), default=None, metavar="N", help="environment steps of RL")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a number of the scale")
    parser.add_argument("--workers", type=whole(1, 256), default=2, metavar="K", help="jobs at a time (2)")
    parser.add_argument("--report", action="store_true", help="run nothing, write the files from what is complete")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.experiments.reproduce.reproduction import report, reproduce

    plan = _plan(args)
    if args.report:
        found = report(plan, args.out)
    else:
        with _Bar() as watcher:
            found = reproduce(plan, args.out, workers=args.workers, watcher=watcher)
    files = "\n".join(f"  {file}" for file in found.files)
    figures = {"out": args.out, "files": list(found.files), **found.figures}
    return Result(ok=True, figures=figures, text=f"{found.markdown}\nwritten:\n{files}")


def _plan(args: argparse.Namespace) -> Plan:
    from vd_policy.base.settings import replaced
    from vd_policy.experiments.reproduce.plan import Sweep, make_plan, scale_of
    from vd_policy.learning.recipe import load_recipe, parse_changes

    if load_recipe(args.recipe).method == "pretrain":
        raise BadInput("--recipe", args.recipe, "a recipe of RL, such as trpo", "pretrain takes the others")
    if args.seed + args.seeds - 1 > MAX_SEED:
        most = MAX_SEED - args.seeds + 1
        raise BadInput("--seed", args.seed, f"at most {most} with --seeds {args.seeds}", "lower it")
    _check_trains(args)
    changes = parse_changes(args.set) | ({} if args.steps is None else {"steps": args.steps})
    scale = replaced(scale_of(args.figure, args.scale), changes, "--set")
    seeds = [args.seed + i for i in range(args.seeds)]
    weights = {} if args.l2_weight is None else {"l2_weight": tuple(args.l2_weight)}
    sweep = Sweep(initial_std=tuple(args.initial_std), **weights)
    return make_plan(args.figure, scale, seeds=seeds, recipe=args.recipe, sweep=sweep, only=args.only)


def _check_trains(args: argparse.Namespace) -> None:
    """Refuse options of RL, and of L2, for tables that only clone with VD."""
    from vd_policy.experiments.reproduce.plan import FIGURES as CONTENTS

    if CONTENTS[args.figure].trains:
        return
    asked = {"--recipe": args.recipe != "trpo", "--steps": args.steps is not None,
             "--initial-std": bool(args.initial_std), "--l2-weight": args.l2_weight is not None}  # fmt: skip
    for option in (name for name, is_asked in asked.items() if is_asked):
        raise BadInput(option, args.figure, "a figure: a table only clones, with VD", "leave it out")


class _Bar:
    """A progress bar in seconds of work, and a line where a phase begins or a job ends, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, what: str, total_s: float, left_s: float) -> None:
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.close()
        self._bar = tqdm(desc=what, total=total_s or None, unit="s of work", disable=None, leave=False,
                         bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix}" if total_s else None)  # fmt: skip
        self._say(f"{what}: about {_spell(left_s)}" if total_s else what)

    def advance(self, done_s: float, left_s: float, finished: str = "") -> None:
        if finished:
            self._say(f"{finished}: done; about {_spell(left_s)} left")
        self._bar.set_postfix_str(f"about {_spell(left_s)} left", refresh=False)
        self._bar.update(done_s - self._bar.n)

    @staticmethod
    def _say(line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)


def _spell(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
