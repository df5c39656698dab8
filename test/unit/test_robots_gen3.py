"""The Kinova Gen3 with six and with seven joints: its description, and the reach task with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import RobotSpec, load_robot
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.probe import Probe

SHOULDER_M = 0.15643 + 0.12838
"""Height of joint 2's axis."""
WRIST_M = 0.20843 + 0.10593 + 0.10593 + 0.061525
"""From the elbow to the end effector when stretched out: ros2_kortex's distances between joints, added up."""


@dataclass(frozen=True)
class Gen3:
    """What is known of an arm without its description."""

    name: str
    reach_m: float
    """From joint 2 to the end effector when stretched out."""
    aside_m: float
    """The joints' sideways offsets, added up."""
    folded_rad: tuple[float, ...]
    """A posture in which it touches itself."""


ARMS = (
    Gen3("gen3_6dof", 0.41 + WRIST_M, -0.005375 + 0.006375 + 2 * 0.00017505, (0, -0.6, -2.57, 0, -2.09, 0)),
    Gen3("gen3_7dof", 2 * 0.21038 + WRIST_M, -(0.005375 + 3 * 0.006375 + 2 * 0.00017505),
         (0, -0.6, 0, 2.57, 0, 2.09, 0)),
)  # fmt: skip


@pytest.fixture(scope="module", params=ARMS, ids=lambda arm: arm.name)
def arm(request: pytest.FixtureRequest) -> Gen3:
    return request.param


@pytest.fixture(scope="module")
def spec(arm: Gen3) -> RobotSpec:
    return load_robot(arm.name)


@pytest.fixture(scope="module")
def kinematics(spec: RobotSpec) -> Kinematics:
    return Kinematics(spec)


@pytest.fixture(scope="module")
def env(arm: Gen3) -> Iterator[ArmEnv]:
    env = ArmEnv("reach", robot=arm.name, image_height=32, image_width=32, render_mode="rgb_array")
    yield env
    env.close()


def bent(spec: RobotSpec, shoulder_rad: float) -> np.ndarray:
    """All joints at zero but joint 2, (J,)."""
    return shoulder_rad * np.eye(len(spec))[1]


def test_stretched_out_the_arm_reaches_as_far_as_the_vendors_distances_add_up_to(
    arm: Gen3, spec: RobotSpec, kinematics: Kinematics
) -> None:
    up, ahead = kinematics.forward(bent(spec, 0.0)), kinematics.forward(bent(spec, np.pi / 2))
    assert up[:3, 3] == pytest.approx([0.0, arm.aside_m, SHOULDER_M + arm.reach_m], abs=1e-6)
    assert up[:3, 2] == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)
    assert ahead[:3, 3] == pytest.approx([arm.reach_m, arm.aside_m, SHOULDER_M], abs=1e-6)
    assert ahead[:3, 2] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_its_kinematics_agree_with_ikpy_to_a_nanometre(spec: RobotSpec, kinematics: Kinematics) -> None:
    for q in np.random.default_rng(0).uniform(-2.0, 2.0, (20, len(spec))):
        reference = kinematics.ikpy_chain.forward_kinematics(kinematics.padded(q))
        assert np.abs(reference - kinematics.forward(q)).max() < 1e-9


def test_at_home_both_arms_hold_their_hand_level_in_the_same_place(spec: RobotSpec, kinematics: Kinematics) -> None:
    pose = kinematics.forward(spec.home_rad)
    assert pose[:3, 2] == pytest.approx([1.0, 0.0, 0.0], abs=0.002)
    assert pose[:3, 3] == pytest.approx([0.455, 0.0, 0.43], abs=0.01)


def test_goals_over_a_cup_look_straight_down_on_it_inside_the_limits(spec: RobotSpec, kinematics: Kinematics) -> None:
    point = np.array([0.45, -0.10, 0.18])
    goals = kinematics.goals_over(point, collides=lambda q: None)
    poses = kinematics.forward_batch(goals)
    assert len(goals) >= 4
    assert np.abs(poses[:, :3, 3] - point).max() < 0.005
    assert (poses[:, 2, 2] < -np.cos(np.radians(3.0))).all()
    assert (goals >= spec.lower_rad).all() and (goals <= spec.upper_rad).all()


def test_touching_itself_and_the_table_is_noticed_and_the_home_posture_touches_nothing(
    arm: Gen3, spec: RobotSpec
) -> None:
    probe = Probe(spec, cup_is_solid=False)
    assert probe.contact_at(np.array(spec.home_rad)) is None
    assert probe.contact_at(bent(spec, 0.0)) is None
    assert "table" in str(probe.contact_at(bent(spec, 2.2)))
    assert "link:" in str(probe.contact_at(np.array(arm.folded_rad)))
    probe.close()


def test_the_expert_brings_it_over_the_cup_from_most_starts(env: ArmEnv) -> None:
    reached = 0
    for seed in range(20):
        env.reset(seed=seed)
        expert, over, info = env.expert(), False, {}
        while not over:
            action = expert.decide(env.q) / env.settings.max_step_rad
            _, _, ended, out_of_time, info = env.step(action.astype(np.float32))
            over = ended or out_of_time
        reached += info["success"]
    assert reached >= 18


def test_it_is_seen_by_the_camera_and_moves_there(env: ArmEnv) -> None:
    before = env.reset(seed=3)[0]["rgb"]
    after = env.step(np.ones(len(env.robot), np.float32))[0]["rgb"]
    assert (np.abs(before.astype(int) - after).max(axis=2) > 30).sum() > 20
    picture = env.render()
    assert picture is not None and picture.shape == (360, 480, 3)
