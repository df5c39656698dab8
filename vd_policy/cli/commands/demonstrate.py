"""Record expert demonstrations as episode bags.

The expert steers the simulated arm to the cup by inverse kinematics; what is executed carries noise, what is recorded
as the label does not. In-process by default; --graph runs the same through the ROS graph. Episodes depend on --seed
alone, so --resume completes an interrupted recording to what it would have become.

With --actor RUN the policy of a run acts, and the expert only says what it would have done: --append such pairs to the
first demonstrations and pretrain on both (DAgger).
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.cli.arguments import number, path, whole
from vd_policy.cli.result import Result
from vd_policy.graph.options import MOTIONS

if TYPE_CHECKING:
    from vd_policy.demos.demonstrator import DemonstrationSettings
    from vd_policy.demos.episode_report import DemonstrationSummary

WORKERS = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="directory for the episode bags")
    parser.add_argument("--task", help="a name in config/tasks or a YAML file (reach, or the actor's)")
    parser.add_argument("--robot", help="a name in config/robots or a YAML file (j2n6s300, or the actor's)")
    parser.add_argument("--actor", metavar="RUN", help="run whose policy acts, its means with the noise (the expert)")
    parser.add_argument("--samples", type=whole(2, 100_000_000), default=8000, metavar="N",
                        help="state-label pairs, exactly; with --graph the last episode is whole (8000)")  # fmt: skip
    parser.add_argument("--noise", type=number(0.0, 10.0), metavar="RAD",
                        help="standard deviation of the noise on the action (the task's)")  # fmt: skip
    parser.add_argument("--rule", choices=("clipped", "literal"), default="clipped",
                        help="eq. 10 with the last step shortened, or as printed (clipped)")  # fmt: skip
    parser.add_argument("--end-on-contact", action=argparse.BooleanOptionalAction, default=None,
                        help="whether touching the table ends a demonstration (as the task says)")  # fmt: skip
    parser.add_argument("--image-size", type=whole(8, 4096), metavar="PX",
                        help="rows of the images; columns by the task's camera (actor's; task's)")  # fmt: skip
    parser.add_argument("--motion", choices=MOTIONS, default="kinematic",
                        help="how the arm moves: through poses, or at the real speed limits (kinematic)")  # fmt: skip
    parser.add_argument("--workers", type=whole(1, 256), default=WORKERS, metavar="K", help="processes (2)")
    parser.add_argument("--graph", action="store_true", help="through the ROS graph: sim, expert, safety, recorder")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--append", action="store_true", help="add as many pairs again to what DIR holds")
    there.add_argument("--resume", action="store_true", help="complete the interrupted recording in DIR")
    there.add_argument("--overwrite", action="store_true", help="delete the episodes in DIR first")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.demos.demonstrator import DemonstrationSettings
    from vd_policy.demos.destination import is_begun
    from vd_policy.graph.trained import task_and_robot

    args.task, args.robot = task_and_robot(args.actor, args.task, args.robot)
    if args.resume and not is_begun(args.out):
        raise BadInput("--resume", str(args.out), "a directory with a recording", "check --out, or leave out --resume")
    existing = next((name for name in ("append", "resume", "overwrite") if getattr(args, name)), "refuse")
    height, width = _image_size(args)
    settings = DemonstrationSettings(
        task=args.task,
        robot=args.robot,
        image_height=height,
        image_width=width,
        motion=args.motion,
        rule=args.rule,
        noise_std_rad=args.noise,
        end_on_contact=args.end_on_contact,
        actor=args.actor or "",
    ).whole()
    make = _through_the_graph if args.graph else _in_process
    return _result(args, settings, make(args, settings, existing))


def _image_size(args: argparse.Namespace) -> tuple[int | None, int | None]:
    """Rows and columns: as asked for, else the actor's; None where the task says."""
    if args.image_size is None and args.actor:
        from vd_policy.policy.checkpoint import load_spec

        spec = load_spec(args.actor)
        return spec.image_height, spec.image_width
    return args.image_size, None


