"""Improve a policy by reinforcement learning in the simulator, in processes of this machine.

RUN is where to start: the run of a cloned policy, pruned or not (weights over the threshold are dropped first). A
checkpoint is written every ten iterations: after a crash the same command with --resume goes on exactly. The episodes,
and so the result, do not depend on --workers. Curves: metrics.csv in the run, and TensorBoard events in OUT.events.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vd_policy.base.errors import BadInput
from vd_policy.cli.arguments import number, path, whole
from vd_policy.cli.result import Result
from vd_policy.graph.options import MOTIONS

if TYPE_CHECKING:
    from vd_policy.learning.collector import ProcessCollector
    from vd_policy.policy.checkpoint import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=path, metavar="RUN", help="run directory to start from")
    parser.add_argument("--task", help="a name in config/tasks or a YAML file (the run's)")
    parser.add_argument("--robot", help="a name in config/robots or a YAML file (the run's)")
    parser.add_argument("--steps", type=whole(1), required=True, metavar="N", help="environment steps in all")
    parser.add_argument("--workers", type=whole(0, 256), default=1, metavar="K", help="rollout processes (1)")
    parser.add_argument("--out", type=path, required=True, metavar="OUT", help="run directory to write")
    parser.add_argument("--recipe", metavar="NAME", help="a name in config/recipes, or a YAML file "
                        "(trpo_<task> where there is one, else trpo_rate; the paper's: trpo)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change any recipe setting")
    parser.add_argument(
        "--initial-std",
        type=number(1e-6, 10.0),
        metavar="X",
        help="explore anew from this standard deviation in every state [actions] (the run's)",
    )
    parser.add_argument("--motion", choices=MOTIONS, default="kinematic",
                        help="how the arm moves: through its poses, or at real speed limits (kinematic)")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT, exactly")
    parser.add_argument("--allow-changed", action="store_true",
                        help="another task than RUN was trained on, or with --resume other settings")  # fmt: skip


def run(args: argparse.Namespace) -> Result:
    import torch

    from vd_policy.base.progress import ProgressBar
    from vd_policy.graph.trained import task_and_robot, world
    from vd_policy.learning.recipe import build_learner, load_recipe, parse_changes, recipe_of_rl
    from vd_policy.learning.train import train
    from vd_policy.policy.checkpoint import load_run
    from vd_policy.policy.gaussian import exploring

    torch.set_num_threads(1)
    start = load_run(args.run)
    args.task, args.robot = task_and_robot(args.run, args.task, args.robot, allow_changed=args.allow_changed)
    args.recipe = args.recipe or recipe_of_rl(args.task)
    recipe = load_recipe(args.recipe, parse_changes(args.set))
    policy, extra = _without_dropout(start)
    if args.initial_std is not None:
        _check_std(args, start)
        policy = exploring(policy, args.initial_std)
    learner = build_learner(recipe, policy, seed=args.seed, version=start.manifest["weight_version"] + 1)
    begun_with = {"method": recipe.method, "settings": recipe.settings, "seed": args.seed, "motion": args.motion,
                  "initial_std": args.initial_std, **world(args.task, args.robot)}  # fmt: skip
    extra["seeds"] = {"train": args.seed}
    with _collector(args, start) as collector, ProgressBar("step", args.steps) as bar:
        figures = train(
            learner, collector, args.steps, args.out, start=start, begun_with=begun_with, manifest_extra=extra,
            resume=args.resume, allow_changed=args.allow_changed,
            progress=lambda done, row: bar.reach(done, success=f"{row['rollout/success_rate']:.2f}"),
        )  # fmt: skip
    return Result(ok=True, figures={"run": args.out, "recipe": args.recipe, **figures}, text=_table(args, figures))


def _check_std(args: argparse.Namespace, start: Run) -> None:
    low, high = start.policy.settings.min_std, start.policy.settings.max_std
    if not low <= args.initial_std <= high:
        raise BadInput("--initial-std", args.initial_std, f"{low:g} to {high:g}, as {args.run} has it",
                       "choose one between them")  # fmt: skip


def _without_dropout(start: Run) -> tuple[Any, dict[str, Any]]:
    """The policy with its dropped weights removed, as section IV starts RL; and what the manifest says of it."""
    from vd_policy.policy.layers import regularised_layers
    from vd_policy.policy.prune import prune

    if not regularised_layers(start.policy):
        return start.policy, {}
    policy, report = prune(start.policy)
    return policy, {"pruning": report.to_manifest()}


def _collector(args: argparse.Namespace, start: Run) -> ProcessCollector:
    from functools import partial

    from vd_policy.base.seeds import ROLLOUTS, Seeds
    from vd_policy.learning.collector import ProcessCollector
    from vd_policy.sim.env import ArmEnv
    from vd_policy.sim.tasks import load_task

    make_env = partial(
        ArmEnv, args.task, args.robot, motion=args.motion, image_height=start.spec.image_height,
        image_width=start.spec.image_width,
    )  # fmt: skip
    _check_fits(args, start, make_env)
    seed = Seeds(args.seed).integer(ROLLOUTS)
    return ProcessCollector(make_env, seed=seed, workers=args.workers, task=load_task(args.task).task)


def _check_fits(args: argparse.Namespace, start: Run, make_env: Any) -> None:
    """Refuse a task or robot that the policy was not made for, and bad names, before any process starts."""
    env = make_env()
    try:
        start.spec.check_arm(env.robot.name, env.robot.joints, env.settings.max_step_rad, str(args.run))
    finally:
        env.close()


def _table(args: argparse.Namespace, figures: dict[str, Any]) -> str:
    rows = [
        ("environment steps", f"{figures['env_steps']} in {figures['iterations']} iterations"),
        ("success rate", f"{figures['success_rate']:.3f}"),
        ("successes per 200 steps", f"{figures['successes_per_200_steps']:.1f}"),
        ("return", f"{figures['return']:.2f}"),
    ]
    head = f"{args.out}: {args.recipe} from {args.run} on {args.task}, seed {args.seed}; the last rollouts, sampled:"
    return "\n".join([head, *(f"  {name:<26} {value}" for name, value in rows)])
