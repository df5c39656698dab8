"""Measure how often a policy succeeds, on a fixed list of starts.

RUN is the directory of a run, or one of the words expert, expert-literal, untrained, random. The starts depend on
--seed alone, so two runs evaluated with the same seed meet the same cups. The policy's mean acts unless --stochastic is
given.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vd_policy.cli.arguments import check_writable, path, whole
from vd_policy.cli.result import Result
from vd_policy.graph.options import MOTIONS

if TYPE_CHECKING:
    from vd_policy.experiments.evaluate import Evaluation, Request

FILMED_EPISODES = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="directory of a run, or expert, expert-literal, untrained, random")
    parser.add_argument("--task", help="a name in config/tasks or a YAML file (the run's; reach for a baseline)")
    parser.add_argument("--allow-changed", action="store_true", help="play another task than the run was trained on")
    parser.add_argument("--robot", help="a name in config/robots or a YAML file (the run's; j2n6s300 for a baseline)")
    parser.add_argument("--episodes", type=whole(1, 1_000_000), default=100, metavar="N", help="how many starts (100)")
    parser.add_argument("--stochastic", action="store_true", help="sample from the policy in place of taking its mean")
    parser.add_argument("--motion", choices=MOTIONS, default="kinematic",
                        help="how the arm moves: through poses, or at the real speed limits (kinematic)")  # fmt: skip
    parser.add_argument("--image-size", type=whole(8, 4096), metavar="PX",
                        help="rows of a baseline's images (the task's); a run has its own")  # fmt: skip
    parser.add_argument("--workers", type=whole(1, 256), default=1, metavar="K", help="processes (1)")
    parser.add_argument("--video", type=path, metavar="F.mp4", help=f"film the first {FILMED_EPISODES} starts")
    parser.add_argument("--map", type=path, metavar="F.png", help="draw where on the table it succeeds")


def run(args: argparse.Namespace) -> Result:
    check_writable("--video", args.video, ".mp4")
    check_writable("--map", args.map, ".png")
    from vd_policy.base.progress import ProgressBar
    from vd_policy.experiments.evaluate import Request, carry_out
    from vd_policy.experiments.subject import BASELINES
    from vd_policy.graph.trained import task_and_robot

    run = Path(args.run) if args.run not in BASELINES and Path(args.run).is_dir() else None
    args.task, args.robot = task_and_robot(run, args.task, args.robot, allow_changed=args.allow_changed)
    env_options = {"task": args.task, "robot": args.robot, "motion": args.motion}
    request = Request(args.run, args.seed, args.stochastic, args.image_size, env_options)
    env, _ = request.open()  # refuses what is wrong before any process starts
    region_m, size = env.settings.cup_region_m, (env.camera.height, env.camera.width)
    env.close()
    with ProgressBar("episode", args.episodes) as bar:
        evaluation = carry_out(request, args.episodes, workers=args.workers, progress=bar.update)
    acting = _acting(request)
    text = _table(args, acting, size, evaluation)
    if args.map:
        from vd_policy.experiments.success_map import save, success_map

        title = f"{args.run}: {evaluation.success_rate:.0%} of {args.episodes}"
        save(success_map(evaluation, region_m, title), args.map)
        text += f"\nmap: {args.map}"
    if args.video:
        from vd_policy.experiments.film import film

        film(request, min(args.episodes, FILMED_EPISODES), args.video)
        text += f"\nvideo: {args.video}"
    head = {"run": args.run, "task": args.task, "robot": args.robot, "acting": acting, "motion": args.motion,
            "image_height": size[0], "image_width": size[1]}  # fmt: skip
    return Result(ok=True, figures={**head, **evaluation.figures()}, text=text)


def _acting(request: Request) -> str:
    """How the actions came about."""
    if request.subject in ("expert", "expert-literal"):
        return "noiseless"
    return "sampled" if request.samples else "mean"


def _table(args: argparse.Namespace, acting: str, size: tuple[int, int], evaluation: Evaluation) -> str:
    figures = evaluation.figures()
    low, high = figures["interval_95"]
    endings = ", ".join(f"{count} {name}" for name, count in figures["endings"].items())
    rows = [
        ("success rate", f"{figures['success_rate']:.3f}   95 % interval {low:.3f} to {high:.3f}"),
        ("episodes", f"{figures['episodes']}   {endings}"),
        ("successes per 200 steps", f"{figures['successes_per_200_steps']:.1f}"),
        ("mean return", f"{figures['mean_return']:.2f}"),
        ("mean length [steps]", f"{figures['mean_length']:.2f}"),
    ]
    where = f"{args.task} with {args.robot}, images {size[1]}x{size[0]}"
    title = f"{args.run} on {where}, actions: {acting}, seed {args.seed}"
    return "\n".join([title, *(f"  {name:<24} {value}" for name, value in rows)])
