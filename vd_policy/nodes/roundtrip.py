"""Two processes that say hello over DDS, for ``vd_policy doctor``: ``python -m ...nodes.roundtrip ping|echo``."""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import String

PING, PONG = "doctor/ping", "doctor/pong"
ATTEMPT_S = 0.2


def main() -> int:
    """`echo` answers until it is stopped; `ping` writes the round trip in milliseconds, or ends with 1.

    The second argument of `ping` is its deadline [s].
    """
    role = sys.argv[1]
    rclpy.init()
    node = rclpy.create_node(f"doctor_{role}")
    try:
        return _echo(node) if role == "echo" else _ping(node, float(sys.argv[2]))
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()


def _echo(node: Node) -> int:
    answer = node.create_publisher(String, PONG, 10)
    node.create_subscription(String, PING, answer.publish, 10)
    rclpy.spin(node)
    return 0


def _ping(node: Node, deadline_s: float) -> int:
    """Ask again until an answer to one of the questions comes: the first ones may precede discovery."""
    asked: dict[str, float] = {}
    trips_ms: list[float] = []

    def heard(message: String) -> None:
        if message.data in asked:
            trips_ms.append((time.monotonic() - asked[message.data]) * 1e3)

    publisher = node.create_publisher(String, PING, 10)
    node.create_subscription(String, PONG, heard, 10)
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        asked[str(len(asked))] = time.monotonic()
        publisher.publish(String(data=str(len(asked) - 1)))
        rclpy.spin_once(node, timeout_sec=ATTEMPT_S)
        if trips_ms:
            sys.stdout.write(f"{trips_ms[-1]:.1f}\n")
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
