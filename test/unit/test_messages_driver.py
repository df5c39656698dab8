"""Joints whose driver names and counts them otherwise than the URDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from message_factory import FACTORIES

from vd_policy.arm.driver import DriverJoint
from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import as_dict
from vd_policy.messages.driver import DriverJoints
from vd_policy.messages.joints import encode_joints

JOINTS = ("a", "b", "c")
MIRRORED = {"a": DriverJoint("yaw", -1.0, 0.5), "c": DriverJoint(offset_rad=-2.0)}


def test_what_is_read_is_what_was_sent_and_counts_as_configured() -> None:
    driver, q = DriverJoints(JOINTS, MIRRORED), np.array([1.25, -0.5, 3.0])
    assert driver.names == ("yaw", "b", "c")
    assert driver.to_driver(q).tolist() == [-0.75, -0.5, 5.0]
    assert driver.from_driver(driver.to_driver(q)).tolist() == q.tolist()
    msg = encode_joints(FACTORIES[0], driver.names[::-1], driver.to_driver(q)[::-1], 1)
    assert driver.reader().read(msg).tolist() == q.tolist()


def test_a_joint_that_turns_without_end_is_read_near_home_wherever_its_driver_wraps_it() -> None:
    driver = DriverJoints(JOINTS, MIRRORED, {"a": 4.8, "b": 3.14})
    home = np.array([4.8, 3.14, 1.0])
    for turned in ((0.0, 0.0), (1.0, -1.0), (-3.0, 2.0)):
        wrapped = home + 2 * np.pi * np.array([*turned, 0.0]) + 0.3
        msg = encode_joints(FACTORIES[0], driver.names, driver.to_driver(wrapped), 1)
        assert driver.reader().read(msg) == pytest.approx(home + 0.3)
    for bad in (np.nan, np.inf):
        msg = encode_joints(FACTORIES[0], driver.names, np.array([bad, 0.0, 0.0]), 1)
        assert not np.isfinite(driver.reader().read(msg)[0])


def test_without_differences_every_bit_stays() -> None:
    q = np.random.default_rng(0).normal(size=3)
    driver = DriverJoints(JOINTS)
    assert driver.names == JOINTS and driver.to_driver(q).tolist() == q.tolist() == driver.from_driver(q).tolist()


@pytest.mark.parametrize(
    "differing, message",
    [
        ({"elbow": {"sign": -1}}, "driver_joints"),
        ({"j2n6s300_joint_1": {"sign": 2}}, "sign"),
        ({"j2n6s300_joint_1": {"name": "j2n6s300_joint_2"}}, "each name once"),
        ({"j2n6s300_joint_1": {"offset": 1}}, "offset_rad"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(differing: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump({**as_dict(load_robot()), "driver_joints": differing}))
    with pytest.raises(BadInput, match=message):
        load_robot(str(path))
