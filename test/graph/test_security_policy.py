"""The SROS2 policy: who may publish what, by the table of topics, and that the real graph asks for no more."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from ros_graph import RosGraph
from trained import saved, small_policy

from vd_policy.base.resources import resource
from vd_policy.messages.security import ENCLAVES, publishers, sros2_policy
from vd_policy.messages.topics import COMMAND, GRIPPER_TRAJECTORY, SERVICES, TOPICS, TRAJECTORY, Topic

FILE = ("config", "security", "vd_policy.policy.xml")


def allowed(kind: str, permission: str) -> dict[str, set[str]]:
    """Enclave to the topics or services that the shipped policy grants it, absolute names."""
    found: dict[str, set[str]] = {}
    for enclave in ET.parse(resource(*FILE)).iter("enclave"):
        name = enclave.get("path", "").lstrip("/")
        rules = [rule for rule in enclave.iter(kind) if rule.get(permission) == "ALLOW"]
        texts = [item.text or "" for rule in rules for item in rule]
        found[name] = {text.replace("~", f"/{name}") if text[0] in "~/" else f"/{text}" for text in texts}
    return found


def test_the_shipped_policy_is_that_of_the_table():
    assert resource(*FILE).read_text() == sros2_policy()


def test_a_topic_of_somebody_who_has_no_enclave_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TOPICS, "heat", Topic("heat", "sensor_msgs/msg/Temperature", 10, "sim or oven", "recorder"))
    with pytest.raises(ValueError, match="no enclave of oven"):
        publishers("heat")


def test_only_safety_publishes_to_the_controllers():
    publishing = allowed("topics", "publish")
    for topic in (TRAJECTORY, GRIPPER_TRAJECTORY):
        assert [name for name, topics in publishing.items() if f"/{topic}" in topics] == ["safety"]
    assert {name for name, topics in publishing.items() if f"/{COMMAND}" in topics} == {"expert", "policy"}


def test_every_topic_and_service_has_somebody_who_sends_and_somebody_who_receives():
    publishing, reading = allowed("topics", "publish"), allowed("topics", "subscribe")
    for topic in TOPICS:
        name = f"/{topic.lstrip('/')}"
        assert any(name in topics for topics in publishing.values()), name
        assert any(name in topics for topics in reading.values()), name
    replying, asking = allowed("services", "reply"), allowed("services", "request")
    for service in SERVICES.values():
        assert f"/{service.name}" in replying[service.server] and f"/{service.name}" in asking["operator"]


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        (["demonstrate", "--task", "grasp", "--samples", "100000"], {"sim", "expert", "safety", "recorder", "gripper"}),
        (["train"], {"sim", "policy", "safety", "learner"}),
    ],
)
def test_the_real_graph_asks_for_no_more_than_the_policy_grants(ros: RosGraph, tmp_path: Path, words, nodes):
    words = [*words, "--out", str(tmp_path / "out")]
    words += ["--run", saved(tmp_path / "run", small_policy())] if words[0] == "train" else []
    words += [] if words[0] == "train" else ["--image-height", "16", "--image-width", "16"]
    ros.run("up", [sys.executable, "-m", "vd_policy.cli.main", "up", *words])
    node = ros.probe.node
    sides: dict[tuple[str, str], Callable[[str, str], list[tuple[str, list[str]]]]] = {
        ("topics", "publish"): node.get_publisher_names_and_types_by_node,
        ("topics", "subscribe"): node.get_subscriber_names_and_types_by_node,
        ("services", "reply"): node.get_service_names_and_types_by_node,
        ("services", "request"): node.get_client_names_and_types_by_node,
    }
    diagnostics = ros.probe.diagnostics()
    ros.wait_for(lambda: all(diagnostics(name) for name in nodes), "every node at work")
    ros.wait_for(lambda: nodes <= set(node.get_node_names()), "every node discovered")
    assert nodes <= set(ENCLAVES.values())
    for (kind, permission), ask in sides.items():
        granted = allowed(kind, permission)
        for name in sorted(nodes):
            if permission != "request":
                ros.wait_for(partial(ask, name, "/"), f"{name}: something to {permission}")
            asked = {found for found, _ in ask(name, "/")}
            assert asked <= granted[name], f"{name} {permission} {sorted(asked - granted[name])}"
