"""Salvage crashed recordings: every message that reached the disk whole goes into a new bag.

The originals are only read. Exit code 1 when a recording held nothing to save.
"""

from __future__ import annotations

import argparse

from vd_policy.cli.arguments import path
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=path, metavar="DIR", help="directory of episode bags, or one bag")
    parser.add_argument("--out", type=path, metavar="DIR", help="where the new bags go (DIR/recovered)")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.demos.recover import describe, figures, recover

    salvages = recover(args.directory, args.out)
    ok = all(salvage.target is not None for salvage in salvages)
    return Result(ok=ok, figures={"directory": args.directory, **figures(salvages)}, text=describe(salvages))
