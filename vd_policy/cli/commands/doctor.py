"""Say what is installed, what is missing, and how to mend it.

Each check does the thing itself: renders a picture, sends a message to another process over DDS and back, starts
ffmpeg. Exit code 1 when something is missing that the main job needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vd_policy.base.errors import Missing
from vd_policy.cli.arguments import path
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=path, default=Path("."), metavar="DIR", help="where you want to record (.)")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.experiments.doctor import examine, report

    if not args.dir.is_dir():
        raise Missing("--dir", str(args.dir), "a directory that exists", "create it or choose another")
    findings = examine(args.dir)
    missing = [finding.name for finding in findings if finding.state == "missing"]
    checks = {f.name: {"state": f.state, "detail": f.detail, "fix": f.fix} for f in findings}
    return Result(ok=not missing, figures={"missing": missing, "checks": checks}, text=report(findings))
