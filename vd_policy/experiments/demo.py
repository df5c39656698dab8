"""The whole loop on the real ROS graph: demonstrate, record, pretrain, prune, deploy, improve; then measure."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.extends import load_extended
from vd_policy.base.files import TEMPORARY_PREFIX, storage_errors, write_bytes
from vd_policy.base.progress import ProgressBar
from vd_policy.base.resources import named_or_path, resource
from vd_policy.base.seeds import MAX_SEED
from vd_policy.base.settings import build, setting
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.episode_report import Tally, recorded
from vd_policy.experiments.evaluate import Evaluation, Request, carry_out
from vd_policy.experiments.timed_networks import as_dense, forward_ms
from vd_policy.graph.options import DemonstrateOptions, DeployOptions, TrainOptions
from vd_policy.graph.up import INTERRUPTED, up
from vd_policy.graph.watch import watching
from vd_policy.learning.pretrain import PretrainSettings, pretrain
from vd_policy.learning.pruning import prune_run
from vd_policy.learning.recipe import load_recipe
from vd_policy.policy.checkpoint import load_metrics, load_run

OURS = ("demonstrations", "cloned", "cloned.events", "pruned", "deployed", "improved", "improved.events", "logs",
        "report.html", "clip.mp4")  # fmt: skip
"""What a demo leaves in its directory, and may replace there."""
MARKER = ".vd_policy-demo"
"""Tells a demo's directory: others may hold a user's own runs under the same names, and are never emptied."""


@dataclass(frozen=True)
class DemoSettings:
    """How much of everything. A file in ``config/demos`` has what suits a task and says which, see `load_demo`."""

    task: str = setting("reach", "task: a name in config/tasks, or a YAML file")
    goal: str = setting("reach the cup", "what the arm is to do, in words, for the report")
    out: str = setting("demo", "directory of everything the demo writes")
    image_size: int = setting(64, "rows of the camera's images [px]", minimum=16, maximum=512)
    samples: int = setting(1500, "demonstrated state-label pairs", minimum=50)
    noise: float = setting(0.25, "standard deviation of the expert's noise [rad], eq. 6", minimum=0.0)
    cloning: str = setting("vd", "recipe of the cloning: a name in config/recipes, or a YAML file")
    epochs: int = setting(60, "passes over the demonstrations", minimum=1)
    initial_std: float = setting(0.1, "standard deviation that exploration starts with [actions]", minimum=0.0)
    deploy_episodes: int = setting(20, "episodes that the deployed policy is watched for", minimum=1)
    updates: int = setting(60, "TRPO updates on the policy node's rollouts", minimum=1)
    recipe: str = setting("trpo_rate", "learning recipe: a name in config/recipes, or a YAML file")
    episodes: int = setting(100, "starts of each evaluation", minimum=1)
    workers: int = setting(2, "processes of an evaluation", minimum=1)
    seed: int = setting(0, "fixes every random choice outside the graph", minimum=0, maximum=MAX_SEED)


def load_demo(name_or_path: str, changes: Mapping[str, Any]) -> DemoSettings:
    """The settings of ``config/demos/<name>.yaml``, of a task's only demo, or of a YAML file, with some replaced."""
    path = _only_demo_of(name_or_path) or named_or_path("demos", name_or_path)
    return build(DemoSettings, {**load_extended("demos", path), **changes}, str(path))


def _only_demo_of(task: str) -> Path | None:
    """The only demo that takes the task; None where there is another number of them, or a demo of that very name."""
    demos = sorted(resource("config", "demos").glob("*.yaml"))
    takers = [demo for demo in demos if load_extended("demos", demo).get("task") == task]
    return takers[0] if len(takers) == 1 and task not in [demo.stem for demo in demos] else None


