"""Runs jobs in processes of one thread each, a few at a time."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from vd_policy.base.errors import VdPolicyError
from vd_policy.base.workers import deaf, serve_parent
from vd_policy.experiments.reproduce.chain import carry_out_job
from vd_policy.experiments.reproduce.jobs import Job

JOIN_TIMEOUT_S = 10.0

Progress = Callable[[Job, float, bool], None]
"""Called with a job, the share of it that is done, and whether it has ended well."""


def run_jobs(jobs: Sequence[Job], root: Path, *, workers: int, progress: Progress) -> None:
    """Carry out all jobs, in order of their beginning; one that fails does not stop the others.

    A process whose parent has died ends at its next report; the job stays locked until then.

    Raises:
        VdPolicyError: names the jobs that failed and why; the others are complete.
    """
    waiting, failed = deque(jobs), {}
    running: dict[Any, _Process] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                process = _Process(waiting.popleft(), root)
                running[process.connection] = process
            for connection in wait(list(running)):
                process = running[connection]
                message = process.receive()
                if isinstance(message, float):
                    progress(process.job, message, False)
                    continue
                del running[connection]
                if message:
                    failed[process.job.name] = message
                else:
                    progress(process.job, 1.0, True)
    finally:
        for process in running.values():
            process.stop()
    if failed:
        said = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise VdPolicyError(f"{len(failed)} of {len(jobs)} jobs failed: {said}; repeat the command to go on")


class _Process:
    """One job in a process; floats are shares done, a text is the end, empty when it went well."""

    def __init__(self, job: Job, root: Path) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.job = job
        self.connection, far_end = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(far_end, job, root), daemon=True)
        with deaf():
            self._process.start()
        far_end.close()

    def receive(self) -> float | str:
        try:
            message = self.connection.recv()
        except EOFError:
            self._process.join(JOIN_TIMEOUT_S)
            message = f"its process ended with exit code {self._process.exitcode}"
        if isinstance(message, str):
            self.stop()
        return message

    def stop(self) -> None:
        """End the process; what its job saved stays."""
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, job: Job, root: Path) -> None:
    """The process: one job."""
    import torch

    serve_parent()
    torch.set_num_threads(1)
    try:
        carry_out_job(job, root, lambda share: connection.send(float(share)))
        connection.send("")
    except BrokenPipeError:
        return
    except Exception as error:  # the parent turns it into one line
        connection.send(f"{type(error).__name__}: {error}")
