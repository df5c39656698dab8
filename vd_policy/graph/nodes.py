"""The one list of what runs: node processes and their parameters, for each graph."""

from __future__ import annotations

from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.graph.options import DemonstrateOptions, DeployOptions, SimOptions, TrainOptions, options_of
from vd_policy.graph.process import NodeSpec


def graph(name: str, options: Any = None) -> list[NodeSpec]:
    """The nodes of a graph.

    Args:
        name: ``sim``, ``demonstrate``, ``deploy`` or ``train``.
        options: an instance of that graph's options; None for the defaults.

    Raises:
        BadInput: unknown graph, or an option that the graph needs is empty.
    """
    options = options_of(name)() if options is None else options
    return {"sim": _sim, "demonstrate": _demonstrate, "deploy": _deploy, "train": _train}[name](options)


def _sim(o: SimOptions) -> list[NodeSpec]:
    return [
        NodeSpec(
            "sim",
            {
                "task": o.task,
                "robot": o.robot,
                "image_height": o.image_height,
                "image_width": o.image_width,
                "mode": o.mode,
                "seed": o.seed,
                "episodes": o.episodes,
            },
        )
    ]


def _demonstrate(o: DemonstrateOptions) -> list[NodeSpec]:
    expert = {"rule": o.rule, "noise_std_rad": o.noise, "clip_noise": o.clip_noise, "task": o.task, "robot": o.robot}
    return [*_sim(o), NodeSpec("expert", expert), _safety(o), _recorder(o, o.out, o.samples)]


def _deploy(o: DeployOptions) -> list[NodeSpec]:
    if not o.run:
        raise BadInput("run", o.run, "the directory of a trained run", "give run:=DIR or --run DIR")
    policy = NodeSpec("policy", {"run": o.run, "explore": o.explore, "seed": o.seed})
    nodes = [*(_sim(o) if o.sim else []), policy, _safety(o)]
    return [*nodes, _recorder(o, o.record)] if o.record else nodes


def _train(o: TrainOptions) -> list[NodeSpec]:
    learner = {
        "run": o.run,
        "out": o.out,
        "recipe": o.recipe,
        "updates": o.updates,
        "save_every": o.save_every,
        "resume": o.resume,
        "seed": o.seed,
    }
    return [*_deploy(o), NodeSpec("learner", learner)]


def _safety(o: SimOptions) -> NodeSpec:
    return NodeSpec("safety", {"robot": o.robot})


def _recorder(o: SimOptions, out: str, samples: int = 0) -> NodeSpec:
    return NodeSpec("recorder", {"out": out, "samples": samples, "task": o.task, "robot": o.robot})
