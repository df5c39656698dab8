"""A ROS domain of one's own is one where nobody else is."""

from __future__ import annotations

import os

import pytest
import rclpy
from rclpy.context import Context

from vd_policy.graph import domain as module
from vd_policy.graph.domain import Domain, own_domain


def test_those_that_are_held_at_once_differ():
    first, second = Domain(), Domain()
    assert first.id != second.id and {first.id, second.id} <= set(range(1, module.DOMAINS + 1))
    first.close()
    again = Domain()
    assert again.id != second.id
    second.close()
    again.close()


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_a_domain_on_which_somebody_listens_is_left_alone(reach, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", reach)
    taken = Domain()
    context = Context()
    rclpy.init(context=context, domain_id=taken.id)
    node = rclpy.create_node("somebody", context=context)
    taken.close()  # as of a graph that was started by hand, which holds no lock
    other = Domain()
    assert other.id != taken.id
    node.destroy_node()
    rclpy.shutdown(context=context)
    other.close()


def test_the_environment_is_as_before_afterwards_and_a_domain_that_was_chosen_is_kept(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    with own_domain(keep=True):
        assert 1 <= int(os.environ["ROS_DOMAIN_ID"]) <= module.DOMAINS
        assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_DOMAIN_ID" not in os.environ and os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    with own_domain(keep=True):
        assert os.environ["ROS_DOMAIN_ID"] == "7"
    with own_domain():
        assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert os.environ["ROS_DOMAIN_ID"] == "7"
