"""The scene: contacts, sweeps and position control."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.arm.kinematics import Kinematics
from vd_policy.arm.spec import load_robot
from vd_policy.sim.scene import Scene

HOME = np.array(load_robot().home_rad)
INTO_THE_TABLE = HOME + np.array([0.0, 2.2, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(load_robot())


def test_the_simulated_end_effector_is_where_kinematics_say(scene: Scene) -> None:
    kinematics = Kinematics(load_robot())
    for q in np.random.default_rng(0).uniform(0.9, 5.4, (10, 6)):
        scene.set_joints(q)
        assert np.abs(scene.effector_m() - kinematics.forward(q)[:3, 3]).max() < 1e-7
        assert np.allclose(scene.joints(), q)


def test_home_is_free_and_contacts_name_the_link_and_what_it_touches(scene: Scene) -> None:
    assert scene.contact_at(HOME) is None
    assert scene.contact_at(INTO_THE_TABLE).endswith(":table")
    folded = np.array([0.0, np.pi, 0.34, 0.0, 2.6, 0.0])
    link, other = scene.contact_at(folded).split(":")
    assert link.startswith("j2n6s300_link") and other.startswith("j2n6s300_link")


def test_a_sweep_ends_at_its_target_or_free_just_before_the_first_contact(scene: Scene) -> None:
    assert np.array_equal(
        scene.sweep(
            HOME,
            HOME + 0.2,
        )[0],
        HOME + 0.2,
    )
    rng, stopped = np.random.default_rng(1), 0
    for _ in range(60):
        scene.set_joints(HOME)
        target = HOME + rng.uniform(-2.5, 2.5, 6).clip(0.85 - HOME, 5.4 - HOME)
        q, contact = scene.sweep(HOME, target)
        assert np.array_equal(scene.joints(), q)
        assert scene.contact_at(q) is None
        assert (contact is None) == np.array_equal(q, target)
        stopped += contact is not None
    assert stopped > 5


def test_a_sweep_as_long_as_the_arms_whole_travel_does_not_pass_through_the_table(scene: Scene) -> None:
    low, high = np.array([0.0, 1.0, np.pi, 0.0, np.pi, 0.0]), np.array([0.0, 5.2, np.pi, 0.0, np.pi, 0.0])
    through = low + (high - low) * 0.5
    scene.set_joints(through)
    q, contact = scene.sweep(through, low)
    assert contact is not None and contact.endswith(":table") and scene.contact_at(q) is None


def test_a_cup_that_is_only_seen_cannot_be_touched_and_a_solid_one_can() -> None:
    goal = Kinematics(load_robot()).goals_over(np.array([0.5, 0.0, 0.08]), collides=lambda q: None)[0]
    for solid in (False, True):
        scene = Scene(load_robot(), cup_is_solid=solid)
        scene.restart(np.array([0.5, 0.0, 0.0]))
        contact = scene.contact_at(goal)
        assert contact is None if not solid else contact.endswith(":cup")


def test_position_control_takes_a_full_step_in_one_second_and_no_less(scene: Scene) -> None:
    scene.restart(np.array([0.5, 0.0, 0.0]))
    target = HOME + np.array([np.pi / 5, 0.1, -0.2, 0.3, 0.0, 0.0])
    halfway, _ = scene.drive(target, 0.5)
    assert halfway[0] - HOME[0] == pytest.approx(np.pi / 10, abs=0.02)
    there, contact = scene.drive(target, 0.6)
    assert contact is None and np.abs(there - target).max() < 0.003


def test_position_control_stops_where_it_touches(scene: Scene) -> None:
    scene.restart(np.array([0.5, 0.0, 0.0]))
    q, contact = scene.drive(INTO_THE_TABLE, 5.0)
    assert contact is not None and contact.endswith(":table")
    assert HOME[1] + 1.0 < q[1] < INTO_THE_TABLE[1]
    assert np.array_equal(scene.joints(), q)
