"""The paper's grasping task (section V.B): bring the open gripper around a cup that can be knocked over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vd_policy.base.episode import IN_HAND
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting
from vd_policy.sim.tasks import MAX_REWARD, Judgement, Situation, Task, TaskSettings


@dataclass(frozen=True)
class GraspSettings(TaskSettings):
    """What the grasping task adds to the settings of every task, and its own defaults."""

    image_size: int = setting(256, "rows of the images, unless asked otherwise", minimum=8, maximum=4096)
    noise_rad: float = setting(0.05, "the expert's noise in demonstrations, unless asked otherwise [rad]", minimum=0.0)
    goals: str = setting("all", "as in every task; all: labels that change smoothly", choices=("found", "all"))
    success_reward: float = setting(25.0, "reward of a grasp", minimum=0.0, maximum=MAX_REWARD)
    failure_cost: float = setting(25.0, "cost of a collision", minimum=0.0, maximum=MAX_REWARD)
    step_cost: float = setting(1.0, "cost of each step", minimum=0.0, maximum=MAX_REWARD)
    reward: str = setting("sparse", "step cost, success and failure | zero", choices=("sparse", "none"))
    target_height_m: float = setting(0.08, "height of the end effector over the cup's foot in a grasp [m]", minimum=0.0)
    cup_height_m: float = setting(0.10, "height of the cup, as in urdf/cup.urdf [m]", minimum=1e-3)
    approach_m: float = setting(0.08, "distance d_g at which the final approach begins [m]", minimum=0.0)
    approach_margin_m: float = setting(0.05, "the approach also begins this much farther away [m]", minimum=0.0)
    tilt_rad: float = setting(0.35, "largest angle of the hand's axis to the cup's [rad]", minimum=0.0, maximum=math.pi)
    offset_m: float = setting(0.025, "largest distance of the rim's centre from the hand's axis [m]", minimum=0.0)
    depth_m: float = setting(0.045, "largest depth of the rim behind the end effector: the palm [m]", minimum=0.0)
    lift_m: float = setting(0.05, "how far the hand lifts the cup, in position control [m]", minimum=1e-3)


class Grasp:
    """Success where the cup stands between fingers that can hold it; failure at any other touch.

    A finger may touch the cup once the cup is between the fingers; the hand, the arm, and a finger that comes from
    beside or above may not.
    """

    cup_is_solid = True
    hand = "open"

    def __init__(self, settings: GraspSettings) -> None:
        self._settings = settings
        self.lift_m = settings.lift_m

    def target_m(self, cup_m: np.ndarray) -> np.ndarray:
        """The end effector in a grasp, a little under the rim, (3,) [m]."""
        return cup_m + np.array([0.0, 0.0, self._settings.target_height_m])

    def goal_m(self, cup_m: np.ndarray) -> np.ndarray:
        """Straight above that, at the distance d_g, (3,) [m]."""
        return self.target_m(cup_m) + np.array([0.0, 0.0, self._settings.approach_m])

    def near(self, effector: np.ndarray, cup_m: np.ndarray) -> bool:
        """Within d_g of the grasp and oriented towards the cup."""
        distance = np.linalg.norm(effector[:3, 3] - self.target_m(cup_m))
        close = distance <= self._settings.approach_m + self._settings.approach_margin_m
        return bool(close) and self._tilt(effector, np.array([0.0, 0.0, 1.0])) <= self._settings.tilt_rad

    def around(self, effector: np.ndarray, cup: np.ndarray) -> bool:
        """Whether the cup stands between the fingers: its rim in the hand, its axis along the hand's.

        Args:
            effector: pose of the end effector, (4, 4).
            cup: pose of the cup, its origin in the centre of the foot, (4, 4).
        """
        settings = self._settings
        rim = cup[:3, 3] + settings.cup_height_m * cup[:3, 2]
        across, along, depth = effector[:3, :3].T @ (rim - effector[:3, 3])
        inside = np.hypot(across, along) <= settings.offset_m and -settings.depth_m <= depth <= 0.0
        return bool(inside) and self._tilt(effector, cup[:3, 2]) <= settings.tilt_rad

    def judge(self, situation: Situation) -> Judgement:
        """-1 a step, -25 a collision, +25 a grasp: rewards as in section V.B."""
        settings = self._settings
        distance = float(np.linalg.norm(situation.effector_m - situation.target_m))
        around = self.around(situation.effector, situation.cup)
        collision = situation.contact is not None and not (around and situation.finger_on_cup)
        success = around and not collision and situation.grip()
        dropped = situation.grip_moves and around and not collision and not success
        failure = collision or dropped
        reward = settings.success_reward * success - settings.failure_cost * failure - settings.step_cost
        reason = "dropped" if dropped else IN_HAND if around and not (collision or success) else ""
        return Judgement(distance, success, failure, 0.0 if settings.reward == "none" else reward, reason)

    @staticmethod
    def _tilt(effector: np.ndarray, up: np.ndarray) -> float:
        """Angle between the hand's axis and the cup's, 0 where the hand points straight into the cup [rad]."""
        return float(np.arccos(np.clip(-effector[:3, 2] @ up, -1.0, 1.0)))


Settings = GraspSettings


def build(settings: TaskSettings) -> Task:
    if not isinstance(settings, GraspSettings):
        raise BadInput("task", settings.task, "the task that the settings were made for", "load it by its name")
    return Grasp(settings)
