"""What every node shares of rclpy: messages, QoS from the topic table, subscriptions, steady timers, start and end."""

from __future__ import annotations

import array
import contextlib
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.service import Service
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.graph.process import STARTED_BY
from vd_policy.messages.topics import TOPICS, Topic

RCLError = rclpy_implementation.RCLError
"""What a refusal of the layer below rclpy is raised as."""
LOSSLESS_DEPTH = 200
"""Queue length that outlasts the 0.2 s a lost packet can hold up a topic, at 500 messages a second. In lockstep nothing
comes twice, and with the 10 of the table up to 23 joint states in a row were lost to the recorder."""
LOOK_S = 1.0
"""How often a node looks whether what started it is still there."""
LAST_WORDS_S = 2.0
"""How long a node that ends waits for its last messages to be acknowledged."""
SEQUENCE_UNSUPPORTED = 2**64 - 1
"""RMW_MESSAGE_INFO_SEQUENCE_NUMBER_UNSUPPORTED: what Cyclone DDS says of every message."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals on which a node ends in order; the last comes of a terminal that is closed."""
NO_LEASE_S = 1e8
"""DDS reports publishers without a lease with one of centuries."""


class Finished(Exception):
    """Raised in a callback when the node has done what it was asked for; `run` then ends the process with code 0."""


class RclpyFactory:
    """Makes rclpy messages (the `MessageFactory` of `vd_policy.messages.types`)."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message such as ``"sensor_msgs/msg/Image"`` with its fields."""
        return message_class(type_name)(**fields)

    def u8(self, data: Any) -> array.array:
        """Bytes as rclpy takes them without looking at each: 4 us for a 128x128 image, against 1 ms for a list."""
        values = array.array("B")
        values.frombytes(data if isinstance(data, bytes) else memoryview(data).cast("B"))
        return values

    def f64(self, values: Any) -> array.array:
        """A float64 sequence."""
        return array.array("d", values)

    def byte(self, value: int) -> bytes:
        """A ``byte`` field."""
        return bytes([value])


@lru_cache(maxsize=64)
def message_class(type_name: str) -> type:
    """The Python class of ``package/msg/Name``."""
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def profile(
    topic: Topic, *, reliable: bool | None = None, depth: int | None = None, lease_s: float = 0.0
) -> QoSProfile:
    """The QoS of a topic of the table, optionally with another reliability or depth; depth 0 keeps all.

    With a lease DDS tells the subscribers so long after a publisher's process died that it is gone. A subscriber that
    asks for a lease hears only publishers that offer one at most as long.
    """
    is_reliable = topic.reliable if reliable is None else reliable
    length = topic.depth if depth is None else depth
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST if length else HistoryPolicy.KEEP_ALL,
        depth=length,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
        liveliness_lease_duration=Duration(seconds=lease_s),  # 0: none
    )


def advertise(node: Node, topic_name: str, *, depth: int | None = None, lease_s: float = 0.0) -> Publisher:
    """A publisher with the type and QoS of the topic table, optionally with another queue length or a lease."""
    topic = TOPICS[topic_name]
    return node.create_publisher(message_class(topic.type), topic.name, profile(topic, depth=depth, lease_s=lease_s))


def deliver(publisher: Publisher) -> bool:
    """Before a node ends: wait until its reliable subscribers have everything; False where one does not answer."""
    return publisher.wait_for_all_acked(Duration(seconds=LAST_WORDS_S))


def subscribe(
    node: Node,
    topic_name: str,
    callback: Callable[..., None],
    *,
    reliable: bool | None = None,
    depth: int | None = None,
    raw: bool = False,
    on_lost: Callable[[int], None] | None = None,
    lease_s: float = 0.0,
    on_alive: Callable[[int], None] | None = None,
) -> Subscription:
    """A subscription with the type and QoS of the topic table; see `subscription`.

    Args:
        reliable: another reliability than the table's, where images are taken as sensor data so that a camera that
            publishes best effort is heard too.
        depth: another queue length.
        callback: takes the message; or the message and rclpy's message info, a dict.
        raw: hand over the serialised bytes.
        on_lost: called with the number of messages that DDS lost on the way.
        lease_s: ask publishers for this lease.
        on_alive: called with the number of publishers that are there, whenever one comes, ends or dies.
    """
    topic = TOPICS[topic_name]
    if reliable is None:
        reliable = topic.reliable and not topic.subscribe_as_sensor
    wanted = profile(topic, reliable=reliable, depth=depth, lease_s=lease_s)
    return subscription(node, message_class(topic.type), topic.name, callback, wanted, raw=raw, on_lost=on_lost,
                        on_alive=on_alive)  # fmt: skip


