"""Say what is in a directory of episode bags, and what is wrong with it.

Counts, rates and gaps per topic, stamps that run backwards, frozen pictures, valid depth, outcomes and labels per
episode. Exit code 1 when something is wrong; each problem is named on a line of its own.
"""

from __future__ import annotations

import argparse

from vd_policy.cli.arguments import check_writable, path
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=path, metavar="DIR", help="directory of episode bags, or one bag")
    parser.add_argument("--sheet", type=path, metavar="F.png", help="contact sheet: what the camera saw")


def run(args: argparse.Namespace) -> Result:
    check_writable("--sheet", args.sheet, ".png")
    from vd_policy.base.progress import ProgressBar
    from vd_policy.demos.inspect import inspect, table

    with ProgressBar("bag") as bar:
        inspection = inspect(args.directory, bar.reach)
    text = table(inspection)
    if args.sheet:
        from vd_policy.demos.sheet import contact_sheet

        text += f"\ncontact sheet of {contact_sheet(args.directory, args.sheet)} episodes: {args.sheet}"
    figures = {"directory": args.directory, **inspection.figures()}
    return Result(ok=not inspection.all_problems, figures=figures, text=text)
