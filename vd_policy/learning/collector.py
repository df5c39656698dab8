"""Rollouts from local processes, the same episodes whatever their number."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import gymnasium
import torch

from vd_policy.base.episode import Episode
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import EPISODE, Seeds
from vd_policy.base.workers import deaf, serve_parent
from vd_policy.learning.rollout import rollout
from vd_policy.messages.blobs import pack_episode, pack_weights, unpack_episode, unpack_weights
from vd_policy.policy.actor import Actor, GaussianActor
from vd_policy.policy.manifest import policy_from, policy_manifest, policy_tensors

MakeEnv = Callable[[], gymnasium.Env]
"""Builds the environment in each process; picklable, for example ``functools.partial(ArmEnv, "reach")``."""

STOP_TIMEOUT_S = 5.0


class Collector(Protocol):
    """Where a learner's episodes come from: local processes, the ROS graph, later other machines."""

    next_episode: int
    """Number of the next episode; all that has to be kept to go on exactly."""

    def collect(self, actor: Actor, steps: int, *, weight_version: int = 0) -> list[Episode]:
        """Whole episodes, at least `steps` environment steps in all."""

    def close(self) -> None:
        """Give back processes and memory."""


class ProcessCollector:
    """Episodes of one stream, numbered 0, 1, 2, ..., each with seeds of its own.

    Episode n is the same whichever process runs it: its seed is ``Seeds(seed).integer(EPISODE, n)``, an actor sees a
    batch of one, and every process computes with one thread. `collect` consumes the episodes in order until the steps
    suffice; what other processes began beyond that, at most one episode each, is thrown away and run again with the
    next weights. With one worker everything runs in this process.

    Life cycle: construct, `collect` any number of times, `close` (or use it as a context manager). `next_episode` is
    all that has to be kept to go on exactly.

    Args:
        make_env: see `MakeEnv`.
        seed: root of the episodes' seeds.
        workers: processes; 0 and 1 run in this one.
        task: its name, which goes into the episodes.
    """

    def __init__(self, make_env: MakeEnv, *, seed: int, workers: int = 1, task: str = "reach") -> None:
        if workers < 0:
            raise BadInput("workers", workers, "0 or more", "pass for example --workers 2")
        self.next_episode = 0
        self._seeds = Seeds(seed)
        self._fixed = {"task": task, "source": "collector"}
        self._env: gymnasium.Env | None = make_env() if workers <= 1 else None
        self._workers = [_Worker(i, make_env) for i in range(workers)] if workers > 1 else []

    def collect(self, actor: Actor, steps: int, *, weight_version: int = 0) -> list[Episode]:
        """Whole episodes in order, at least `steps` environment steps in all.

        Raises:
            VdPolicyError: a worker process died or failed.
        """
        episodes: list[Episode] = []
        total = 0
        for episode in self._stream(actor, weight_version):
            episodes.append(episode)
            total += len(episode)
            if total >= steps:
                break
        self.next_episode += len(episodes)
        return episodes

    def _job(self, number: int, weight_version: int) -> dict[str, Any]:
        seed = self._seeds.integer(EPISODE, number)
        return {**self._fixed, "seed": seed, "sequence": number, "weight_version": weight_version}

    def _stream(self, actor: Actor, weight_version: int) -> Iterator[Episode]:
        if self._env is None:
            return self._run_in_workers(actor, weight_version)
        return self._run_here(self._env, actor, weight_version)

    def _run_here(self, env: gymnasium.Env, actor: Actor, weight_version: int) -> Iterator[Episode]:
        number = self.next_episode
        while True:
            yield rollout(env, actor, **self._job(number, weight_version))
            number += 1

    def _run_in_workers(self, actor: Actor, weight_version: int) -> Iterator[Episode]:
        """Episodes in order; each worker has at most one in hand."""
        weights = pack_actor(actor)
        for worker in self._workers:
            worker.finish()  # what was begun beyond the last call's need, with its weights
            worker.send_weights(weights)
        done: dict[int, Episode] = {}
        following = wanted = self.next_episode
        while True:
            for worker in self._workers:
                if not worker.busy:
                    worker.send_job(self._job(following, weight_version))
                    following += 1
            for worker in self._ready():
                if (episode := worker.receive()) is not None:
                    done[episode.sequence] = episode
            while wanted in done:
                yield done.pop(wanted)
                wanted += 1

    def _ready(self) -> list[_Worker]:
        by_handle: dict[Any, _Worker] = {w.connection: w for w in self._workers}
        by_handle |= {w.process.sentinel: w for w in self._workers}
        return list({id(w): w for w in (by_handle[h] for h in wait(list(by_handle)))}.values())

    def close(self) -> None:
        """Stop the processes and close the environment; harmless when repeated."""
        for worker in self._workers:
            worker.stop()
        self._workers = []
        if self._env is not None:
            self._env.close()

    def __enter__(self) -> ProcessCollector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One process and the pipe to it; `busy` from a job's start (or its own) to its result."""

    def __init__(self, index: int, make_env: MakeEnv) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.index = index
        self.busy = True
        self.connection, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end, make_env), daemon=True)
        with deaf():
            self.process.start()
        far_end.close()

    def finish(self) -> None:
        """Wait for what it is doing and drop the result. Both ends must never write large data at once."""
        if self.busy:
            self.receive()

    def send_weights(self, weights: bytes) -> None:
        self._guarded(lambda: self.connection.send(("weights", None)))
        self._guarded(lambda: self.connection.send_bytes(weights))

    def send_job(self, job: dict[str, Any]) -> None:
        self._guarded(lambda: self.connection.send(("job", job)))
        self.busy = True

    def receive(self) -> Episode | None:
        """The episode of the finished job, or None for the start of the process."""
        kind, value = self._guarded(self.connection.recv)
        if kind == "error":
            raise VdPolicyError(f"rollout process {self.index} failed: {value}")
        self.busy = False
        return unpack_episode(self._guarded(self.connection.recv_bytes)) if kind == "episode" else None

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join(STOP_TIMEOUT_S)
            raise VdPolicyError(
                f"rollout process {self.index} (pid {self.process.pid}) ended with exit code {self.process.exitcode}; "
                "what was saved before is intact; resume, with fewer --workers if memory ran out"
            ) from None

    def stop(self) -> None:
        self.connection.close()  # the process reads the end of the pipe and leaves
        self.process.join(STOP_TIMEOUT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(connection: Connection, make_env: MakeEnv) -> None:
    """The worker process: take weights and jobs until the pipe closes."""
    serve_parent()
    torch.set_num_threads(1)
    try:
        env = make_env()
        actor: Actor
        connection.send(("ready", None))
        while True:
            kind, value = connection.recv()
            if kind == "weights":
                actor = unpack_actor(connection.recv_bytes())
                continue
            episode = rollout(env, actor, **value)
            connection.send(("episode", None))
            connection.send_bytes(pack_episode(episode))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # the parent turns it into one line
        connection.send(("error", f"{type(error).__name__}: {error}"))


def pack_actor(actor: Actor) -> bytes:
    """A Gaussian actor as safetensors bytes, with what is needed to build it again."""
    if not isinstance(actor, GaussianActor):
        raise BadInput("actor", type(actor).__name__, "a GaussianActor", "use --workers 1 for others")
    return pack_weights(policy_tensors(actor.policy), policy_manifest(actor.policy))


def unpack_actor(data: bytes) -> GaussianActor:
    """The inverse of `pack_actor`."""
    tensors, manifest = unpack_weights(data)
    return GaussianActor(policy_from(manifest, tensors))
