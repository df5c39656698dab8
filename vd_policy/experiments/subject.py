"""Who is evaluated: a run, the expert in either form, or an untrained baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vd_policy.arm.expert import ExpertSettings
from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput, Missing
from vd_policy.policy.actor import Act, Actor, GaussianActor, State, UniformActor
from vd_policy.policy.checkpoint import load_run
from vd_policy.policy.gaussian import GaussianPolicy, new_policy
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

BASELINES = {
    "expert": "the inverse-kinematics expert, last step scaled to end at the goal",
    "expert-literal": "the expert with eq. 10 as printed",
    "untrained": "a freshly initialised network",
    "random": "uniformly random actions",
}
"""Words that stand for a run."""


class ExpertActor:
    """The noiseless expert as an actor of one environment, whose goals it is told at each start."""

    def __init__(self, env: ArmEnv, rule: str) -> None:
        self._env = env
        self._settings = ExpertSettings(rule=rule, max_step_rad=env.settings.max_step_rad)

    def begin(self, batch: int, rng: Any) -> State:
        """Call after the environment's reset, with a batch of one."""
        return {"expert": self._env.expert(self._settings)}

    def act(self, obs: Obs, state: State, *, explore: bool) -> tuple[Act, State]:
        """Eqs. 9-10 in action units; exploring makes no difference."""
        step = state["expert"].decide(np.asarray(obs["q"][0], np.float64)) / self._settings.max_step_rad
        action = torch.from_numpy(step.astype(np.float32))[None]
        return Act(action, torch.zeros(1), action, torch.zeros_like(action)), state


@dataclass(frozen=True)
class Subject:
    """A name opened: what it needs of the environment, and the actor that plays in one."""

    name: str
    seed: int
    """Initialises the untrained network."""
    policy: GaussianPolicy | None
    """None for a baseline."""

    def env_options(self, image_size: int | None) -> dict[str, int | None]:
        """Image size for `ArmEnv`: what a run was trained on, or `image_size` rows for a baseline.

        Raises:
            BadInput: another size is asked for than a run was trained on.
        """
        if self.policy is None:
            return {"image_height": image_size}
        spec = self.policy.spec
        if image_size not in (None, spec.image_height):
            raise BadInput("image size", image_size, f"{spec.image_height} rows as in {self.name}", "leave it out")
        return {"image_height": spec.image_height, "image_width": spec.image_width}

    def actor(self, env: ArmEnv) -> Actor:
        """The actor for one environment.

        Raises:
            BadInput: the run was trained for other joints or another step size.
        """
        if self.policy is not None:
            self.policy.spec.check_arm(env.robot.name, env.robot.joints, env.settings.max_step_rad, self.name)
            return GaussianActor(self.policy)
        if self.name == "random":
            return UniformActor(len(env.robot.joints))
        if self.name == "untrained":
            return GaussianActor(new_policy(spec_of(env), seed=self.seed))
        return ExpertActor(env, "literal" if self.name == "expert-literal" else "clipped")


def open_subject(name: str, seed: int) -> Subject:
    """A word of `BASELINES`, or the path of a run, verified before use."""
    if name in BASELINES:
        return Subject(name, seed, None)
    if not Path(name).is_dir():
        words = ", ".join(BASELINES)
        raise Missing("RUN", name, f"the directory of a run, or one of {words}", "check the path, or pretrain one")
    return Subject(name, seed, load_run(Path(name)).policy)


def spec_of(env: ArmEnv) -> ObservationSpec:
    """What a policy that was trained on nothing sees of an environment, which may be closed: joint angles from home."""
    robot, settings = env.robot, env.settings
    return ObservationSpec(
        joints=tuple(robot.joints),
        image_height=env.camera.height,
        image_width=env.camera.width,
        q_offset_rad=tuple(robot.home_rad),
        q_scale_rad=(1.0,) * len(robot.joints),
        depth_max_m=settings.camera.far_m,
        max_step_rad=settings.max_step_rad,
        rate_hz=1.0 / settings.period_s,
    )