def subscription(
    node: Node,
    message: type,
    name: str,
    callback: Callable[..., None],
    wanted: QoSProfile,
    *,
    raw: bool = False,
    on_lost: Callable[[int], None] | None = None,
    on_alive: Callable[[int], None] | None = None,
) -> Subscription:
    """Any subscription; an incompatible publisher is logged with both profiles."""

    def incompatible(_event: Any) -> None:
        offers = node.get_publishers_info_by_topic(node.resolve_topic_name(name))
        offered = "; ".join(f"{o.node_name} offers {_describe(o.qos_profile)}" for o in offers)
        node.get_logger().error(f"{name}: incompatible QoS: this node asks {_describe(wanted)}; {offered}")

    def lost(event: Any) -> None:
        if on_lost is not None:
            on_lost(event.total_count_change)

    def alive(event: Any) -> None:
        if on_alive is not None:
            on_alive(event.alive_count)

    events = SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost if on_lost else None,
                                        liveliness=alive if on_alive else None)  # fmt: skip
    return node.create_subscription(message, name, callback, wanted, event_callbacks=events, raw=raw)


def sequence_of(info: dict[str, Any]) -> int | None:
    """The publisher's running number of a message, from rclpy's message info; None where the middleware tells none."""
    number = int(info["publication_sequence_number"])
    return None if number == SEQUENCE_UNSUPPORTED else number


def serve(node: Node, name: str, action: Callable[[], str]) -> Service:
    """A `std_srvs/Trigger` service: `action` returns the message; a `VdPolicyError` answers with success false."""

    def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = True, action()
        except VdPolicyError as error:
            response.success, response.message = False, str(error)
        return response

    return node.create_service(Trigger, name, answer)


def _describe(qos: QoSProfile) -> str:
    lease_s = qos.liveliness_lease_duration.nanoseconds / 1e9
    lease = f", lease {lease_s:g} s" if 0 < lease_s < NO_LEASE_S else ""
    return f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}{lease}"


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """A timer on the steady clock: it goes on when simulated time stands still and does not jump with it."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def run(make_node: Callable[[], Node], args: list[str] | None = None) -> int:
    """The life of a node process: start, spin, end; returns the exit code.

    A node that has a ``close()`` gets it called before it is destroyed, with the ROS context still alive and further
    signals ignored. Exit code 0 after a signal of `ENDING` or `Finished`; 2 with one line for bad input, 1 with one
    line for other known errors. A signal never interrupts a callback.
    """
    stop = threading.Event()
    try:
        with _signals(stop) as on_signal:
            try:
                rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            except Exception as error:
                raise BadInput("--ros-args", str(error), "ROS arguments", "correct the command line") from None
            try:
                _spin(make_node(), stop, on_signal)
            finally:
                rclpy.try_shutdown()
    except VdPolicyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _spin(node: Node, stop: threading.Event, on_signal: list[Callable[[], None]]) -> None:
    # Not the EventsExecutor: it hung on shutdown in 7 of 8 trials and ignores SIGTERM (Jazzy).
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wake = node.create_guard_condition(lambda: None)
    on_signal.append(wake.trigger)
    if starter := os.environ.get(STARTED_BY):
        steady_timer(node, LOOK_S, lambda: _end_without(int(starter)))
    try:
        while not stop.is_set():
            executor.spin_once()
    except Finished:
        pass
    finally:
        on_signal.clear()
        try:
            if hasattr(node, "close"):
                node.close()
        finally:
            executor.remove_node(node)
            node.destroy_node()
            executor.shutdown()


def _end_without(process: int) -> None:
    """End this node where a process is gone: nobody else would, were the one that started it killed."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        sys.stderr.write(f"the process that started this node ({process}) is gone\n")
        raise Finished from None
    except PermissionError:
        pass


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[list[Callable[[], None]]]:
    """Set `stop`, then call what is in the yielded list, when a signal of `ENDING` comes.

    rclpy's own handlers shut the context down under a running callback, which surfaces as `RCLError` anywhere. Here the
    C handler of Python only writes a byte, and a thread that reads it asks the executor to stop after this callback.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    on_signal: list[Callable[[], None]] = []

    def watch() -> None:
        while reader.recv(1):
            stop.set()
            for call in list(on_signal):
                call()

    def nothing(_number: int, _frame: Any) -> None:
        """Replaces the default action; the thread does the work."""

    kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()  # by nohup
    before = {number: signal.signal(number, nothing) for number in ENDING if number not in kept}
    descriptor = signal.set_wakeup_fd(writer.fileno())
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield on_signal
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()
