"""Which jobs a figure or table of the paper consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vd_policy.base.errors import BadInput
from vd_policy.experiments.reproduce.jobs import (
    DROPPED,
    GRASP,
    MAGNITUDE,
    METHODS,
    REACH,
    UNCERTAINTY,
    UNTRAINED,
    CloneJob,
    TrainJob,
)
from vd_policy.experiments.reproduce.measure import RETURN, SUCCESSES, Measure
from vd_policy.experiments.reproduce.scale import SCALES, Scale
from vd_policy.learning.cloning import CloningSettings
from vd_policy.learning.pretrain import PretrainSettings
from vd_policy.learning.recipe import OUR_RECIPE
from vd_policy.sim.tasks import load_task

FULL_SAMPLES = 8000
"""The paper's number of demonstrations; a scale replaces it, and its halves with it."""
REUSING = "trpo_c8"
"""Our recipe of RL but for the discount: beside it, this tells what using samples again is worth alone."""
OUR_TASK, OUR_RULE, OUR_NOISE_RAD = "reach_free", "clipped", 0.25
"""Of our demonstrations; the paper's are of `REACH`, ``literal`` and `NOISE_RAD`."""
OUR_EXPERT = "our expert"
"""Among the experts' lines, the one that makes our demonstrations, where its task is not the paper's."""
NOISE_RAD = 0.5
"""The paper's noise on the expert where it says nothing else."""
GRASP_NOISE_RAD = 0.03
"""The paper does not give it for grasping; its 0.5 here knocks the cup over in nearly every demonstration."""


@dataclass(frozen=True)
class Contents:
    """What a figure compares."""

    methods: tuple[str, ...]
    data: tuple[tuple[int, float], ...]
    """Pairs of the paper's number of demonstrations and the noise on the expert [rad]."""
    trains: bool = True
    """Whether RL follows."""
    task: str = REACH
    measure: Measure = SUCCESSES
    """What RL is judged by."""
    min_seeds: int = 5
    """Fewer seeds make no verdict."""
    beside: tuple[str, ...] = ()
    """Recipes of RL that are run beside the one that is asked for."""
    ours: bool = False
    """Whether VD is also cloned from as many demonstrations of our own making, of the task `OUR_TASK`."""
    paired: bool = False
    """Whether those go with our RL alone, the paper's with the one that is asked for: each recipe as a whole."""


