"""Worker processes: they neither outlive their parent nor take its Ctrl-C for theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from processes import alive

from vd_policy.experiments.timed_networks import bench_spec
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.gaussian import new_policy
from vd_policy.sim.env import ArmEnv

DEADLINE_S = 90.0
COMMANDS = {
    "evaluate": ["evaluate", "expert", "--episodes", "100000", "--image-size", "16", "--workers", "2"],
    "demonstrate": ["demonstrate", "--samples", "1000000", "--image-size", "16", "--workers", "2", "--out", "{}/bags"],
    "train": ["train", "{}/run", "--steps", "1000000", "--workers", "2", "--out", "{}/improved"],
}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        os.sched_yield()


def workers_of(pid: int) -> list[int]:
    """Its child processes that multiprocessing started to work."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_workers_end_with_their_command(tmp_path: Path, command: str, number: int, code: int) -> None:
    words = [word.format(tmp_path) for word in COMMANDS[command]]
    if command == "train":
        env = ArmEnv(image_height=16)
        spec = replace(bench_spec(16, 16), joints=env.robot.joints, max_step_rad=env.settings.max_step_rad)
        env.close()
        save_run(tmp_path / "run", new_policy(spec, seed=0), config={"task": "reach"})
    process = subprocess.Popen([sys.executable, "-m", "vd_policy.cli.main", *words], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    try:
        wait_for(lambda: len(workers_of(process.pid)) == 2 or process.poll() is not None, "two workers")
        workers = workers_of(process.pid)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal sends it, to all of them
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, said
    assert len(workers) == 2
    assert number == signal.SIGKILL or "Traceback" not in said, said  # one in the middle of its start has to say so
    wait_for(lambda: not any(map(alive, workers)), "the workers to end")
