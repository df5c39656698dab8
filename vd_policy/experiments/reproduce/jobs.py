"""The two kinds of work that the paper's figures are made of, as plain values: cloning a policy, and improving it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.sim.tasks import load_task

FILTERS = "vd_filters"
"""Cloned with VD of whole filters on top of that of weights."""
CLONED = ("vd", FILTERS, "l2", "none")
"""Ways of cloning, by their recipes for reaching."""
DROPPED = ("vd", FILTERS)
"""Those of them that are pruned by their dropout rates."""
UNTRAINED = "random"
"""The method without pre-training: a freshly initialised network."""
MAGNITUDE = "l2_pruned"
"""Cloned with L2, then pruned by magnitude to the densities that VD came to, layer by layer."""
UNCERTAINTY = "vd_uncertainty"
"""Cloned with VD, exploring from the start as widely as VD is uncertain (section VI), without a setting of its own."""
METHODS = ("vd", FILTERS, UNCERTAINTY, "l2", MAGNITUDE, "none", UNTRAINED)
REACH, GRASP = "reach", "grasp"
"""The paper's tasks, by their names in config/tasks, which are those of their rules."""


@dataclass(frozen=True)
class CloneJob:
    """One policy before RL."""

    method: str
    """One of `CLONED`, or `UNTRAINED`."""
    seed: int
    """Root of everything random: cups, noise, network, order of the samples."""
    samples: int
    """State-label pairs of the demonstrations."""
    noise_std_rad: float
    """Noise on the expert's actions (eq. 6)."""
    rule: str
    """The expert's eq. 10: ``literal`` or ``clipped``."""
    image_size: int
    epochs: int
    """0 for a network that is not trained."""
    l2_weight: float | None = None
    """Of the method ``l2``."""
    task: str = REACH

    @property
    def demonstrations(self) -> str:
        """Name of the demonstrations, which methods share."""
        size, noise = f"{self.image_size}px", f"noise{self.noise_std_rad:g}"
        return f"{self._prefix}{self.rule}-{size}-n{self.samples}-{noise}-seed{self.seed}"

    @property
    def arm(self) -> str:
        """All but the seed, as a name."""
        weight = "" if self.l2_weight is None else f"-w{self.l2_weight:g}"
        return f"{self._prefix}{self.method}{weight}-{self.rule}-n{self.samples}-noise{self.noise_std_rad:g}"

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    @property
    def units(self) -> int:
        """Work: samples that pass through the network."""
        return max(1, self.epochs * self.samples)

    @property
    def kind(self) -> str:
        """Jobs of one kind take alike long for a unit of work."""
        return f"clone {self._prefix}{self.method}"

    @property
    def recipe(self) -> str:
        """Of cloning: a name in config/recipes; an untrained network takes its shape from one."""
        if self.method == UNTRAINED:
            return "none"
        return f"{self.method}_grasp" if load_task(self.task).rules_name == GRASP else self.method

    def demonstration(self) -> DemonstrationSettings:
        """What the expert shows."""
        return DemonstrationSettings(
            self.task, image_height=self.image_size, rule=self.rule, noise_std_rad=self.noise_std_rad
        )

    def place(self, root: Path) -> Path:
        """Directory of the job under that of the figure."""
        return root / "clones" / self.name

    @property
    def _prefix(self) -> str:
        """Of names; the directories of reaching were named before there was another task."""
        return "" if self.task == REACH else f"{Path(self.task).stem}-"


@dataclass(frozen=True)
class TrainJob:
    """RL from one cloned policy, with evaluations at fixed points."""

    clone: CloneJob
    initial_std: float | None
    """Exploration to start from [action units]; None for what the clone's dropout rates say."""
    recipe: str
    """A name in config/recipes or a YAML file."""
    steps: int
    """Environment steps in all."""
    evaluate_every: int
    """Environment steps from one evaluation of the mean policy to the next."""
    episodes: int
    """Starts of one evaluation, the same ones for every job."""
    like: CloneJob | None = None
    """The clone to whose densities the policy is pruned by magnitude first."""

    @property
    def method(self) -> str:
        """One of `METHODS`."""
        if self.initial_std is None:
            return UNCERTAINTY
        return self.clone.method if self.like is None else MAGNITUDE

    @property
    def seed(self) -> int:
        return self.clone.seed

    @property
    def arm(self) -> str:
        """All but the seed, as a name."""
        pruned = "" if self.like is None else "-pruned"
        std = "own" if self.initial_std is None else f"{self.initial_std:g}"
        return f"{self.clone.arm}{pruned}-std{std}-{Path(self.recipe).stem}"

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    @property
    def units(self) -> int:
        """Work: environment steps."""
        return self.steps

    @property
    def kind(self) -> str:
        """Jobs of one kind take alike long for a unit of work; pruned networks take less."""
        network = "pruned" if self.method in (*DROPPED, UNCERTAINTY, MAGNITUDE) else "dense"
        return f"train {Path(self.clone.task).stem} {network} {Path(self.recipe).stem}"

    def place(self, root: Path) -> Path:
        """Directory of the job under that of the figure."""
        return root / "trainings" / self.name

    def points(self) -> list[int]:
        """Environment steps at which the mean policy is evaluated: before RL, then regularly, then at the end."""
        return sorted({0, *range(self.evaluate_every, self.steps, self.evaluate_every), self.steps})


Job = CloneJob | TrainJob
