"""A node's status on ``/diagnostics``: once a second, and at once when its state changes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from vd_policy.messages.topics import DIAGNOSTICS
from vd_policy.nodes.ros import advertise, steady_timer

_NUMBER = re.compile(r"(?<=\s)\d+(\.\d+)?(?=%?\s)")
"""A word that is a number; those in names stay."""
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes one `DiagnosticStatus` named after the node.

    ``counts`` are running numbers (``counts["dropped"] += 1``), ``values`` anything else worth showing.
    """

    def __init__(self, node: Node, period_s: float = 1.0) -> None:
        self._node = node
        self._level, self._message = OK, "starting"
        self.counts: Counter[str] = Counter()
        self.values: dict[str, Any] = {}
        self._publisher = advertise(node, DIAGNOSTICS)
        self._timer = steady_timer(node, period_s, self.publish)

    def is_news(self, level: bytes, message: str) -> bool:
        """Whether a state is another one than the present, and not only in how much: "0.62 s ago", "0.64 s ago"."""
        return (level, _NUMBER.sub("", message)) != (self._level, _NUMBER.sub("", self._message))

    def state(self, level: bytes, message: str) -> None:
        """Set the state; news is logged and published at once, another amount with the next period."""
        is_news = self.is_news(level, message)
        self._level, self._message = level, message
        if is_news:
            self._log(message)
            self.publish()

    def _log(self, message: str) -> None:
        log = self._node.get_logger()  # rclpy refuses two severities from one line of code
        if self._level == OK:
            log.info(message)
        elif self._level == WARN:
            log.warning(message)
        else:
            log.error(message)

    def publish(self) -> None:
        pairs = {**self.values, **self.counts}
        status = DiagnosticStatus(
            level=self._level,
            name=self._node.get_fully_qualified_name().lstrip("/"),
            message=self._message,
            hardware_id="vd_policy",
            values=[KeyValue(key=str(key), value=str(value)) for key, value in pairs.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
