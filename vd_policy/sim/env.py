"""The Gymnasium environment: one arm, one task, RGBD and joint angles in, joint steps out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vd_policy.arm.expert import Expert, ExpertSettings
from vd_policy.arm.hand import hand_of
from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import RobotSpec, load_robot
from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import MAX_SEED, Seeds
from vd_policy.base.settings import replaced
from vd_policy.sim.camera import Camera
from vd_policy.sim.compositor import Compositor
from vd_policy.sim.gripper import Gripper
from vd_policy.sim.placement import Placement
from vd_policy.sim.probe import Probe
from vd_policy.sim.scene import Scene
from vd_policy.sim.tasks import Judgement, Situation, TaskSettings, checked, load_task, rules

Step = tuple[Obs, float, bool, bool, dict[str, Any]]


class ArmEnv(gymnasium.Env):
    """An arm over a table with a cup.

    Observations are ``rgb`` u8 (H, W, 3), ``depth`` u16 [mm] (H, W) with 0 where invalid, and ``q`` f32 [rad] (J,).
    An action in [-1, 1]^J, times ``settings.max_step_rad``, is the change of the joint angles. ``info`` holds
    ``distance_m``, ``success``, ``failure``, ``reason`` ("" | "success" | "contact:<link>:<other>" | "dropped" |
    "horizon" | "in hand" | "limit:<joint>"), ``applied`` (the executed change in units of the action), ``scene``
    (the cup's foot at the start [m]) and, after a reset, ``seed``, which alone brings the same episode back.

    Args:
        task: a name in config/tasks, a YAML file, or settings.
        robot: a name in config/robots, a YAML file, or a specification.
        image_height, image_width: [px]; None for the task's.
        motion: ``kinematic`` teleports along the joint-space line and asks for collisions on the way; ``position``
            simulates position control at the real speed limits, which takes 17 ms a step; there a solid cup falls when
            it is pushed, and a grasp closes the gripper and lifts the cup.
        horizon: overrides the task's.
        overrides: other settings of the task to replace.
        render_mode: ``rgb_array`` lets `render` draw a larger picture for people.

    Raises:
        BadInput: an unknown name, a wrong setting, or an image size out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self,
        task: str | TaskSettings = "reach",
        robot: str | RobotSpec = "j2n6s300",
        *,
        image_height: int | None = None,
        image_width: int | None = None,
        motion: str = "kinematic",
        horizon: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.robot = load_robot(robot) if isinstance(robot, str) else robot
        settings = load_task(task) if isinstance(task, str) else task
        changes = dict(overrides or {}) | ({} if horizon is None else {"horizon": horizon})
        self.settings = checked(replaced(settings, changes, "task overrides"), "task overrides")
        if motion not in ("kinematic", "position"):
            raise BadInput("motion", motion, "kinematic or position", "choose one of them")
        if render_mode not in (None, "rgb_array"):
            raise BadInput("render_mode", render_mode, "rgb_array or None", "choose one of them")
        self.motion, self.render_mode = motion, render_mode
        self.camera = Camera(self.settings.camera, *self.settings.image(image_height, image_width))
        self.observation_space = self._observation_space()
        self.action_space = spaces.Box(-1.0, 1.0, (len(self.robot),), np.float32)
        self._rules = rules(self.settings)
        self._kinematics = Kinematics(self.robot)
        self._probe = Probe(self.robot, self._rules.cup_is_solid, self._fingers_rad)
        self._placement = Placement(self.settings, self._rules, self._kinematics, self._probe)
        self.scene = Scene(self.robot, cup_is_solid=self._rules.cup_is_solid, fingers_rad=self._fingers_rad)
        self._gripper = Gripper(self.scene, self.robot) if self._rules.lift_m > 0.0 else None
        self._compositor = Compositor(self.scene, self.camera)
        self._lower, self._upper = np.array(self.robot.lower_rad), np.array(self.robot.upper_rad)
        self._q = np.array(self.robot.home_rad)
        self._cup = np.zeros(3)
        self._steps, self._running = 0, False

    def _observation_space(self) -> spaces.Dict:
        height, width = self.camera.height, self.camera.width
        home, travel = np.array(self.robot.home_rad), self.settings.horizon * self.settings.max_step_rad + 0.1
        low, high = np.maximum(home - travel, self.robot.lower_rad), np.minimum(home + travel, self.robot.upper_rad)
        return spaces.Dict({
            "rgb": spaces.Box(0, 255, (height, width, 3), np.uint8),
            "depth": spaces.Box(0, 65535, (height, width), np.uint16),
            "q": spaces.Box(low.astype(np.float32) - 0.1, high.astype(np.float32) + 0.1, dtype=np.float32),
        })  # fmt: skip

    @property
    def _fingers_rad(self) -> np.ndarray | None:
        return hand_of(self.robot).open_rad if self._rules.hand == "open" else None

    @property
    def grips(self) -> bool:
        """Whether the hand has something to do in this task."""
        return self._gripper is not None

    @property
    def q(self) -> np.ndarray:
        """Joint angles [rad], (J,) float64, not wrapped: a continuous joint counts its turns."""
        return self._q.copy()

    @property
    def target_m(self) -> np.ndarray:
        """Where the end effector shall go [m], (3,)."""
        return self._rules.target_m(self._cup)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Start an episode: the arm at home, the cup drawn from the region, or where ``options["cup"]`` says.

        Args:
            seed: fixes the whole episode; None draws one (see ``info["seed"]``).
            options: ``{"cup": (x, y, z)}``, the cup's foot [m].

        Raises:
            BadInput: an unknown option, or a cup outside the region or out of the arm's reach.
        """
        if seed is not None:
            seed = Seeds(seed).seed
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(MAX_SEED + 1))
        options = dict(options or {})
        cup = options.pop("cup", None)
        if options:
            raise BadInput("reset option", next(iter(options)), "cup", "remove it")
        self._cup = self._placement.draw(Seeds(seed).rng("scene")) if cup is None else self._placement.check(cup)
        self.scene.restart(self._cup)
        self._q = np.array(self.robot.home_rad)
        self._steps, self._running = 0, True
        still = np.zeros(len(self.robot))
        return self._observe(), self._info(self._judge(still, None), "", still) | {"seed": seed}

    def step(self, action: Sequence[float] | np.ndarray) -> Step:
        """Change the joint angles by ``action * max_step_rad``; components beyond +-1 are clipped.

        Raises:
            BadInput: the action has another shape, or NaN or Inf.
        """
        action = self._vector(action, "action")
        return self.step_to(self._q + np.clip(action, -1.0, 1.0) * self.settings.max_step_rad)

    def step_to(self, target_q_rad: Sequence[float] | np.ndarray) -> Step:
        """Like `step`, with absolute joint angles [rad], (J,): what a trajectory controller is told.

        No joint moves farther than ``max_step_rad``, nor past its limits.
        """
        if not self._running:
            raise VdPolicyError("the episode is over or has not begun: call reset() before step()")
        asked = self._vector(target_q_rad, "target_q_rad") - self._q
        asked = np.clip(asked, -self.settings.max_step_rad, self.settings.max_step_rad)
        wanted = self._q + asked
        target = np.clip(wanted, self._lower, self._upper)
        limited = wanted != target
        asked = np.where(limited, target - self._q, asked)  # on the graph, too, nothing beyond the limits gets here
        q, contact = self._move(self._q, target)
        return self._conclude(asked, q, contact, limited)

    def arrive(self, q: np.ndarray, contact: str | None = None, grip: Callable[[], bool] = lambda: False) -> Step:
        """A step of an arm that somebody else moved, in `scene`: what the simulator in real time calls.

        Args:
            q: joint angles [rad], (J,), where the arm in `scene` is now.
            contact: what it touched on its way, as ``link:other``.
            grip: whether the hand, as it is now, holds the cup.
        """
        if not self._running:
            raise VdPolicyError("the episode is over or has not begun: call reset() before arrive()")
        return self._conclude(q - self._q, q, contact, np.zeros(len(q), bool), grip)

    def _conclude(
        self, asked: np.ndarray, q: np.ndarray, contact: str | None, limited: np.ndarray,
        grip: Callable[[], bool] | None = None,
    ) -> Step:  # fmt: skip
        """Judge and observe where a step ended, and whether the episode did."""
        moved, self._q = q - self._q, q
        self._steps += 1
        judgement = self._judge(asked, contact, grip)
        terminated = (judgement.success and self.settings.end_on_success) or (
            judgement.failure and self.settings.end_on_contact
        )
        truncated = not terminated and self._steps >= self.settings.horizon
        self._running = not (terminated or truncated)
        reason = self._reason(judgement, contact, truncated, limited)
        return self._observe(), judgement.reward, terminated, truncated, self._info(judgement, reason, moved)

    def _vector(self, value: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
        vector = np.asarray(value, dtype=np.float64)
        if vector.shape != (len(self.robot),) or not np.isfinite(vector).all():
            raise BadInput(what, value, f"{len(self.robot)} finite numbers", "check what computed it")
        return vector

    def _move(self, start: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, str | None]:
        if self.motion == "position":
            return self.scene.drive(target, self.settings.period_s)
        return self.scene.sweep(start, target)

    def _judge(self, asked: np.ndarray, contact: str | None, grip: Callable[[], bool] | None = None) -> Judgement:
        scene = self.scene
        moves = grip is None and self.motion == "position"
        return self._rules.judge(
            Situation(scene.effector(), self.target_m, asked, contact, scene.is_finger_on_cup(contact), scene.cup(),
                      grip or (self._lift if moves else self._close), grip_moves=moves)
        )  # fmt: skip

    def _close(self) -> bool:
        return self._gripper is not None and self._gripper.encloses_cup()

    def _lift(self) -> bool:
        """Close the gripper in earnest and raise it; the arm is somewhere else afterwards."""
        above = self.scene.effector_m() + np.array([0.0, 0.0, self._rules.lift_m])
        raised = self._kinematics.moved_to(self._q, above)
        held = self._gripper is not None and raised is not None and self._gripper.lifts_cup(raised)
        self._q = self.scene.joints()
        return held

    def _reason(self, judgement: Judgement, contact: str | None, truncated: bool, limited: np.ndarray) -> str:
        if judgement.failure:
            return judgement.reason or f"contact:{contact}"
        if judgement.success:
            return "success"
        if truncated:
            return "horizon"
        if judgement.reason:
            return judgement.reason
        return f"limit:{self.robot.joints[int(np.argmax(limited))]}" if limited.any() else ""

    def _observe(self) -> Obs:
        rgb, depth = self._compositor.render()
        return {"rgb": rgb, "depth": depth, "q": self._q.astype(np.float32)}

    def _info(self, judgement: Judgement, reason: str, moved: np.ndarray) -> dict[str, Any]:
        return {
            "distance_m": judgement.distance_m,
            "success": judgement.success,
            "failure": judgement.failure,
            "reason": reason,
            "applied": (moved / self.settings.max_step_rad).astype(np.float32),
            "scene": self._cup.copy(),
        }

    def goals(self) -> np.ndarray:
        """The expert's goal set G for this cup, (K, J) [rad], K >= 1; computed when first asked for."""
        return self._placement.goals(self._cup).all()

    def look_ahead(self, seeds: Sequence[int]) -> None:
        """Prepare the goal sets of the episodes that `reset` will start with these seeds: same goals, less time."""
        self._placement.look_ahead([Seeds(seed).rng("scene") for seed in seeds])

    def expert(self, settings: ExpertSettings | None = None) -> Expert:
        """The expert of this cup, with the task's final approach where it has one; ask again after a reset."""
        cup = self._cup.copy()
        place, continuous = self._placement, self.robot.continuous
        nearer = partial(place.nearer, cup_m=cup) if self.settings.goals != "found" else None
        return Expert(place.goals(cup), continuous, settings, lambda q: place.approach(q, cup), nearer)

    def render(self) -> np.ndarray | None:
        """A larger picture with shadows for people, u8 (360, 480, 3), or None without a render mode."""
        if self.render_mode is None:
            return None
        return self._probe.picture(self._q, self._cup, self.settings.camera)

    def close(self) -> None:
        """Free the worlds; a second call does nothing."""
        self._running = False
        self.scene.close()
        self._probe.close()
