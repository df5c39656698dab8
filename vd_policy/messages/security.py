"""Who may publish and read what, as an SROS2 policy: the table of topics and services, turned into permissions.

`config/security/vd_policy.policy.xml` is what `sros2_policy` writes. An enclave bears its node's name; besides the
nodes there are ``driver`` (ros2_control and the arm's driver), ``camera``, ``monitor`` (reads /diagnostics) and
``operator`` (calls services). Only ``safety`` publishes to the controllers. Source: the policy schema of ros2/sros2,
version 0.2.0.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from vd_policy.messages.topics import SERVICES, TOPICS

ENCLAVES = {
    "sim": "sim",
    "expert": "expert",
    "policy": "policy",
    "safety": "safety",
    "recorder": "recorder",
    "learner": "learner",
    "gripper": "gripper",
    "driver": "driver",
    "ros2_control": "driver",
    "camera": "camera",
    "monitors": "monitor",
}
"""Who the table speaks of, and the enclave of each."""
OPERATOR = "operator"
LIFECYCLE = "policy"
"""The one managed node."""
LIFECYCLE_TOPIC = "~/transition_event"
LIFECYCLE_SERVICES = ("change_state", "get_available_states", "get_available_transitions", "get_state",
                      "get_transition_graph")  # fmt: skip
NODE_SERVICES = ("describe_parameters", "get_parameter_types", "get_parameters", "get_type_description",
                 "list_parameters", "set_parameters", "set_parameters_atomically")  # fmt: skip
ROS_PUBLISHES, ROS_SUBSCRIBES = ("rosout", "/parameter_events"), ("/parameter_events", "/clock")
"""What every node does by itself."""


def publishers(topic: str) -> set[str]:
    """Enclaves that may publish a topic of the table."""
    return _enclaves(TOPICS[topic].sender)


def subscribers(topic: str) -> set[str]:
    """Enclaves that may read a topic of the table."""
    return _enclaves(TOPICS[topic].receivers)


def sros2_policy() -> str:
    """The policy of all enclaves as XML, for ``ros2 security generate_artifacts --policy-files``."""
    root = ET.Element("policy", version="0.2.0")
    enclaves = ET.SubElement(root, "enclaves")
    for name in sorted({*ENCLAVES.values(), OPERATOR}):
        profiles = ET.SubElement(ET.SubElement(enclaves, "enclave", path=f"/{name}"), "profiles")
        profile = ET.SubElement(profiles, "profile", ns="/", node=name)
        own = [LIFECYCLE_TOPIC] if name == LIFECYCLE else []
        _rule(profile, "topics", "publish", [*ROS_PUBLISHES, *own, *(t for t in TOPICS if name in publishers(t))])
        _rule(profile, "topics", "subscribe", [*ROS_SUBSCRIBES, *(t for t in TOPICS if name in subscribers(t))])
        _rule(profile, "services", "reply", _served(name))
        _rule(profile, "services", "request", _requested(name))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _served(enclave: str) -> list[str]:
    own = [f"~/{service}" for service in (*NODE_SERVICES, *(LIFECYCLE_SERVICES if enclave == LIFECYCLE else ()))]
    return own + [service.name for service in SERVICES.values() if service.server == enclave]


def _requested(enclave: str) -> list[str]:
    if enclave == OPERATOR:
        return [*SERVICES, *(f"{LIFECYCLE}/{service}" for service in LIFECYCLE_SERVICES)]
    return [service.name for service in SERVICES.values() if enclave in service.callers]


def _rule(profile: ET.Element, kind: str, permission: str, names: Iterable[str]) -> None:
    if names := sorted(set(names)):
        rule = ET.SubElement(profile, kind, {permission: "ALLOW"})
        for name in names:
            ET.SubElement(rule, kind.removesuffix("s")).text = name


def _enclaves(who: str) -> set[str]:
    """Of a cell of the table, such as ``sim in real time or ros2_control, recorder``.

    Raises:
        ValueError: the cell speaks of somebody who has no enclave, whose permission would otherwise be missing.
    """
    named = set(re.findall(r"(?:^|, (?!when )| or )(\w+)", who))
    if "all" in named:
        return {*ENCLAVES.values(), OPERATOR}
    if unknown := sorted(named - set(ENCLAVES)):
        raise ValueError(f"{who!r} in the table of topics: no enclave of {', '.join(unknown)}")
    return {ENCLAVES[name] for name in named}
