"""What the safety node sees of the graph around it: who publishes where only one may, and who does not listen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from vd_policy.control.commanders import twins
from vd_policy.messages.topics import COMMAND, GRIPPER_TRAJECTORY, JOINT_STATES, TRAJECTORY
from vd_policy.nodes.diagnostics import Diagnostics

AGAIN_S = 10.0
"""How long the log keeps quiet about what it has said."""


class Surroundings:
    """Looks around when asked to, names in the diagnostics what it sees, and logs what is amiss.

    Args:
        node: the safety node.
        controller: its publisher of the arm's trajectory.
        hand: whether it moves the hand, too.
    """

    def __init__(self, node: Node, diagnostics: Diagnostics, controller: Publisher, *, hand: bool) -> None:
        self._node, self._diagnostics, self._controller = node, diagnostics, controller
        self._ours = (TRAJECTORY, GRIPPER_TRAJECTORY) if hand else (TRAJECTORY,)

    def look(self, outside: Sequence[str]) -> None:
        """Look around once.

        Args:
            outside: joints that are measured where they cannot be.
        """
        commanders, drivers = self._publishing(COMMAND), self._publishing(JOINT_STATES)
        others, listeners = self._other_paths(), self._controller.get_subscription_count()
        self._diagnostics.values |= {
            "command_publishers": " ".join(sorted(commanders)),
            "joint_state_publishers": " ".join(sorted(drivers)),
            "joints_outside_their_limits": ", ".join(outside),
            "controller_subscribers": listeners,
            "other_paths_to_the_controller": " ".join(sorted(others)),
        }
        log = self._node.get_logger()  # a line of code for each: rclpy throttles by the line
        if others:
            log.error(f"{' '.join(others)} can reach the controller without the safety node",
                      throttle_duration_sec=AGAIN_S)  # fmt: skip
        if len(drivers) > 1:  # or one that was killed and started again, until its discovery lease ends
            log.error(f"{' '.join(sorted(drivers))} publish {JOINT_STATES}; the arm is held until one alone does",
                      throttle_duration_sec=AGAIN_S)  # fmt: skip
        if doubled := twins(commanders):  # likewise
            log.warning(f"two publishers of {COMMAND} are named {' '.join(doubled)}", throttle_duration_sec=AGAIN_S)
        if not listeners:
            log.warning(f"nobody listens on {self._controller.topic_name}: nothing reaches a controller",
                        throttle_duration_sec=AGAIN_S)  # fmt: skip
        if outside:
            log.warning(f"measured outside the limits: {', '.join(outside)}; look at units, signs and offsets of the "
                        "robot file", throttle_duration_sec=AGAIN_S)  # fmt: skip

    def _publishing(self, topic: str) -> list[str]:
        found = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
        return [_full_name(info) for info in found]

    def _other_paths(self) -> list[str]:
        """Who else can reach the controllers: by topic, a second node of this name included, or by its action."""
        found, own = [], self._node.get_fully_qualified_name()
        for topic in self._ours:
            names = self._publishing(topic)
            found += [name for name in names if name != own or names.count(own) > 1]
            action = f"{self._node.resolve_topic_name(topic).rpartition('/')[0]}/follow_joint_trajectory"
            if clients := self._node.count_clients(f"{action}/_action/send_goal"):
                found.append(f"{action} (clients: {clients})")
        return found


def _full_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
