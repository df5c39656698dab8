"""Records one demonstration after the other: the environment, the expert that labels, and who acts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vd_policy.arm.expert import ExpertSettings
from vd_policy.arm.hand import hand_of
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import EPISODE, EXPERT, Seeds
from vd_policy.base.settings import setting
from vd_policy.demos.episode_report import EpisodeReport
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import custom_data
from vd_policy.demos.recording import MIN_STEPS
from vd_policy.demos.steps import StepWriter
from vd_policy.demos.storage import episode_name
from vd_policy.demos.writer import EpisodeWriter
from vd_policy.messages.outcome import Outcome, outcome_of
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.tasks import TaskSettings, changes_of, load_task

if TYPE_CHECKING:
    from vd_policy.demos.dagger import ActingPolicy

CUT = "samples"
"""Reason of the last episode of a run, when it was ended because enough samples had been made."""


LOOK_AHEAD = 12
"""Episodes whose goals are found together: 3 ms of CPU time each, where one alone takes 10."""


@dataclass(frozen=True)
class DemonstrationSettings:
    """What is demonstrated, and how."""

    task: str = setting("reach", "a name in config/tasks or a YAML file")
    robot: str = setting("j2n6s300", "a name in config/robots or a YAML file")
    image_height: int | None = setting(None, "[px]; None: the task's", minimum=1)
    image_width: int | None = setting(None, "[px]; None: what the height makes of the task's aspect", minimum=1)
    motion: str = setting("kinematic", "how the arm moves", choices=("kinematic", "position"))
    rule: str = setting("clipped", "the expert's eq. 10", choices=("clipped", "literal"))
    noise_std_rad: float | None = setting(
        None, "standard deviation of the noise on the expert's action [rad]; None: the task's", minimum=0.0
    )
    clip_noise: bool = setting(True, "clip the noisy action to the largest step, beyond which nothing moves")
    end_on_contact: bool | None = setting(None, "end a demonstration at a contact; None leaves it to the task")
    actor: str = setting("", "directory of a run whose policy acts, so that the expert only labels; empty: the expert")

    def whole(self) -> DemonstrationSettings:
        """The same with the task's image size and noise where none were asked for."""
        task = load_task(self.task)
        check_horizon(task)
        height, width = task.image(self.image_height, self.image_width)
        return replace(self, image_height=height, image_width=width, noise_std_rad=task.noise(self.noise_std_rad))


def check_horizon(task: TaskSettings) -> None:
    """Refuse a task of whose episodes none is a demonstration: `BadInput`."""
    if task.horizon < MIN_STEPS:
        raise BadInput(f"horizon of {task.task}", task.horizon, f"at least {MIN_STEPS} in a demonstration", "raise it")


class Demonstrator:
    """An environment, an expert for each of its episodes, and the directory they are recorded in.

    Args:
        settings: what is demonstrated, and how.
        out: directory of episode bags.
        seed: of the run.
        stride: the episodes that follow are likely to be this far apart.
    """

    def __init__(self, settings: DemonstrationSettings, out: Path, seed: int, stride: int = 1) -> None:
        self._settings, self._out, self._seeds = settings, out, Seeds(seed)
        self._stride, self._ahead = stride, range(0)
        self.env = make_env(settings)
        self._hand = hand_of(self.env.robot) if self.env.grips else None
        task, noise_rad = self.env.settings, self.env.settings.noise(settings.noise_std_rad)
        self._expert = ExpertSettings(settings.rule, noise_rad, settings.clip_noise, task.max_step_rad)
        self._actor = _acting_policy(settings.actor, self.env) if settings.actor else None
        self._task_changes = changes_of(load_task(settings.task))

    def record(self, index: int, max_steps: int | None = None) -> EpisodeReport:
        """Demonstrate episode `index` and record it; one that is already there is kept.

        Args:
            max_steps: record it again, ended after that many steps.
        """
        path = self._out / episode_name(index)
        if path.exists() and max_steps is None and (custom := custom_data(path)).get("reason") != CUT:
            return EpisodeReport.of(index, custom)
        shutil.rmtree(path, ignore_errors=True)
        if max_steps is None:
            self._look_ahead(index)
        info = self._info(index)
        with EpisodeWriter(self._out, index, info) as writer:
            outcome = self._demonstrate(index, StepWriter(writer, info, self.env.camera, self._hand), max_steps)
        return EpisodeReport(index, outcome.step, outcome.success, outcome.failure)

    def _look_ahead(self, index: int) -> None:
        if index not in self._ahead:
            self._ahead = range(index, index + LOOK_AHEAD * self._stride, self._stride)
            self.env.look_ahead([self._seeds.integer(EPISODE, i) for i in self._ahead])

    def _demonstrate(self, index: int, steps: StepWriter, max_steps: int | None) -> Outcome:
        env, seed = self.env, self._seeds.integer(EPISODE, index)
        obs, info = env.reset(seed=seed)
        expert = env.expert(self._expert)
        rng = Seeds(seed).rng(EXPERT)
        outcome = self._outcome(index, seed, 0, 0.0, False, False, info)
        steps.observation(obs, env.q, outcome)
        while not outcome.last:
            q = env.q
            label = expert.decide(q)
            noisy = expert.with_noise(label if self._actor is None else self._actor.decide(obs), rng)
            obs, reward, terminated, truncated, info = env.step_to(q + noisy)
            steps.answer(outcome.step, q + label, q + noisy, self._limited(q, noisy))
            step = outcome.step + 1
            if step == max_steps and not terminated:
                truncated, info = True, {**info, "reason": CUT}
            outcome = self._outcome(index, seed, step, reward, terminated, truncated, info)
            steps.observation(obs, env.q, outcome)
        return outcome

    def _limited(self, q: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """The target within the largest step and the joint limits: what the safety node lets through."""
        robot, largest = self.env.robot, self.env.settings.max_step_rad
        return np.clip(q + np.clip(delta, -largest, largest), robot.lower_rad, robot.upper_rad)

    def _outcome(
        self, index: int, seed: int, step: int, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> Outcome:
        return outcome_of(self.env.settings.task, index, step, seed, reward, terminated, truncated, info)

    def _info(self, index: int) -> EpisodeInfo:
        env, expert = self.env, self._expert
        return EpisodeInfo(
            task=env.settings.task,
            robot=env.robot.name,
            joints=env.robot.joints,
            max_step_rad=env.settings.max_step_rad,
            period_s=env.settings.period_s,
            horizon=env.settings.horizon,
            source="expert" if self._actor is None else "policy",
            task_changes=self._task_changes,
            sequence=index,
            expert_rule=expert.rule,
            expert_noise_rad=expert.noise_std_rad,
            goals=env.settings.goals,
        )


def make_env(settings: DemonstrationSettings) -> ArmEnv:
    """The environment of the demonstrations."""
    overrides = {} if settings.end_on_contact is None else {"end_on_contact": settings.end_on_contact}
    return ArmEnv(settings.task, settings.robot, image_height=settings.image_height, image_width=settings.image_width,
                  motion=settings.motion, overrides=overrides)  # fmt: skip


def _acting_policy(run: str, env: ArmEnv) -> ActingPolicy:
    from vd_policy.demos.dagger import ActingPolicy  # not at the top: it brings torch, a second of start-up

    return ActingPolicy(run, env)
