"""Real node processes on a ROS domain of their own, and a probe that listens to them from the test process."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from vd_policy.graph.domain import Domain
from vd_policy.graph.process import NodeSpec, command, environment

DEADLINE_S = 90.0
ASK_AGAIN_S = 15.0
"""After which a service is asked once more."""
RELIABLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first truthy value of `condition`; fails with `what` when none comes before the deadline."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        pause.wait(0.01)
    return value


@contextmanager
def heard_hangup() -> Iterator[None]:
    """What is started here hears SIGHUP, which whoever starts the tests may ignore, as nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class NodeProcess:
    """A started process, in its own process group, with its output collected line by line."""

    def __init__(self, name: str, arguments: list[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        with heard_hangup():
            self.process = subprocess.Popen(
                arguments,
                env=dict(env),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit code; fails with the output when the process does not end in time."""
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {deadline_s:g} s:\n{self.output}") from None
        self._reader.join(5)
        return code

    def send(self, number: int) -> None:
        """Send a signal to this process alone."""
        if self.running:
            self.process.send_signal(number)

    def stop(self, number: int = signal.SIGINT, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end and return the exit code."""
        self.send(number)
        return self.wait(deadline_s)

    def kill(self) -> None:
        """End the whole process group at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Probe:
    """A node in the test process: it hears topics, publishes and calls services, spinning on its own thread."""

    def __init__(self, domain_id: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = rclpy.create_node("probe", context=self.context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(0.05)

    def listen(self, message_type: type, topic: str, qos: QoSProfile = RELIABLE, raw: bool = False) -> list[Any]:
        """A list that grows with every message heard."""
        heard: list[Any] = []
        self.node.create_subscription(message_type, topic, heard.append, qos, raw=raw)
        self._executor.wake()
        return heard

    def publisher(self, message_type: type, topic: str, qos: QoSProfile = RELIABLE, matched: int = 1) -> Any:
        """A publisher, returned once `matched` subscriptions have found it."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        wait_for(lambda: publisher.get_subscription_count() >= matched, f"{matched} subscriptions on {topic}")
        return publisher

    def call(self, service: str, deadline_s: float = DEADLINE_S) -> Trigger.Response:
        """The answer of a `std_srvs/Trigger` service, asked again where none comes: a service may answer before it has
        discovered who asked, and then nobody hears it."""
        client = self.node.create_client(Trigger, service)
        wait_for(client.service_is_ready, f"service {service}", deadline_s)
        asked, begun = [client.call_async(Trigger.Request())], time.monotonic()

        def answer() -> Any:
            if time.monotonic() - begun > ASK_AGAIN_S * len(asked):
                asked.append(client.call_async(Trigger.Request()))
            return next((future.result() for future in asked if future.done()), None)

        return wait_for(answer, f"an answer of {service}", deadline_s)

    def calls(self, service: str, count: int, deadline_s: float = DEADLINE_S) -> list[Trigger.Response]:
        """The answers of a service that is asked `count` times at once."""
        client = self.node.create_client(Trigger, service)
        wait_for(client.service_is_ready, f"service {service}", deadline_s)
        futures = [client.call_async(Trigger.Request()) for _ in range(count)]
        wait_for(lambda: all(f.done() for f in futures), f"answers of {service}", deadline_s)
        return [f.result() for f in futures]

    def diagnostics(self) -> Callable[[str], dict[str, str]]:
        """A function that returns a node's last status: its values, ``level`` and ``message``."""
        heard = self.listen(DiagnosticArray, "/diagnostics")

        def last(name: str) -> dict[str, str]:
            for array in reversed(list(heard)):
                for status in array.status:
                    if status.name == name:
                        values = {pair.key: pair.value for pair in status.values}
                        return {**values, "level": str(status.level[0]), "message": status.message}
            return {}

        return last

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


class RosGraph:
    """Node processes and a probe on one domain; as a context manager it ends everything it started."""

    def __init__(self) -> None:
        self.domain = Domain()
        self.processes: list[NodeProcess] = []
        self._folder = tempfile.TemporaryDirectory(prefix="vd_policy-test-")
        self._probe: Probe | None = None

    @property
    def env(self) -> dict[str, str]:
        return environment(ROS_DOMAIN_ID=str(self.domain.id), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")

    @property
    def probe(self) -> Probe:
        if self._probe is None:
            self._probe = Probe(self.domain.id)
        return self._probe

    def start(self, executable: str, name: str = "", remappings: tuple = (), **parameters: Any) -> NodeProcess:
        """Start a node of `vd_policy.nodes`; it runs until it ends by itself or the graph is closed."""
        spec = NodeSpec(executable, parameters, remappings, name)
        file = Path(self._folder.name) / f"{len(self.processes)}-{spec.name}.yaml"
        return self.run(spec.name, command(spec, file))

    def run(self, name: str, arguments: list[str], **env: str) -> NodeProcess:
        """Start any process on this graph's domain."""
        process = NodeProcess(name, arguments, {**self.env, **env})
        self.processes.append(process)
        return process

    def output(self) -> str:
        return "\n".join(f"--- {p.name} ({p.process.poll()})\n{p.output}" for p in self.processes)

    def wait_for(self, condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
        """`wait_for`, with the output of all processes in the failure."""
        try:
            return wait_for(condition, what, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def close(self) -> None:
        for process in self.processes:
            process.send(signal.SIGINT)
        for process in self.processes:
            try:
                process.wait(10)
            except AssertionError:
                process.kill()
        if self._probe is not None:
            self._probe.close()
        self._folder.cleanup()
        self.domain.close()

    def __enter__(self) -> RosGraph:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
