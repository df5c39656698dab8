"""Success on a fixed list of starts, with its interval."""

from __future__ import annotations

import collections
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import torch

from vd_policy.base.episode import ENDINGS, Episode, how_ended
from vd_policy.base.errors import VdPolicyError
from vd_policy.base.seeds import Seeds
from vd_policy.base.workers import serve_parent, start_all
from vd_policy.experiments.interval import wilson
from vd_policy.experiments.subject import open_subject
from vd_policy.learning.rollout import rollout
from vd_policy.policy.actor import Actor
from vd_policy.sim.env import ArmEnv

SHARE = 5
"""Episodes that a process takes at a time."""


@dataclass(frozen=True)
class Played:
    """What is kept of one episode."""

    index: int
    """Place in the list of starts."""
    cup_m: tuple[float, float]
    """Where the cup stood (x, y) [m]."""
    success: bool
    ending: str
    """One of `ENDINGS`."""
    steps: int
    total_reward: float


@dataclass(frozen=True)
class Evaluation:
    """The outcome of all starts, in their order."""

    played: tuple[Played, ...]

    @property
    def episodes(self) -> int:
        return len(self.played)

    @property
    def successes(self) -> int:
        return sum(p.success for p in self.played)

    @property
    def success_rate(self) -> float:
        return self.successes / self.episodes

    @property
    def interval_95(self) -> tuple[float, float]:
        """Wilson's interval of the success rate."""
        return wilson(self.successes, self.episodes)

    @property
    def successes_per_200_steps(self) -> float:
        """The paper's measure: successes in an iteration of 200 environment steps, episodes back to back."""
        return 200.0 * self.successes / sum(p.steps for p in self.played)

    @property
    def mean_return(self) -> float:
        """Undiscounted rewards of an episode."""
        return float(np.mean([p.total_reward for p in self.played]))

    def figures(self) -> dict[str, Any]:
        """The numbers under the names that ``--json`` uses."""
        endings = collections.Counter(p.ending for p in self.played)
        return {
            "episodes": self.episodes,
            "successes": self.successes,
            "success_rate": self.success_rate,
            "interval_95": self.interval_95,
            "successes_per_200_steps": self.successes_per_200_steps,
            "mean_return": self.mean_return,
            "mean_length": float(np.mean([p.steps for p in self.played])),
            "endings": {name: endings[name] for name in ENDINGS},
        }


def start_seed(seed: int, index: int) -> int:
    """Seed of start `index`: other cups than those that demonstrations and training draw from the same seed."""
    return Seeds(seed).integer("evaluate", index)


def evaluate(
    env: gymnasium.Env,
    actor: Actor,
    *,
    episodes: int,
    seed: int,
    explore: bool = False,
    progress: Callable[[int], Any] = lambda done: None,
) -> Evaluation:
    """Play the starts 0 .. episodes - 1 in this process.

    Args:
        env: an `ArmEnv` or a wrapped one.
        actor: plays; the mean of its policy unless `explore`.
        seed: fixes the list of starts and the actor's noise.
        progress: told the number of episodes just finished.
    """
    return Evaluation(tuple(_play(env, actor, range(episodes), seed, explore, progress)))


def _play(
    env: gymnasium.Env, actor: Actor, indices: Sequence[int], seed: int, explore: bool, progress: Callable[[int], Any]
) -> Iterator[Played]:
    for index in indices:
        yield _kept(index, rollout(env, actor, seed=start_seed(seed, index), explore=explore))
        progress(1)


def _kept(index: int, episode: Episode) -> Played:
    ending = how_ended(episode.success, episode.failure)
    cup = (float(episode.scene[0]), float(episode.scene[1]))
    return Played(index, cup, episode.success, ending, len(episode), float(episode.reward.sum(dtype=np.float64)))


@dataclass(frozen=True)
class Request:
    """An evaluation that any process can carry out from plain values."""

    subject: str
    """A run's directory or a word of `BASELINES`."""
    seed: int
    explore: bool = False
    image_size: int | None = None
    """For baselines, None for the task's; a run brings its own."""
    env_options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `ArmEnv`."""

    @property
    def samples(self) -> bool:
        """Whether actions are drawn; those of the random baseline always are."""
        return self.explore or self.subject == "random"

    def open(self, **options: Any) -> tuple[ArmEnv, Actor]:
        """The environment and the actor that plays in it; close the environment when done."""
        subject = open_subject(self.subject, self.seed)
        env = ArmEnv(**{**self.env_options, **subject.env_options(self.image_size), **options})
        return env, subject.actor(env)


def carry_out(
    request: Request, episodes: int, *, workers: int = 1, progress: Callable[[int], Any] = lambda done: None
) -> Evaluation:
    """Evaluate, with one torch thread a process; the result does not depend on `workers`."""
    torch.set_num_threads(1)
    if workers == 1 or episodes <= SHARE:
        return _alone(request, episodes, progress)
    try:
        return _in_processes(request, episodes, workers, progress)
    except BrokenProcessPool:
        raise VdPolicyError("an evaluating process was killed; use fewer --workers if memory ran out") from None


def _alone(request: Request, episodes: int, progress: Callable[[int], Any]) -> Evaluation:
    env, actor = request.open()
    explore = request.samples
    try:
        return evaluate(env, actor, episodes=episodes, seed=request.seed, explore=explore, progress=progress)
    finally:
        env.close()


def _in_processes(request: Request, episodes: int, workers: int, progress: Callable[[int], Any]) -> Evaluation:
    shares = [range(i, min(i + SHARE, episodes)) for i in range(0, episodes, SHARE)]
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    played: list[Played] = []
    workers = min(workers, len(shares))
    with ProcessPoolExecutor(workers, spawn, _open_here, (request,)) as pool:
        start_all(pool, workers)
        try:
            for future in as_completed([pool.submit(_play_here, share) for share in shares]):
                played += future.result()
                progress(len(future.result()))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has been begun is a few episodes
            raise
    return Evaluation(tuple(sorted(played, key=lambda p: p.index)))


_here: list[tuple[Request, ArmEnv, Actor]] = []
"""In a worker process: what it was started for, opened once."""


def _open_here(request: Request) -> None:
    serve_parent()
    torch.set_num_threads(1)
    _here.append((request, *request.open()))


def _play_here(indices: Sequence[int]) -> list[Played]:
    request, env, actor = _here[0]
    return list(_play(env, actor, indices, request.seed, request.samples, lambda done: None))
