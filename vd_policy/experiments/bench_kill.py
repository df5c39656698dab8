"""How soon the arm stands when whoever drives it is killed: the policy, the expert, the learner that a policy follows.

Each trial starts the graph that `vd_policy up` would, on a ROS domain of its own, waits until the arm is driven, sends
SIGKILL at a random moment and looks for the last command and the last motion.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import VdPolicyError
from vd_policy.base.seeds import Seeds
from vd_policy.control.gate import GateSettings
from vd_policy.experiments.timed_networks import bench_spec
from vd_policy.graph.domain import own_domain
from vd_policy.graph.nodes import PATIENCE, graph
from vd_policy.graph.options import DemonstrateOptions, DeployOptions, TrainOptions
from vd_policy.graph.process import NodeSpec
from vd_policy.graph.processes import Processes
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.gaussian import new_policy
from vd_policy.sim.tasks import load_task

TASK = "reach"
SIZE = 32
"""Image height and width [pixels]."""
LEARNER_TIMEOUT_S = 1.0
"""The policy node's `learner_timeout_s`."""
TURNING = 0.5
"""Mean action of the policy's first joint: it turns for ever, so that a halted arm can be told from a driven one."""
ALLOWANCE_S = 0.1
"""On top of a time-out: a tick of the safety node's watchdog, and what it takes to hear of the arm's last motion."""
KILL_WITHIN_S = 0.5
"""The kill comes at a random moment of this time after the arm is first driven."""
START_S = 120.0
QUIET_S = 1.5
"""The arm must stand for so much longer than the time-out before a trial is over."""


@dataclass(frozen=True)
class Victim:
    """Who is killed, in which graph, and by when the arm must stand."""

    nodes: Callable[[Path, int], list[NodeSpec]]
    """Of a folder for what they write, and a seed."""
    timeout_s: float


def bench_kill(
    victims: tuple[str, ...] = ("policy", "expert", "learner"), *, trials: int = 20, seed: int = 0
) -> dict[str, float]:
    """Kill each of them in motion, so many times.

    Returns:
        ``<victim>_trials``, ``_stopped_in_time`` (of them), ``_timeout_s``; and median and maximum of the seconds from
        the kill to the last command of anybody (``_last_command_p50_s``) and to the last motion of the arm
        (``_last_motion_p50_s``), negative where that came before the kill. ``_void`` counts trials done again because
        the arm happened to stand when the kill came.
    """
    figures: dict[str, float] = {}
    for name in victims:
        rng = Seeds(seed).rng("kill", list(VICTIMS).index(name))
        found: list[tuple[float, float]] = []
        void = 0
        for _ in tqdm(range(trials), desc=f"killing the {name}", disable=None, leave=False):
            while (times := _trial(name, rng)) is None:
                void += 1
                if void > trials:
                    raise VdPolicyError(f"bench kill: the arm does not move when the {name} is killed")
            found.append(times)
        summed = {**summary(found, VICTIMS[name].timeout_s), "void": void}
        figures |= {f"{name}_{key}": value for key, value in summed.items()}
    return figures


def summary(found: list[tuple[float, float]], timeout_s: float) -> dict[str, float]:
    """Figures of some trials: of each the seconds from the kill to the last command and to the last motion."""
    commands, motions = np.array(found).T
    in_time = np.maximum(commands, motions) <= timeout_s + ALLOWANCE_S
    figures: dict[str, float] = {"trials": len(found), "stopped_in_time": int(in_time.sum()), "timeout_s": timeout_s}
    for key, values in (("last_command", commands), ("last_motion", motions)):
        figures |= {f"{key}_p50_s": float(np.median(values)), f"{key}_max_s": float(values.max())}
    return figures


def _trial(name: str, rng: np.random.Generator) -> tuple[float, float] | None:
    """Seconds from the kill to the last command and to the last motion; None when the arm stood at the kill."""
    victim = VICTIMS[name]
    with tempfile.TemporaryDirectory(prefix="vd_policy-") as place, own_domain():
        folder = Path(place)
        out = folder / "standstill.json"
        nodes = [_private(node, folder) for node in victim.nodes(folder, int(rng.integers(2**31)))]
        watcher = NodeSpec("standstill", {"out": str(out), "still_s": victim.timeout_s + QUIET_S})
        with Processes([*nodes, watcher], folder) as processes:
            _wait_until(out.is_file, processes)
            time.sleep(rng.uniform(0.0, KILL_WITHIN_S))
            processes[name].kill()
            killed_s = time.monotonic()
            if processes["standstill"].wait(START_S):
                raise VdPolicyError(f"bench kill: {processes.last_words()}")
        seen = json.loads(out.read_text())
    command_s, motion_s = (seen[key] - killed_s for key in ("last_command_s", "last_motion_s"))
    return None if motion_s < -KILL_WITHIN_S else (command_s, motion_s)


def _wait_until(condition: Callable[[], bool], processes: Processes) -> None:
    end_s = time.monotonic() + START_S
    while not condition():
        if ended := processes.ended():
            raise VdPolicyError(f"bench kill: {ended[0]} ended: {processes.last_words()}")
        if time.monotonic() > end_s:
            raise VdPolicyError(f"bench kill: the arm was not driven within {START_S:g} s: {processes.last_words()}")
        time.sleep(0.01)


def _private(node: NodeSpec, folder: Path) -> NodeSpec:
    """With a latch of this trial's own, a known time-out, and by the clock a sim that does not drive home by itself."""
    more: dict[str, Any] = {}
    if node.executable == "safety":
        more["latch_file"] = str(folder / "latch.json")
    if node.executable == "policy":
        more["learner_timeout_s"] = LEARNER_TIMEOUT_S
    if node.executable == "sim" and node.parameters["mode"] == "realtime":
        more["auto_reset"] = False
    return replace(node, parameters={**node.parameters, **more})


def _run(folder: Path, seed: int) -> str:
    """A policy that turns the arm's first joint whatever it sees."""
    robot = load_robot()
    spec = replace(bench_spec(SIZE, SIZE), joints=robot.joints, q_offset_rad=robot.home_rad)
    policy = new_policy(spec, seed=seed)
    with torch.no_grad():
        policy.mean.head.weight.zero_()
        policy.mean.head.bias.zero_()
        policy.mean.head.bias[0] = TURNING
    return str(save_run(folder / "run", policy, config={}))


def _with_policy(folder: Path, seed: int) -> list[NodeSpec]:
    return graph("deploy", DeployOptions(task=TASK, run=_run(folder, seed), mode="realtime", seed=seed))


def _with_expert(folder: Path, seed: int) -> list[NodeSpec]:
    return graph("demonstrate", DemonstrateOptions(task=TASK, mode="realtime", seed=seed, noise=0.0, image_height=SIZE,
                                                   image_width=SIZE, out=str(folder / "bags")))  # fmt: skip


def _with_learner(folder: Path, seed: int) -> list[NodeSpec]:
    return graph("train", TrainOptions(task=TASK, run=_run(folder, seed), seed=seed, out=str(folder / "out")))


VICTIMS: Mapping[str, Victim] = {
    "policy": Victim(_with_policy, GateSettings().command_timeout_s),
    "expert": Victim(_with_expert, PATIENCE * load_task(TASK).period_s),
    "learner": Victim(_with_learner, LEARNER_TIMEOUT_S),
}
"""By the name of the node that is killed."""
