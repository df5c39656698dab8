"""The simulated arm in real time: it follows the last command at its speed limits, by the clock."""

from __future__ import annotations

import numpy as np

from vd_policy.base.episode import Obs
from vd_policy.base.seeds import EPISODE, Seeds
from vd_policy.messages.outcome import Outcome, outcome_of
from vd_policy.nodes.lockstep import Moment
from vd_policy.sim.compositor import Compositor
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.fingers import Fingers


class RealTime:
    """Episodes of an environment under the wall clock.

    The arm moves in a straight line at its joint speed limits and stays where something is in its way. Every decision
    period the environment judges where it got to and what it touched. The hand does what it is told and nothing by
    itself: a grasp is one only once its fingers were closed and hold the cup. There are no forces: a cup that is
    touched stands fast. After an episode the arm drives home, as a real one would, and commands are not followed until
    it is there and the next episode has begun.
    """

    def __init__(self, env: ArmEnv, seed: int) -> None:
        self._env = env
        self._seeds = Seeds(seed)
        self._speed = np.array(env.robot.speed_limit_rad_s)
        self._max_step = env.settings.max_step_rad
        self._home = np.array(env.robot.home_rad)
        self._camera = Compositor(env.scene, env.camera)
        self._fingers = Fingers(env.scene, env.robot) if env.grips else None
        self.homing = False
        self._judged = False
        self._contact: str | None = None
        self._q = self._judged_q = self._target = self._home
        self._obs, self.outcome = self._first(0)

    @property
    def q(self) -> np.ndarray:
        """Joint angles [rad], (J,)."""
        return self._q

    @property
    def fingers_rad(self) -> np.ndarray:
        """Joint angles of the fingers [rad], (F,); none where the task has no use for them."""
        return np.zeros(0) if self._fingers is None else self._fingers.angles

    def follow(self, positions: np.ndarray) -> bool:
        """Take a new target (J,) [rad]; False while the arm drives home or the episode is over."""
        if self.homing or self.outcome.last:
            return False
        robot = self._env.robot
        self._target = np.clip(np.asarray(positions, dtype=np.float64), robot.lower_rad, robot.upper_rad)
        return True

    def grip(self, positions: np.ndarray) -> bool:
        """Take a new target of the fingers (F,) [rad]; False as in `follow`, and where the hand has nothing to do."""
        if self._fingers is None or self.homing or self.outcome.last:
            return False
        self._fingers.aim(positions)
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
        if self.homing:
            self._drive_home(q)
            return
        # a decision changes no joint by more than the task's largest step
        q = np.clip(q, self._judged_q - self._max_step, self._judged_q + self._max_step)
        self._q, contact = self._env.scene.sweep(self._q, q)
        if self._contact is None or self._env.scene.is_finger_on_cup(self._contact):
            self._contact = contact or self._contact
        if self._fingers is not None:
            self._fingers.advance(seconds)

    def _drive_home(self, q: np.ndarray) -> None:
        self._q = q
        self._env.scene.set_joints(q)
        if np.array_equal(q, self._home):
            self.homing = False
            self._obs, self.outcome = self._first(self.outcome.episode + 1)

    def picture(self) -> Obs:
        """What the camera sees now."""
        rgb, depth = self._camera.render()
        return {"rgb": rgb, "depth": depth, "q": self._q.astype(np.float32)}

    def judge(self, stamp_ns: int) -> Moment | None:
        """A decision period is over: the observation and what the task says of it; None while driving home."""
        if self.homing:
            return None
        obs, outcome = self._obs, self.outcome
        if self._judged:
            grip = self._fingers.hold_cup if self._fingers is not None else lambda: False
            obs, reward, terminated, truncated, info = self._env.arrive(self._q, self._contact, grip)
            outcome = outcome_of(outcome.task, outcome.episode, outcome.step + 1, outcome.seed, reward, terminated,
                                 truncated, info)  # fmt: skip
            self._judged_q = self._q
        self._judged, self._contact, self.outcome = True, None, outcome
        return Moment(obs, self._q, outcome, stamp_ns)

    def _first(self, episode: int) -> tuple[Obs, Outcome]:
        seed = self._seeds.integer(EPISODE, episode)
        obs, info = self._env.reset(seed=seed)
        self._q = self._judged_q = self._target = self._env.q
        self._judged, self._contact = False, None
        if self._fingers is not None:
            self._fingers.restart()
        return obs, outcome_of(self._env.settings.task, episode, 0, seed, 0.0, False, False, info)
