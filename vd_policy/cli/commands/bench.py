"""Measure speed on this machine: one benchmark by name, or all of them.

sim: environment steps a second and the cost of an image. ik: the batched inverse kinematics beside ikpy's. policy: a
decision of a dense, a masked and a pruned network in torch and ONNX Runtime, and a training step with variational
dropout beside a plain one. trpo: an iteration of 200 steps, dense and pruned, and one update beside sb3-contrib's where
the extra bench is installed. record: what the recorder loses, and takes of a core, under four RGBD cameras and joint
states at 1000 Hz. dataset: demonstrations, their conversion to arrays, and batches. Compare the ratios of one run;
absolute times depend on the machine and on what else runs.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import vd_policy.experiments as experiments
from vd_policy.base.errors import BadInput
from vd_policy.cli.arguments import nearest
from vd_policy.cli.result import Result

PREFIX = "bench_"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names())}; all when none is given")


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
    for name in args.names or known:
        module = importlib.import_module(f"vd_policy.experiments.{PREFIX}{name}")
        figures[name] = getattr(module, PREFIX + name)(seed=args.seed)
    return Result(ok=True, figures=figures, text=_table(figures))


def _table(figures: dict[str, dict[str, float]]) -> str:
    lines = []
    for name, found in figures.items():
        width = max(map(len, found))
        lines += [name, *(f"  {key:<{width}}  {value:>12.4g}" for key, value in found.items())]
    return "\n".join(lines)
