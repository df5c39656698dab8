"""Topics outside the table, subscribed as soon as somebody publishes them, with the type and QoS that they offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vd_policy.base.errors import BadInput
from vd_policy.demos.factory import has_header, is_known
from vd_policy.messages.topics import RECORDED
from vd_policy.nodes.ros import RCLError, message_class, subscription


class ExtraTopics:
    """Call `look` now and then.

    Args:
        node: that subscribes.
        names: of the topics, relative ones in the node's namespace.
        on_message: called with the absolute name, the type, whether the topic is latched, whether the type begins with
            a header, the serialised bytes, and rclpy's message info.
        on_lost: called with the name and the number of messages that DDS lost on the way.
        depth: queue length.

    Raises:
        BadInput: a name that ROS does not allow.
    """

    def __init__(self, node: Node, names: Iterable[str], on_message: Callable[..., None],
                 on_lost: Callable[[str, int], None], depth: int) -> None:  # fmt: skip
        self._node, self._on_message, self._on_lost, self._depth = node, on_message, on_lost, depth
        known = {node.resolve_topic_name(name) for name in RECORDED}
        self._waiting = {_resolved(node, name) for name in names} - known
        self._subscriptions: list[Any] = []

    @property
    def waiting(self) -> list[str]:
        """Those that nobody publishes yet."""
        return sorted(self._waiting)

    def look(self) -> None:
        """Subscribe to what has appeared."""
        for name in list(self._waiting):
            offers = self._node.get_publishers_info_by_topic(name)
            if offers:
                self._waiting.discard(name)
                self._subscribe(name, offers)

    def _subscribe(self, name: str, offers: list[TopicEndpointInfo]) -> None:
        kind = offers[0].topic_type
        try:
            message = message_class(kind)
        except (ImportError, AttributeError):
            message = None
        if message is None or not is_known(kind):
            self._node.get_logger().error(f"{name} is not recorded: {kind} is no standard message that is installed")
            return
        qos = joint_profile([offer.qos_profile for offer in offers], self._depth)
        latched = qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
        take = partial(self._on_message, name, kind, latched, has_header(kind))
        self._subscriptions.append(
            subscription(self._node, message, name, take, qos, raw=True, on_lost=partial(self._on_lost, name))
        )


def joint_profile(offers: list[QoSProfile], depth: int) -> QoSProfile:
    """What all of these publishers can serve: reliable and latched only where each of them is."""
    reliable = all(offer.reliability is ReliabilityPolicy.RELIABLE for offer in offers)
    latched = all(offer.durability is DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _resolved(node: Node, name: str) -> str:
    try:
        return node.resolve_topic_name(name)
    except RCLError as error:
        why = str(error).partition(", at ")[0]
        raise BadInput("extra_topics", name, "names of topics: letters, digits, _ and /", why) from None