def _in_process(args: argparse.Namespace, settings: DemonstrationSettings, existing: str) -> DemonstrationSummary:
    from vd_policy.base.progress import ProgressBar
    from vd_policy.demos.demonstrate import demonstrate

    with ProgressBar("sample", args.samples) as bar:
        return demonstrate(settings, args.samples, args.out, seed=args.seed, workers=args.workers, existing=existing,
                           progress=bar.update)  # fmt: skip


def _through_the_graph(
    args: argparse.Namespace, settings: DemonstrationSettings, existing: str
) -> DemonstrationSummary:
    """Run sim, expert, safety and recorder until the recorder has enough."""
    from vd_policy.demos.destination import destination
    from vd_policy.demos.episode_report import Tally, summary
    from vd_policy.graph.options import AS_TASK, DemonstrateOptions
    from vd_policy.graph.up import INTERRUPTED, up
    from vd_policy.graph.watch import watching

    in_process = {"--resume": args.resume, "--actor": bool(args.actor), "--motion": args.motion != "kinematic",
                  "--end-on-contact": args.end_on_contact is not None,
                  "--workers": args.workers != WORKERS}  # fmt: skip
    for option, given in in_process.items():
        if given:
            raise BadInput(f"{option} with --graph", True, "in-process only", f"leave out {option} or --graph")
    options = DemonstrateOptions(task=args.task, robot=args.robot, image_height=args.image_size or AS_TASK,
                                 seed=args.seed, out=str(args.out), samples=args.samples, noise=args.noise,
                                 clip_noise=settings.clip_noise, rule=args.rule)  # fmt: skip
    lines: list[str] = []
    with destination(args.out, settings, args.samples, args.seed, existing) as first:
        began = time.monotonic()
        tally = Tally(args.out, first)
        with watching(lambda: sum(r.samples for r in tally.reports()), args.samples, "sample"):
            code = up("demonstrate", options, on_line=lambda name, line: lines.append(f"{name}: {line}"))
        if code in INTERRUPTED:
            raise KeyboardInterrupt
        if code != 0:
            said = f"the graph ended with exit code {code}: {'; '.join(lines[-3:])}"
            raise VdPolicyError(f"{said}; whole episodes are intact in {args.out}")
        return summary(args.out, tally.reports(), time.monotonic() - began)


def _result(args: argparse.Namespace, settings: DemonstrationSettings, made: DemonstrationSummary) -> Result:
    megabytes = made.bytes_on_disk / 1e6
    figures = {
        "out": args.out,
        "task": args.task,
        "robot": args.robot,
        "actor": args.actor,
        "noise_rad": settings.noise_std_rad,
        "rule": args.rule,
        "image_height": settings.image_height,
        "image_width": settings.image_width,
        "samples": made.samples,
        "episodes": made.episodes,
        "successes": made.successes,
        "failures": made.failures,
        "episodes_too_short": made.too_short,
        "wall_s": made.wall_s,
        "samples_per_s": made.samples / made.wall_s,
        "size_mb": megabytes,
    }
    rows = [
        ("samples", f"{made.samples} in {made.episodes} episodes"),
        ("episodes that succeed", f"{made.successes}, in contact {made.failures}, too short to use {made.too_short}"),
        ("time", f"{made.wall_s:.1f} s, {made.samples / made.wall_s:.0f} samples/s"),
        ("size", f"{megabytes:.1f} MB, {1000 * megabytes / max(made.samples, 1):.1f} MB per 1000 samples"),
    ]
    who = f"acted by {args.actor}, " if args.actor else ""
    how = f"{who}noise {settings.noise_std_rad} rad, {args.rule}, seed {args.seed}"
    title = f"{args.out}: {args.task} with {args.robot}, {how}"
    return Result(ok=True, figures=figures, text="\n".join([title, *(f"  {k:<22} {v}" for k, v in rows)]))
