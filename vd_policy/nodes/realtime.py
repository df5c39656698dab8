"""The simulated arm in real time: it follows the last command at its speed limits, by the clock."""

from __future__ import annotations

import numpy as np

from vd_policy.base.episode import Obs
from vd_policy.base.seeds import Seeds
from vd_policy.messages.outcome import Outcome, outcome_of
from vd_policy.nodes.lockstep import Moment
from vd_policy.sim.compositor import Compositor
from vd_policy.sim.env import ArmEnv


class RealTime:
    """Episodes of an environment under the wall clock.

    The arm moves in a straight line at its joint speed limits and stays where something is in its way; the environment
    judges every decision period where it got to. After an episode it drives home, as a real arm would, and commands are
    not followed until it is there and the next episode has begun.
    """

    def __init__(self, env: ArmEnv, seed: int) -> None:
        self._env = env
        self._seeds = Seeds(seed)
        self._speed = np.array(env.robot.speed_limit_rad_s)
        self._max_step = env.settings.max_step_rad
        self._home = np.array(env.robot.home_rad)
        self._scene = env.new_scene()
        self._camera = Compositor(self._scene, env.camera)
        self.homing = False
        self._judged = False
        self._q = self._judged_q = self._target = self._home
        self._obs, self.outcome = self._first(0)

    @property
    def q(self) -> np.ndarray:
        """Joint angles [rad], (J,)."""
        return self._q

    def follow(self, positions: np.ndarray) -> bool:
        """Take a new target (J,) [rad]; False while the arm drives home or the episode is over."""
        if self.homing or self.outcome.last:
            return False
        self._target = np.array(positions, dtype=np.float64)
        return True

    def reset(self) -> bool:
        """Drive home and begin another episode; False when it is already on its way."""
        if self.homing:
            return False
        self.homing, self._target = True, self._home
        return True

    def advance(self, seconds: float) -> None:
        """Move for a while. Driving home passes through anything, so that a blocked arm gets free."""
        reach = self._speed * seconds
        q = self._q + np.clip(self._target - self._q, -reach, reach)
        if not self.homing:  # a decision changes no joint by more than the task's largest step
            q = np.clip(q, self._judged_q - self._max_step, self._judged_q + self._max_step)
        if self.homing or self._scene.contact_at(q) is None:
            self._q = q
        if self.homing and np.array_equal(self._q, self._home):
            self.homing = False
            self._obs, self.outcome = self._first(self.outcome.episode + 1)

    def picture(self) -> Obs:
        """What the camera sees now."""
        self._scene.set_joints(self._q)
        rgb, depth = self._camera.render()
        return {"rgb": rgb, "depth": depth, "q": self._q.astype(np.float32)}

    def judge(self, stamp_ns: int) -> Moment | None:
        """A decision period is over: the observation and what the task says of it; None while driving home."""
        if self.homing:
            return None
        obs, outcome = self._obs, self.outcome
        if self._judged:
            obs, reward, terminated, truncated, info = self._env.step_to(self._q)
            outcome = outcome_of(outcome.task, outcome.episode, outcome.step + 1, outcome.seed, reward, terminated,
                                 truncated, info)  # fmt: skip
            self._q = self._judged_q = self._env.q
        self._judged, self.outcome = True, outcome
        return Moment(obs, self._q, outcome, stamp_ns)

    def _first(self, episode: int) -> tuple[Obs, Outcome]:
        seed = self._seeds.integer("episode", episode)
        obs, info = self._env.reset(seed=seed)
        self._q = self._judged_q = self._target = self._env.q
        self._judged = False
        self._scene.restart(info["scene"])
        return obs, outcome_of(self._env.settings.task, episode, 0, seed, 0.0, False, False, info)

    def close(self) -> None:
        self._scene.close()
