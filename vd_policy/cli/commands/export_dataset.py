"""Export episode bags to a Minari dataset, losslessly (needs the extra minari).

Every whole episode is taken, demonstrations and rollouts alike. Load it with MINARI_DATASETS_PATH=ROOT and
minari.load_dataset(NAME).
"""

from __future__ import annotations

import argparse

from vd_policy.cli.arguments import path
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=path, metavar="DIR", help="directory of episode bags, or one bag")
    parser.add_argument("--minari", required=True, metavar="NAME", help="name of the dataset, such as reach-v0")
    parser.add_argument("--out", type=path, required=True, metavar="ROOT", help="directory of Minari datasets")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.base.progress import ProgressBar
    from vd_policy.demos.minari_export import export_minari

    with ProgressBar("bag") as bar:
        made = export_minari(args.directory, args.out, args.minari, bar.reach)
    left = ", ".join(f"{count} {reason}" for reason, count in made.skipped.items())
    text = f"{made.episodes} episodes, {made.steps} steps: {made.path}" + (f"\nleft out: {left}" if left else "")
    figures = {"directory": args.directory, "dataset": made.path, "episodes": made.episodes, "steps": made.steps,
               "skipped": dict(made.skipped)}  # fmt: skip
    return Result(ok=True, figures=figures, text=text)
