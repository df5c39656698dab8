"""Measure speed on this machine: one benchmark by name, or all of them.

sim: environment steps a second and the cost of an image. ik: the batched inverse kinematics beside ikpy's. policy: a
decision of a dense, a masked and a pruned network in torch and ONNX Runtime, and a training step with variational
dropout beside a plain one. trpo: an iteration of 200 steps, dense and pruned, and one update beside sb3-contrib's where
the extra bench is installed. record: what the recorder loses, and takes of a core, under four RGBD cameras and joint
states at 1000 Hz. demonstrate: state-label pairs of the expert, and of a policy that acts while the expert labels.
dataset: demonstrations, their conversion to arrays, and batches. control: latency, period and misses of the policy on
the real graph, dense and pruned. kill: how soon the arm halts once a node is killed. --set changes a parameter of the
one benchmark that is named, such as seconds=600 of control. Compare the ratios of one run; absolute times depend on the
machine and on what else runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vd_policy.experiments as experiments
from vd_policy.base.errors import BadInput
from vd_policy.cli.arguments import nearest
from vd_policy.cli.result import Result

PREFIX = "bench_"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names())}; all when none is given")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a parameter of NAME")


def names() -> list[str]:
    """The benchmarks: each is a file ``bench_<name>.py`` with a function of that name that returns figures."""
    folder = Path(experiments.__file__).parent
    return sorted(file.stem.removeprefix(PREFIX) for file in folder.glob(f"{PREFIX}*.py"))


def run(args: argparse.Namespace) -> Result:
    import torch

    torch.set_num_threads(1)
    known, figures = names(), {}
    for name in args.names:
        if name not in known:
            raise BadInput("NAME", name, "one of " + ", ".join(known), nearest(name, known) or "choose one of them")
    if args.set and len(args.names) != 1:
        raise BadInput("--set", " ".join(args.set), "with the name of one benchmark", "name the one that it concerns")
    for name in args.names or known:
        module = importlib.import_module(f"vd_policy.experiments.{PREFIX}{name}")
        bench = getattr(module, PREFIX + name)
        figures[name] = bench(seed=args.seed, **_changed(bench, args.set))
    return Result(ok=True, figures=figures, text=_table(figures))


def _changed(bench: Callable[..., Any], words: list[str]) -> dict[str, Any]:
    """What --set says, checked against the parameters of the benchmark and their types."""
    from vd_policy.base.settings import build
    from vd_policy.learning.recipe import parse_changes

    hints, parameters = typing.get_type_hints(bench), inspect.signature(bench).parameters
    fields = [(n, hints[n], dataclasses.field(default=p.default)) for n, p in parameters.items() if n != "seed"]
    changes = parse_changes(words)
    checked: Any = build(dataclasses.make_dataclass("Parameters", fields), changes, "--set")
    return {name: getattr(checked, name) for name in changes}


def _table(figures: dict[str, dict[str, float]]) -> str:
    lines = []
    for name, found in figures.items():
        width = max(map(len, found))
        lines += [name, *(f"  {key:<{width}}  {value:>12.4g}" for key, value in found.items())]
    return "\n".join(lines)
