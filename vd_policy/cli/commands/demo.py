"""The whole loop on real ROS nodes: demonstrate, record, pretrain, prune, deploy, improve.

Ends with a table (success before and after, the expert's, network size and latency before and after pruning) and with
report.html in the output directory. Exit code 1, and the table says so, when the final policy does not succeed clearly
more often than an untrained one (their 95 % intervals overlap). What is not given is as config/demos/TASK.yaml says;
the demo reach takes the task reach_free.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from vd_policy.cli.arguments import number, path, whole
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="reach",
                        help="a demo: a name in config/demos, the task of only one, or a file (reach)")  # fmt: skip
    parser.add_argument("--out", type=path, default="demo", metavar="DIR", help="everything is written there (demo)")
    parser.add_argument("--image-size", type=whole(16, 512), metavar="PX", help="rows of the images")
    parser.add_argument("--samples", type=whole(50), metavar="N", help="demonstrated state-label pairs")
    parser.add_argument("--noise", type=number(0.0), metavar="RAD", help="the expert's noise, standard deviation")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="passes of cloning over the demonstrations")
    parser.add_argument("--updates", type=whole(1), metavar="N", help="TRPO updates on the graph")
    parser.add_argument("--deploy-episodes", type=whole(1), metavar="N", help="episodes the deployed policy is watched")
    parser.add_argument("--episodes", type=whole(1), metavar="N", help="starts of each evaluation")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.experiments.demo import Demo, DemoSettings, load_demo
    from vd_policy.experiments.demo_report import figures, text, write_page
    from vd_policy.graph.domain import own_domain

    names = {field.name for field in dataclasses.fields(DemoSettings)} - {"task"}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    given["out"] = str(args.out)
    with own_domain(keep=True):
        result = Demo(load_demo(args.task, given), _say).run()
    report = write_page(result, args.out)
    return Result(ok=result.reached, figures={**figures(result), "report": report},
                  text=f"\n{text(result)}\n\nreport: {report}")  # fmt: skip


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
