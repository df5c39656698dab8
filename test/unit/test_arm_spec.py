"""The robot's description."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from vd_policy.arm.spec import load_robot
from vd_policy.arm.urdf import read_joints
from vd_policy.base.errors import BadInput, Missing

# Kinova's kinova-ros: mass [kg], centre of mass [m], and the solid cylinder (radius, height [m], axis) of the inertia.
LINKS = {
    "link_base": (0.46784, (0, 0, 0.1255), (0.04, 0.14, "z")),
    "link_1": (0.7477, (0, -0.002, -0.0605), (0.04, 0.14, "z")),
    "link_2": (0.99, (0, -0.2065, -0.01), (0.04, 0.35, "y")),
    "link_3": (0.6763, (0, 0.081, -0.0086), (0.03, 0.15, "y")),
    "link_4": (0.426367, (0, -0.037, -0.0642), (0.04, 0.02, "z")),
    "link_5": (0.426367, (0, -0.037, -0.0642), (0.04, 0.02, "z")),
    "link_6": (0.99, (0, 0, -0.06), (0.04, 0.03, "z")),
    "link_finger_1": (0.01, (0.022, 0, 0), (0.004, 0.03, "x")),
    "link_finger_tip_3": (0.01, (0.022, 0, 0), (0.004, 0.03, "x")),
}


@pytest.mark.parametrize("link", LINKS)
def test_each_link_has_the_mass_and_inertia_of_the_vendors_description(link: str) -> None:
    mass, centre, (radius, height, axis) = LINKS[link]
    root = ElementTree.parse(load_robot().urdf).getroot()
    inertial = root.find(f"link[@name='j2n6s300_{link}']/inertial")
    assert float(inertial.find("mass").get("value")) == pytest.approx(mass)
    assert [float(v) for v in inertial.find("origin").get("xyz").split()] == pytest.approx(centre)
    across = mass * (3 * radius**2 + height**2) / 12
    for side in "xyz":
        expected = mass * radius**2 / 2 if side == axis else across
        assert float(inertial.find("inertia").get(f"i{side}{side}")) == pytest.approx(expected, rel=1e-5)


def test_every_link_has_an_inertia_and_every_moving_joint_a_speed_limit() -> None:
    spec = load_robot()
    root = ElementTree.parse(spec.urdf).getroot()
    assert all(link.find("inertial/mass") is not None for link in root.findall("link"))
    assert all(j.speed_limit_rad_s < 10 for j in read_joints(spec.urdf).values() if j.moves)


def test_a_robot_that_is_not_there_is_refused_with_the_names_of_those_that_are() -> None:
    with pytest.raises(Missing, match="j2n6s300.yaml"):
        load_robot("j2n6s200")


def test_a_urdf_with_unreadable_numbers_is_refused_by_the_name_of_the_joint(tmp_path) -> None:
    path = tmp_path / "arm.urdf"
    path.write_text('<robot name="a"><joint name="elbow" type="revolute"><origin xyz="0 0"/></joint></robot>')
    with pytest.raises(BadInput, match="joint elbow"):
        read_joints(path)
    path.write_text("<robot")
    with pytest.raises(BadInput, match="well-formed XML"):
        read_joints(path)