@dataclass
class DemoResult:
    """What the demo measured; a stage that has not run yet has left no entry."""

    settings: DemoSettings
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage [s]."""
    demonstrations: dict[str, Any] = field(default_factory=dict)
    """``samples``, ``episodes``, ``successes`` of the recorded bags."""
    pretraining: dict[str, Any] = field(default_factory=dict)
    pruning: dict[str, Any] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    """Median time of one decision in torch, ``dense`` and ``pruned``."""
    deployed: dict[str, Any] = field(default_factory=dict)
    """``episodes`` and ``successes`` of the policy node on the graph, before improvement."""
    improvement: dict[str, Any] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    """``untrained``, ``cloned``, ``improved``, ``expert``; the mean policy unless the name ends in ``sampled``."""

    @property
    def reached(self) -> bool:
        """Whether the final policy beats the untrained one clearly: their 95 % intervals do not touch."""
        return self.evaluations["improved"].interval_95[0] > self.evaluations["untrained"].interval_95[1]


class Demo:
    """One demo: `run` once. Each stage is a method that leaves its files under `out` and its figures in `result`.

    Raises:
        BadInput: `out` holds something that is not an earlier demo.
        VdPolicyError: a node ended with an error; its output is in ``logs/``.
    """

    def __init__(self, settings: DemoSettings, say: Callable[[str], None]) -> None:
        self.settings, self._say = settings, say
        self.out = Path(settings.out)
        self.result = DemoResult(settings)
        self._prepare()

    @property
    def bags(self) -> Path:
        return self.out / "demonstrations"

    def run(self) -> DemoResult:
        """Every stage in order."""
        torch.set_num_threads(1)
        stages: list[tuple[str, Callable[[], str]]] = [
            ("demonstrate", self.demonstrate),
            ("pretrain", self.pretrain),
            ("prune", self.prune),
            ("deploy", self.deploy),
            ("improve", self.improve),
            ("evaluate", self.evaluate),
        ]
        for number, (name, stage) in enumerate(stages, 1):
            self._say(f"[{number}/{len(stages)}] {name}: {' '.join((stage.__doc__ or '').split())}")
            began = time.monotonic()
            found = stage()
            self.result.seconds[name] = time.monotonic() - began
            self._say(f"      {found} ({self.result.seconds[name]:.0f} s)")
        return self.result

    def demonstrate(self) -> str:
        """the expert node drives the simulated arm, the recorder node writes one bag an episode"""
        s = self.settings
        self.bags.mkdir()
        options = build(DemonstrateOptions, {**self._sim(), "out": str(self.bags), "samples": s.samples,
                                             "noise": s.noise}, "demo")  # fmt: skip
        tally = Tally(self.bags)
        with watching(lambda: sum(r.samples for r in tally.reports()), s.samples, "sample", "      recorded"):
            self._up("demonstrate", options)
        found = _summary(self.bags)
        self.result.demonstrations = found
        return f"{found['samples']} samples in {found['episodes']} bags, {found['successes']} of them successes"

    def pretrain(self) -> str:
        """a two-stream network is cloned from the bags with variational dropout"""
        s = self.settings
        recipe = load_recipe(s.cloning, {"epochs": s.epochs, "policy.initial_std": s.initial_std})
        settings = build(PretrainSettings, recipe.settings, f"recipe {s.cloning}")
        with ProgressBar("step", title="      cloning") as bar:
            _, figures = pretrain(Dataset(self.bags), settings, self.out / "cloned", seed=s.seed,
                                  progress=lambda done, total, _: bar.reach(done, total))  # fmt: skip
        self.result.pretraining = figures | {"metrics_csv": load_metrics(self.out / "cloned")}
        return f"{figures['steps']} steps, negative log-likelihood {figures['nll']:.2f}"

    def prune(self) -> str:
        """weights that dropout found useless are dropped, and the units left without use removed"""
        cloned = load_run(self.out / "cloned")
        report = prune_run(cloned, self.out / "pruned")
        before, after = forward_ms([as_dense(cloned.policy), load_run(self.out / "pruned").policy])
        self.result.pruning = report.to_manifest()
        self.result.latency_ms = {"dense": before, "pruned": after}
        return (f"{report.weight_sparsity:.0%} of the weights and {report.unit_sparsity:.0%} of the units gone, "
                f"a decision takes {after:.2f} ms instead of {before:.2f} ms")  # fmt: skip

    def deploy(self) -> str:
        """the policy node drives the arm through the safety node"""
        s, record = self.settings, self.out / "deployed"
        record.mkdir()
        values = {**self._sim(), "run": str(self.out / "pruned"), "record": str(record), "episodes": s.deploy_episodes}
        tally = Tally(record)
        with watching(lambda: len(tally.reports()), s.deploy_episodes, "episode", "      driven"):
            self._up("deploy", build(DeployOptions, values, "demo"))
        self.result.deployed = found = _summary(record)
        return f"{found['successes']} of {found['episodes']} episodes on the graph succeeded"

    def improve(self) -> str:
        """the learner node takes the policy node's rollouts, and its new weights are swapped in while it drives"""
        s, improved = self.settings, self.out / "improved"
        values = {**self._sim(), "run": str(self.out / "pruned"), "out": str(improved), "updates": s.updates,
                  "recipe": s.recipe}  # fmt: skip
        done = _LineCounter("update ")
        with watching(lambda: done.count, s.updates, "update", "      improved"):
            self._up("train", build(TrainOptions, values, "demo"), done)
        manifest = load_run(improved).manifest
        self.result.improvement = {
            "env_steps": manifest["env_steps"]["rl"],
            "weight_version": manifest["weight_version"],
            "metrics_csv": load_metrics(improved),
        }
        return f"{manifest['env_steps']['rl']} steps, weight version {manifest['weight_version']}"

    def evaluate(self) -> str:
        """the same starts for the untrained, the cloned and the improved policy and for the expert"""
        subjects = {
            "untrained": ("untrained", False),
            "cloned": (str(self.out / "pruned"), False),
            "cloned sampled": (str(self.out / "pruned"), True),
            "improved": (str(self.out / "improved"), False),
            "improved sampled": (str(self.out / "improved"), True),
            "expert": ("expert", False),
        }
        s = self.settings
        total = s.episodes * len(subjects)
        with ProgressBar("episode", total, "      played") as bar:
            for name, (subject, explore) in subjects.items():
                request = Request(subject, s.seed, explore, s.image_size, {"task": s.task})
                self.result.evaluations[name] = carry_out(request, s.episodes, workers=s.workers, progress=bar.update)
        before, after = (self.result.evaluations[n].success_rate for n in ("untrained", "improved"))
        return f"success {before:.0%} untrained, {after:.0%} at the end"

    def _sim(self) -> dict[str, Any]:
        s = self.settings
        return {"task": s.task, "image_height": s.image_size, "seed": s.seed}

    def _up(self, name: str, options: Any, on_line: Callable[[str, str], None] | None = None) -> None:
        """Run a graph to its end, its nodes' output in ``logs/``."""
        log = self.out / "logs" / f"{name}.log"
        with open(log, "w", buffering=1) as file:

            def keep(node: str, line: str) -> None:
                file.write(f"{node}: {line}\n")
                if on_line is not None:
                    on_line(node, line)

            code = up(name, options, keep)
        if code in INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            last = "; ".join(log.read_text().splitlines()[-3:])
            raise VdPolicyError(f"the {name} graph ended with exit code {code}; see {log}; its last lines: {last}")

    def _prepare(self) -> None:
        """Remove an earlier demo from `out`; anything else is not touched: hidden files stay, others are refused."""
        if self.out.exists():
            self._check_replaceable()
        if (self.out / MARKER).is_file():
            for left in self.out.iterdir():
                if left.name in OURS or left.name.startswith(TEMPORARY_PREFIX):
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        with storage_errors("demo", self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        write_bytes(self.out / MARKER, b"Of vd_policy demo: the next one in this directory replaces this one.\n")
        (self.out / "logs").mkdir()

    def _check_replaceable(self) -> None:
        """Refuse a file, a directory that no demo has marked, and one that somebody else writes in, too."""
        allowed = "a new directory, or one of an earlier demo"
        if not self.out.is_dir():
            raise BadInput("--out", str(self.out), allowed, "choose another one; this is a file")
        shown = sorted(p.name for p in self.out.iterdir() if not p.name.startswith("."))
        if foreign := [name for name in shown if name not in OURS]:
            raise BadInput("--out", str(self.out), allowed, f"choose another one; this one holds {_some(foreign)}")
        if shown and not (self.out / MARKER).is_file():
            raise BadInput("--out", str(self.out), allowed, f"choose another one, or remove it; this one holds "
                           f"{_some(shown)} without the {MARKER} of a demo")  # fmt: skip


class _LineCounter:
    """Counts the lines of a node's output that say a thing happened."""

    def __init__(self, mark: str) -> None:
        self.count, self._mark = 0, mark

    def __call__(self, _node: str, line: str) -> None:
        self.count += self._mark in line


def _some(names: list[str]) -> str:
    return ", ".join(names[:3])


def _summary(directory: Path) -> dict[str, Any]:
    """What the recorded bags' metadata say."""
    reports = recorded(directory)
    return {
        "samples": sum(r.samples for r in reports),
        "episodes": len(reports),
        "successes": sum(r.success for r in reports),
    }