FIGURES = {
    "fig4": Contents(METHODS, ((8000, 0.5),)),
    "fig5": Contents(("vd", "l2"), ((2000, 0.5), (4000, 0.5), (8000, 0.5))),
    "fig6": Contents(("vd", "l2"), ((8000, 0.05), (8000, 0.25), (8000, 0.5))),
    "recipes": Contents(("vd", UNCERTAINTY), ((8000, 0.5),), beside=(REUSING, OUR_RECIPE), ours=True),
    "ours": Contents(("vd",), ((8000, 0.5),), beside=(OUR_RECIPE,), ours=True, paired=True),
    "fig7": Contents(("vd", "l2", MAGNITUDE, "none", UNTRAINED), ((8000, GRASP_NOISE_RAD),), task=GRASP, measure=RETURN,
                     min_seeds=3),
    "table1": Contents(("vd",), ((8000, 0.5), (4000, 0.5), (2000, 0.5), (8000, 0.25), (8000, 0.05)), trains=False),
    "table1_grasp": Contents(("vd",), ((8000, GRASP_NOISE_RAD),), trains=False, task=GRASP, min_seeds=3),
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """Settings that every method is tried with alike."""

    initial_std: tuple[float, ...] = ()
    """Exploration that RL starts from [action units]; none: the scale's."""
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

    @property
    def contents(self) -> Contents:
        return FIGURES[self.figure]

    @property
    def task(self) -> str:
        """A name in config/tasks, or a YAML file."""
        return _task(self.contents, self.scale)


def scale_of(figure: str, name: str) -> Scale:
    """The scale of that name for the figure's task.

    Raises:
        BadInput: a figure that there is not.
    """
    return SCALES[_contents(figure).task][name]


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
        BadInput: a figure or method that there is not, a task of other rules than the figure's, or a noise for a figure
            that says which.
    """
    contents = _contents(figure)
    if scale.task and load_task(scale.task).rules_name != contents.task:
        raise BadInput(f"task for {figure}", scale.task, f"one with the rules {contents.task}", "choose another one")
    if scale.noise_rad is not None and (contents.ours or len({noise for _, noise in contents.data}) > 1):
        raise BadInput(f"noise_rad for {figure}", scale.noise_rad, "none: the figure says which", "leave it out")
    for method in only or ():
        if method not in contents.methods:
            raise BadInput(f"--only for {figure}", method, "one of " + ", ".join(contents.methods), "choose among them")
    methods = [m for m in METHODS if m in (only or contents.methods)]
    starts = [
        start
        for seed in seeds
        for method, data in _data(contents, methods, seed, scale)
        for start in _starts(data, method, scale, sweep)
    ]
    clones = dict.fromkeys(clone for start in starts for clone in (start.clone, start.like) if clone is not None)
    trainings = [
        TrainJob(start.clone, std, name, scale.steps, scale.evaluate_every, scale.episodes, start.like)
        for start in starts
        for name in _recipes(contents, start.clone, recipe)
        for std in start.stds
        if contents.trains
    ]
    if contents.beside and scale.steps_beside:
        trainings = [t if is_papers(t, recipe) else replace(t, steps=scale.steps_beside) for t in trainings]
    return Plan(figure, scale, recipe, tuple(clones), tuple(trainings))


def _recipes(contents: Contents, clone: CloneJob, recipe: str) -> Sequence[str]:
    """Of RL after a clone."""
    if contents.paired:
        return contents.beside if shows_ours(clone) else (recipe,)
    return tuple(dict.fromkeys((recipe, *contents.beside)))


def is_papers(job: TrainJob, recipe: str) -> bool:
    """Whether nothing about a training is ours: neither RL nor its exploration nor what was shown.

    Args:
        recipe: the one that was asked for.
    """
    return job.recipe == recipe and job.method != UNCERTAINTY and not shows_ours(job.clone)


def shows_ours(clone: CloneJob) -> bool:
    """Whether it learns from demonstrations of our own making."""
    return (clone.rule, clone.noise_std_rad) == (OUR_RULE, OUR_NOISE_RAD)


def _task(contents: Contents, scale: Scale) -> str:
    """The figure's, or the one of its rules that was asked for in its place."""
    return scale.task or contents.task


def _contents(figure: str) -> Contents:
    if figure not in FIGURES:
        raise BadInput("FIGURE", figure, "one of " + ", ".join(FIGURES), "choose one of them")
    return FIGURES[figure]


@dataclass(frozen=True)
class _Data:
    """What a clone learns from."""

    task: str
    seed: int
    samples: int
    noise_rad: float
    rule: str


def _data(contents: Contents, methods: list[str], seed: int, scale: Scale) -> list[tuple[str, _Data]]:
    """Each method with each data set that it learns from."""
    task = _task(contents, scale)
    found = [
        (method, _Data(task, seed, scale.samples * samples // FULL_SAMPLES, _noise_rad(noise, scale), scale.rule))
        for samples, noise in contents.data
        for method in methods
    ]
    if contents.ours:
        ours = _Data(scale.task or OUR_TASK, seed, scale.samples, OUR_NOISE_RAD, OUR_RULE)
        found += [(method, ours) for method in methods if method in ("vd", UNCERTAINTY)]
    return found


def _noise_rad(papers: float, scale: Scale) -> float:
    return papers if scale.noise_rad is None else scale.noise_rad


@dataclass(frozen=True)
class _Start:
    """What trainings start from."""

    clone: CloneJob
    stds: tuple[float | None, ...]
    """One training for each, see `TrainJob.initial_std`."""
    like: CloneJob | None = None
    """The clone that says how far this one is pruned by magnitude."""


def _starts(data: _Data, method: str, scale: Scale, sweep: Sweep) -> list[_Start]:
    stds = sweep.initial_std or (scale.initial_std,)
    if method == UNCERTAINTY:
        return [_Start(clone, (None,)) for clone in _clones(data, "vd", scale, sweep)]
    if method != MAGNITUDE:
        return [_Start(clone, stds) for clone in _clones(data, method, scale, sweep)]
    (like,) = _clones(data, "vd", scale, sweep)
    return [_Start(clone, stds, like) for clone in _clones(data, "l2", scale, sweep)]


def _clones(data: _Data, method: str, scale: Scale, sweep: Sweep) -> list[CloneJob]:
    epochs = 0 if method == UNTRAINED else scale.vd_epochs if method in DROPPED else scale.epochs
    if scale.hold == "steps":
        epochs = round(epochs * _epoch_steps(scale.samples) / _epoch_steps(data.samples))
    weights = sweep.l2_weight if method == "l2" else (None,)
    size = scale.image_size
    return [
        CloneJob(method, data.seed, data.samples, data.noise_rad, data.rule, size, epochs, weight, data.task)
        for weight in weights
    ]


def _epoch_steps(samples: int) -> int:
    """Adam steps of a pass over the training share of so many demonstrations."""
    settings = PretrainSettings()
    return settings.steps_per_epoch(round((1 - settings.validation_fraction) * samples))
