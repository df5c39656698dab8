"""Which jobs a figure or table of the paper consists of."""

from __future__ import annotations

from dataclasses import dataclass

from vd_policy.base.errors import BadInput
from vd_policy.experiments.reproduce.jobs import MAGNITUDE, METHODS, CloneJob, TrainJob
from vd_policy.experiments.reproduce.scale import Scale
from vd_policy.learning.cloning import CloningSettings

FULL_SAMPLES = 8000
"""The paper's number of demonstrations; a scale replaces it, and its halves with it."""
NOISE_RAD = 0.5
"""The paper's noise on the expert where it says nothing else."""


@dataclass(frozen=True)
class Contents:
    """What a figure compares."""

    methods: tuple[str, ...]
    data: tuple[tuple[int, float], ...]
    """Pairs of the paper's number of demonstrations and the noise on the expert [rad]."""
    trains: bool = True
    """Whether RL follows."""


FIGURES = {
    "fig4": Contents(METHODS, ((8000, 0.5),)),
    "fig5": Contents(("vd", "l2"), ((2000, 0.5), (4000, 0.5), (8000, 0.5))),
    "fig6": Contents(("vd", "l2"), ((8000, 0.05), (8000, 0.25), (8000, 0.5))),
    "table1": Contents(("vd",), ((8000, 0.5), (4000, 0.5), (2000, 0.5), (8000, 0.25), (8000, 0.05)), trains=False),
}


@dataclass(frozen=True)
class Sweep:
    """Settings that every method is tried with alike."""

    initial_std: tuple[float, ...] = (0.1,)
    """Exploration that RL starts from [action units]."""
    l2_weight: tuple[float, ...] = (CloningSettings().l2_weight,)
    """Weight of the sum of squares; concerns ``l2`` alone."""


@dataclass(frozen=True)
class Plan:
    """A figure's jobs, seed by seed, so that an unfinished figure has whole seeds."""

    figure: str
    scale: Scale
    recipe: str
    clones: tuple[CloneJob, ...]
    trainings: tuple[TrainJob, ...]


def make_plan(
    figure: str, scale: Scale, *, seeds: list[int], recipe: str, sweep: Sweep, only: list[str] | None = None
) -> Plan:
    """All jobs of a figure.

    Args:
        figure: a key of `FIGURES`.
        seeds: one run of every arm each.
        recipe: of RL; ``trpo`` is the paper's.
        only: methods to leave it at.

    Raises:
        BadInput: a figure or method that there is not.
    """
    if figure not in FIGURES:
        raise BadInput("FIGURE", figure, "one of " + ", ".join(FIGURES), "choose one of them")
    contents = FIGURES[figure]
    for method in only or ():
        if method not in contents.methods:
            raise BadInput(f"--only for {figure}", method, "one of " + ", ".join(contents.methods), "choose among them")
    methods = [m for m in METHODS if m in (only or contents.methods)]
    starts = [
        start
        for seed in seeds
        for samples, noise in contents.data
        for method in methods
        for start in _starts(method, seed, scale.samples * samples // FULL_SAMPLES, noise, scale, sweep)
    ]
    clones = dict.fromkeys(clone for start in starts for clone in start if clone is not None)
    trainings = [
        TrainJob(clone, std, recipe, scale.steps, scale.evaluate_every, scale.episodes, like)
        for clone, like in starts
        for std in sweep.initial_std
        if contents.trains
    ]
    return Plan(figure, scale, recipe, tuple(clones), tuple(trainings))


def _starts(
    method: str, seed: int, samples: int, noise: float, scale: Scale, sweep: Sweep
) -> list[tuple[CloneJob, CloneJob | None]]:
    """What a method's trainings start from: a clone, and where it is pruned by magnitude the one that says how far."""
    if method != MAGNITUDE:
        return [(clone, None) for clone in _clones(method, seed, samples, noise, scale, sweep)]
    (like,) = _clones("vd", seed, samples, noise, scale, sweep)
    return [(clone, like) for clone in _clones("l2", seed, samples, noise, scale, sweep)]


def _clones(method: str, seed: int, samples: int, noise: float, scale: Scale, sweep: Sweep) -> list[CloneJob]:
    epochs = {"vd": scale.vd_epochs, "random": 0}.get(method, scale.epochs)
    weights = sweep.l2_weight if method == "l2" else (None,)
    return [CloneJob(method, seed, samples, noise, scale.rule, scale.image_size, epochs, w) for w in weights]
