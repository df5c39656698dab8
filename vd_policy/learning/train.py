"""The one training loop: any `Learner` with any `Collector`, resumable exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput
from vd_policy.learning.collector import Collector
from vd_policy.learning.learner import Learner
from vd_policy.learning.metrics import Metrics
from vd_policy.learning.resume import check_free, check_unchanged
from vd_policy.learning.states import prefixed, under
from vd_policy.policy.checkpoint import Run, load_metrics, load_training, save_run

CHECKPOINT_ITERATIONS = 10
NOTED_LATER = ("task", "robot", "task_settings")
"""What trainings were begun with that older ones do not say."""
EARLIER_TASK = {"goals": "found"}
"""Settings of tasks of before they had a name: what a training that does not say them was begun with."""
INITIAL_STD = "initial_std"
REPORTED_ITERATIONS = 10
"""The result's rollout figures are means over this many last iterations."""

Progress = Callable[[int, dict[str, float]], None]
"""Called after each iteration with the environment steps of this training and the newest figures."""


class Training:
    """Life cycle: construct, `restore` when resuming, `run`, then read `figures`.

    Args:
        learner: what learns; it owns the policy.
        collector: where its episodes come from.
        start: the run that the policy came from.
        out: the run directory to write.
        begun_with: settings and data that a resumed training must find again, plain values.
        manifest_extra: further entries of the manifest.
        checkpoint_every: iterations from one durable checkpoint to the next; the last one is always saved.

    Attributes:
        unsaved: iterations since the run was last written.
    """

    def __init__(
        self,
        learner: Learner,
        collector: Collector,
        start: Run,
        out: str | Path,
        *,
        begun_with: Mapping[str, Any],
        manifest_extra: Mapping[str, Any] | None = None,
        checkpoint_every: int = CHECKPOINT_ITERATIONS,
    ) -> None:
        self.learner, self.collector, self.start, self.out = learner, collector, start, Path(out)
        self.begun_with = {**begun_with, "start": start.as_parent()["sha256"]}
        self.manifest_extra = dict(manifest_extra or {})
        self.metrics = Metrics()
        self.rl_steps = self.unsaved = 0
        self._checkpoint_every = checkpoint_every
        self._is_mine = False
        before = start.manifest["env_steps"]
        self._steps_before = {"pretraining": before["pretraining"], "rl": before["rl"]}

    def restore(self, allow_changed: bool = False) -> None:
        """Go on from the checkpoint in `out`; what followed is what an uninterrupted training would have done.

        Raises:
            BadInput: there is no checkpoint, or the settings are others and `allow_changed` is not given.
        """
        check_free(self.out, resume=True)
        state = load_training(self.out)
        before = state["begun_with"]
        if noted := before.get("task_settings"):
            before = {**before, "task_settings": {**EARLIER_TASK, **noted}}
        now = {name: value for name, value in self.begun_with.items() if name in before or name not in NOTED_LATER}
        check_unchanged(before, now, allow_changed)
        self._keep_exploration(before)
        self.learner.load_state_dict(under("learner", state))
        self.collector.next_episode = state["next_episode"]
        self.rl_steps = state["rl_steps"]
        self.metrics = Metrics(load_metrics(self.out))
        self._is_mine = True

    def _keep_exploration(self, before: Mapping[str, Any]) -> None:
        """A training goes on from the standard deviations that it has: another start of them can only be refused."""
        begun, asked = before.get(INITIAL_STD), self.begun_with.get(INITIAL_STD)
        if asked is not None and asked != begun:
            raise BadInput("--resume: initial_std", asked, f"{begun!r}, as this run was begun",
                           "leave it out, or train what is there anew in another --out")  # fmt: skip
        if INITIAL_STD in before:
            self.begun_with[INITIAL_STD] = begun

    def run(self, steps: int, progress: Progress | None = None) -> None:
        """Iterate until `steps` environment steps of RL are done, those before a resume counted in.

        Raises:
            BadInput: `out` holds a run that was not restored.
        """
        if not self._is_mine:
            check_free(self.out, resume=False)
            self._is_mine = True
        while self.rl_steps < steps:
            figures = self._iterate()
            if self.unsaved >= self._checkpoint_every or self.rl_steps >= steps:
                self.save()
            if progress is not None:
                progress(self.rl_steps, figures)

    def _iterate(self) -> dict[str, float]:
        """Collect, learn, log."""
        began = time.perf_counter()
        learner = self.learner
        episodes = self.collector.collect(learner.actor(), learner.collect_steps, weight_version=learner.version)
        collected = time.perf_counter()
        learner.observe(episodes)
        figures: dict[str, float] = {}
        while learner.due():
            figures = learner.update()
        self.rl_steps += sum(map(len, episodes))
        named = {f"train/{learner.method}/{name}": value for name, value in figures.items()}
        times = {"diag/collect_s": collected - began, "diag/update_s": time.perf_counter() - collected}
        row = {**rollout_figures(episodes), **named, "diag/weight_version": float(learner.version), **times}
        self.metrics.log(sum(self._steps_before.values()) + self.rl_steps, row)
        self.unsaved += 1
        return row

    def save(self) -> None:
        """Write the run, with all that resuming needs."""
        seeds, parents = self.start.manifest.get("seeds", {}), self.start.manifest.get("parents", {})
        steps = self._steps_before | {"rl": self._steps_before["rl"] + self.rl_steps}
        extra = {
            "weight_version": self.learner.version,
            "env_steps": steps,
            "parents": {**parents, "init": self.start.as_parent()},
            **self.manifest_extra,
            "seeds": {**seeds, **self.manifest_extra.get("seeds", {})},
        }
        state = {**prefixed("learner", self.learner.state_dict()), "begun_with": self.begun_with}
        state |= {"next_episode": self.collector.next_episode, "rl_steps": self.rl_steps}
        config = {**self.start.config, "train": dict(self.begun_with)}
        save_run(self.out, self.learner.product(), config=config, manifest_extra=extra, training=state,
                 metrics_csv=self.metrics.csv())  # fmt: skip
        self.unsaved = 0
        self.metrics.write_events(self.out)

    def figures(self) -> dict[str, Any]:
        """Steps, and the rollouts' figures over the last iterations; stochastic actions, so below the mean policy."""
        rows = self.metrics.rows[-REPORTED_ITERATIONS:]
        names = [name for name in rows[-1] if name.startswith("rollout/")]
        means = {name.removeprefix("rollout/"): float(np.mean([row[name] for row in rows])) for name in names}
        return {"env_steps": self.rl_steps, "iterations": len(self.metrics.rows), **means}


def rollout_figures(episodes: list[Episode]) -> dict[str, float]:
    """``rollout/*`` of one iteration's episodes."""
    steps = sum(map(len, episodes))
    successes = sum(e.success for e in episodes)
    return {
        "rollout/return": float(np.mean([e.reward.sum() for e in episodes])),
        "rollout/success_rate": successes / len(episodes),
        "rollout/failure_rate": sum(e.failure for e in episodes) / len(episodes),
        "rollout/successes_per_200_steps": 200.0 * successes / steps,
        "rollout/length": steps / len(episodes),
    }


def train(
    learner: Learner,
    collector: Collector,
    steps: int,
    out: str | Path,
    *,
    start: Run,
    begun_with: Mapping[str, Any] | None = None,
    manifest_extra: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changed: bool = False,
    checkpoint_every: int = CHECKPOINT_ITERATIONS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`Training` from its construction to its figures; see there."""
    training = Training(learner, collector, start, out, begun_with=begun_with or {}, manifest_extra=manifest_extra,
                        checkpoint_every=checkpoint_every)  # fmt: skip
    if resume:
        training.restore(allow_changed)
    training.run(steps, progress)
    return training.figures()
