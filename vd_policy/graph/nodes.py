"""The one list of what runs: node processes and their parameters, for each graph.

A graph is another one with nodes added (`foundation` and `added`), which is how the launch files include each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import ROLLOUTS, Seeds
from vd_policy.base.settings import at_home
from vd_policy.control.latch import default_path
from vd_policy.demos.storage import next_index
from vd_policy.graph.options import DemonstrateOptions, DeployOptions, SimOptions, TrainOptions, options_of
from vd_policy.graph.process import NodeSpec
from vd_policy.graph.trained import task_and_robot
from vd_policy.messages.topics import EXPERT_ACTION, GRIPPER_COMMAND, GRIPPER_TRAJECTORY
from vd_policy.sim.tasks import TaskSettings, grips, load_task

CAREFUL_SPEED = 0.1
"""Share of the trained speed at which a real arm is driven unless another one is asked for."""
PATIENCE = 2.0
"""In real time the expert commands once a decision period; the safety node waits this many of them."""


def graph(name: str, options: Any = None) -> list[NodeSpec]:
    """All nodes of a graph.

    Args:
        name: ``sim``, ``demonstrate``, ``deploy`` or ``train``.
        options: an instance of that graph's options; None for the defaults.

    Raises:
        BadInput: unknown graph, or an option that the graph needs is empty or names something that is not there.
    """
    options = options_of(name)() if options is None else at_home(options)
    base = foundation(name, options)
    return [*(graph(*base) if base else []), *added(name, options)]


def foundation(name: str, options: Any) -> tuple[str, Any] | None:
    """The graph that this one adds to, with its options; None when it stands alone."""
    if name == "demonstrate":
        return "sim", _part(SimOptions, options, seed=_demonstration_seed(options), **_recorded(options))
    if name == "deploy" and options.sim:
        changes = _recorded(options) if options.record else {}
        return "sim", _part(SimOptions, _as_trained(options), seed=_rollout_seed(options), **changes)
    if name == "train":
        return "deploy", _part(DeployOptions, options)
    return None


def added(name: str, options: Any) -> list[NodeSpec]:
    """The nodes that a graph has beyond its foundation."""
    nodes_of: dict[str, Callable[[Any], list[NodeSpec]]] = {
        "sim": _sim, "demonstrate": _demonstrate, "deploy": _deploy, "train": _train,
    }  # fmt: skip
    return nodes_of[name](options)


def _sim(o: SimOptions) -> list[NodeSpec]:
    load_task(o.task), load_robot(o.robot)  # refused here, not by a node that has started
    return [NodeSpec("sim", {field.name: getattr(o, field.name) for field in dataclasses.fields(SimOptions)})]


def _demonstrate(o: DemonstrateOptions) -> list[NodeSpec]:
    task = load_task(o.task)
    _check_recordable(o, task)
    noise_rad = task.noise(o.noise)
    expert = {"task": o.task, "robot": o.robot, "rule": o.rule, "noise_std_rad": noise_rad, "clip_noise": o.clip_noise,
              "lockstep": _lockstep(o)}  # fmt: skip
    patience_s = PATIENCE * task.period_s
    # No workspace box: a demonstration made in-process has none, and touching the table is part of the task.
    safety = _safety(o, lockstep=_lockstep(o), workspace=False, command_timeout_s=patience_s)
    recorder = _recorder(o, o.out, samples=o.samples, expert_rule=o.rule, expert_noise_rad=noise_rad,
                         needed=(EXPERT_ACTION, *_hand_topics(o)))  # fmt: skip
    return [NodeSpec("expert", expert), *_gripper(o, _lockstep(o)), safety, recorder]


def _check_recordable(o: DemonstrateOptions, task: TaskSettings) -> None:
    """Refuse to record what no dataset would use, or mix with what is there."""
    from vd_policy.demos.demonstrator import check_horizon  # not at the top: they bring what reads bags
    from vd_policy.demos.destination import check_mixes

    check_horizon(task)
    image_size = task.image(o.image_height or None, o.image_width or None)
    check_mixes(Path(o.out), task, load_robot(o.robot).name, image_size)


def _deploy(o: DeployOptions) -> list[NodeSpec]:
    o = _as_trained(o)
    lockstep = o.sim and _lockstep(o)
    if o.episodes and not (o.sim or o.record):
        raise BadInput("episodes", o.episodes, "0 where neither a simulator nor a recorder counts them",
                       "give record:=DIR, or end the graph by hand")  # fmt: skip
    if o.record:
        _check_record(Path(o.record))
    speed = o.speed if o.speed is not None else 1.0 if o.sim else CAREFUL_SPEED
    policy = {"run": o.run, "robot": o.robot, "explore": o.explore, "seed": o.seed, "lockstep": lockstep,
              "rollouts": o.rollouts, "resize": o.resize, "speed": speed}  # fmt: skip
    nodes = [NodeSpec("policy", policy), *_gripper(o, lockstep), _safety(o, lockstep=lockstep)]
    return [*nodes, _recorder(o, o.record, source="policy")] if o.record else nodes


def _check_record(directory: Path) -> None:
    from vd_policy.demos.destination import check_fit  # not at the top: it brings what reads bags

    check_fit(directory, "record")


def _train(o: TrainOptions) -> list[NodeSpec]:
    if not o.rollouts:
        raise BadInput("rollouts", False, "true: the learner learns from them", "leave it out, or use the graph deploy")
    names = ("run", "out", "task", "robot", "recipe", "updates", "save_every", "resume", "seed")
    return [NodeSpec("learner", {name: getattr(o, name) for name in names})]


def _gripper(o: SimOptions, lockstep: bool) -> list[NodeSpec]:
    return [NodeSpec("gripper", {"robot": o.robot, "lockstep": lockstep})] if _has_hand(o) else []


def _hand_topics(o: SimOptions) -> tuple[str, ...]:
    return (GRIPPER_COMMAND, GRIPPER_TRAJECTORY) if _has_hand(o) else ()


def _has_hand(o: SimOptions) -> bool:
    """Whether there is something for a hand to do, and a hand to do it."""
    return grips(load_task(o.task)) and bool(load_robot(o.robot).finger_joints)


def _safety(o: SimOptions, **parameters: Any) -> NodeSpec:
    fixed = {"robot": o.robot, "max_step_rad": load_task(o.task).max_step_rad, "gripper": _has_hand(o)}
    if getattr(o, "sim", True) and not _lockstep(o):
        fixed["latch_file"] = str(default_path(load_robot(o.robot).name, "simulated"))  # not a stop of the real arm
        fixed["follow_timeout_s"] = 0.0  # a simulated arm that touches something stands still, and its task judges that
    return NodeSpec("safety", {**fixed, **parameters})


def _recorder(o: SimOptions, out: str, **parameters: Any) -> NodeSpec:
    simulated = getattr(o, "sim", True)
    lockstep = simulated and _lockstep(o)
    fixed = {
        "out": out,
        "task": o.task,
        "robot": o.robot,
        "episodes": o.episodes,
        "lossless": simulated,
        "lockstep": lockstep,
        "paced": lockstep,
        "needed": _hand_topics(o),
    }
    return NodeSpec("recorder", {**fixed, **parameters})


def _recorded(o: SimOptions) -> dict[str, Any]:
    """How the sim differs when a recorder is there: the recorder counts, and in lockstep it asks for each episode."""
    return {"episodes": 0, "auto_reset": o.auto_reset and not _lockstep(o)}


def _rollout_seed(o: SimOptions) -> int:
    """Other cups than those of demonstrations made with the same seed, and the same as in-process training meets."""
    return Seeds(o.seed).integer(ROLLOUTS)


def _demonstration_seed(o: DemonstrateOptions) -> int:
    """Other cups where a recording is added to, than those that are there."""
    there = next_index(Path(o.out))
    return Seeds(o.seed).integer("appended", there) if there else o.seed


def _lockstep(o: SimOptions) -> bool:
    return o.mode == "lockstep"


def _as_trained(o: DeployOptions) -> DeployOptions:
    """The options with the run's task, robot and image size where none are asked for."""
    if not o.run:
        raise BadInput("run", o.run, "the directory of a trained run", "give run:=DIR, or --run DIR")
    from vd_policy.policy.checkpoint import load_spec  # not at the top: it brings torch, a second of start-up

    spec, (task, robot) = load_spec(o.run), task_and_robot(o.run, o.task, o.robot)
    height, width = o.image_height or spec.image_height, o.image_width or spec.image_width
    spec.check_arm(robot, load_robot(robot).joints, load_task(task).max_step_rad, o.run)
    if o.sim and o.resize == "refuse":
        spec.check_image(height, width, o.run)
    return dataclasses.replace(o, task=task, robot=robot, image_height=height, image_width=width)


def _part(options_class: type, options: Any, **changes: Any) -> Any:
    """The options of another graph that this graph's options hold."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options_class)}
    return options_class(**{**values, **changes})
