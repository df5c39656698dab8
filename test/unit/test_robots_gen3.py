"""The Kinova Gen3: its description, and the reach task with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import load_robot
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.probe import Probe

SHOULDER_M = 0.15643 + 0.12838
"""Height of joint 2's axis."""
ARM_M = 0.21038 + 0.21038 + 0.20843 + 0.10593 + 0.10593 + 0.061525
"""From there to the end effector when stretched out: ros2_kortex's distances between joints, added up."""
ASIDE_M = -(0.005375 + 3 * 0.006375 + 2 * 0.00017505)
"""The joints' sideways offsets, added up."""


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(load_robot("gen3_7dof"))


@pytest.fixture(scope="module")
def env() -> Iterator[ArmEnv]:
    env = ArmEnv("reach", robot="gen3_7dof", image_height=32, image_width=32, render_mode="rgb_array")
    yield env
    env.close()


def test_stretched_out_the_arm_reaches_as_far_as_the_vendors_distances_add_up_to(kinematics: Kinematics) -> None:
    up, ahead = kinematics.forward(np.zeros(7)), kinematics.forward(np.array([0, np.pi / 2, 0, 0, 0, 0, 0]))
    assert up[:3, 3] == pytest.approx([0.0, ASIDE_M, SHOULDER_M + ARM_M], abs=1e-6)
    assert up[:3, 2] == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)
    assert ahead[:3, 3] == pytest.approx([ARM_M, ASIDE_M, SHOULDER_M], abs=1e-6)
    assert ahead[:3, 2] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_its_kinematics_agree_with_ikpy_to_a_nanometre(kinematics: Kinematics) -> None:
    for q in np.random.default_rng(0).uniform(-2.2, 2.2, (20, 7)):
        reference = kinematics.ikpy_chain.forward_kinematics(kinematics.padded(q))
        assert np.abs(reference - kinematics.forward(q)).max() < 1e-9


def test_touching_itself_and_the_table_is_noticed_and_the_home_posture_touches_nothing() -> None:
    spec = load_robot("gen3_7dof")
    probe = Probe(spec, cup_is_solid=False)
    assert probe.contact_at(np.array(spec.home_rad)) is None
    assert probe.contact_at(np.zeros(7)) is None
    assert "table" in str(probe.contact_at(np.array([0, 2.2, 0, 0, 0, 0, 0])))
    assert "link:" in str(probe.contact_at(np.array([0, -0.6, 0, 2.66, 0, 2.1, 0])))
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
    assert reached >= 16


def test_it_is_seen_by_the_camera_and_moves_there(env: ArmEnv) -> None:
    before = env.reset(seed=3)[0]["rgb"]
    after = env.step(np.ones(7, np.float32))[0]["rgb"]
    assert (np.abs(before.astype(int) - after).max(axis=2) > 30).sum() > 20
    picture = env.render()
    assert picture is not None and picture.shape == (360, 480, 3)
