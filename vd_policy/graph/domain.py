"""A ROS domain of one's own: its nodes and a robot or another graph nearby do not hear each other."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vd_policy.base.errors import VdPolicyError

DOMAINS = 100
"""Ids from 1 on; on Linux those above 101 would meet the ports of short-lived connections."""
FIRST_PORT, PORTS_EACH = 7400, 250
"""Where participants listen for each other (DDSI-RTPS 9.6.2.3): domain 0's port and the distance to the next one's."""
PARTICIPANTS = 20
"""Of a domain that are looked for: each has a port of its own, two after the one before it."""


class Domain:
    """A domain id that nobody on this machine listens on and no other `Domain` holds, until `close`.

    Raises:
        VdPolicyError: all are taken.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir()) / f"vd_policy-domains-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        for offset in range(DOMAINS):
            self.id = 1 + (os.getpid() + offset) % DOMAINS
            self._lock = open(folder / str(self.id), "w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                continue
            if _is_silent(self.id):
                return
            self._lock.close()
        raise VdPolicyError(f"all ROS domains from 1 to {DOMAINS} are in use on this machine; end some graphs")

    def close(self) -> None:
        """Let others have it."""
        self._lock.close()


@contextmanager
def own_domain(*, keep: bool = False) -> Iterator[None]:
    """Let the processes started meanwhile hear each other alone, and none on another machine.

    Args:
        keep: stay on the domain that ``ROS_DOMAIN_ID`` names, where it does.
    """
    domain = None if keep and os.environ.get("ROS_DOMAIN_ID") else Domain()
    changes = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if domain is not None:
        changes["ROS_DOMAIN_ID"] = str(domain.id)
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if domain is not None:
            domain.close()


def _is_silent(domain_id: int) -> bool:
    """Whether no participant of a domain listens on this machine: on the port of all or, kept to localhost, its own."""
    first = FIRST_PORT + PORTS_EACH * domain_id
    return all(map(_is_free, (first, *range(first + 10, first + 10 + 2 * PARTICIPANTS, 2))))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
