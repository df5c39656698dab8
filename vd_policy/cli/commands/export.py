"""Write a policy as one ONNX file, and check that it computes the same.

The file takes raw observations (rgb u8, depth u16 in millimetres, q f32 in radians) and gives mean and std of the
action in units of the largest step; its metadata holds the manifest. Needs the packages onnx and onnxruntime.
"""

from __future__ import annotations

import argparse

from vd_policy.cli.arguments import check_writable, path
from vd_policy.cli.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=path, metavar="RUN", help="run directory of a pruned or dense policy")
    parser.add_argument("--onnx", type=path, required=True, metavar="F.onnx", help="file to write")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.policy.checkpoint import load_run
    from vd_policy.policy.export import export_onnx

    check_writable("--onnx", args.onnx)
    done = export_onnx(load_run(args.run).policy, args.onnx)
    figures = {
        "run": args.run,
        "onnx": done.path,
        "size_bytes": done.bytes,
        "largest_difference": done.largest_difference,
    }
    text = f"{done.path}: {done.bytes / 1e6:.2f} MB, differs from torch by at most {done.largest_difference:.1e}"
    return Result(ok=True, figures=figures, text=text)
