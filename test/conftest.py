"""Makes `ros_graph` importable from every test folder, and gives a fresh ROS graph to every test that asks for one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent / "graph"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Before torch is imported: results are the same to the bit only for the same number of threads."""
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    """A shell starts what is to run in the background without Ctrl-C, and the tests' processes would inherit that."""

if TYPE_CHECKING:
    from deployed import Deployed
    from ros_graph import RosGraph


@pytest.fixture
def ros() -> Iterator[RosGraph]:
    """Node processes and a probe on a ROS domain of their own."""
    from ros_graph import RosGraph  # not at the top: the unit tests need no ROS

    with RosGraph() as graph:
        yield graph


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A driven arm that a module's tests share; each begins with its `moving`, and none may have the controller reject
    a command."""
    from deployed import Deployed

    graph = Deployed(tmp_path_factory.mktemp("deployed"))
    try:
        yield graph
        assert not graph.robot.controller.rejections
    finally:
        graph.close()
