"""Between cloning and RL: the pruned run of a run (section IV), by dropout rate or by magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import Seeds
from vd_policy.demos.dataset import Dataset
from vd_policy.policy.checkpoint import Run, save_run
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD, regularised_layers
from vd_policy.policy.prune import PruneReport, prune, prune_by_magnitude
from vd_policy.policy.uncertainty import exploring_by_uncertainty

CARRIED = ("weight_version", "env_steps", "seeds")
"""Entries of the manifest that a pruned run takes over from its source."""


EXPLORED_SAMPLES = 2000
"""Demonstrated observations that the uncertainty of dropout is looked at on."""
EXPLORED_BATCH = 100


def prune_run(
    source: Run,
    out: Path,
    *,
    threshold: float = LOG_ALPHA_THRESHOLD,
    density: float | Mapping[str, float] | None = None,
    explore_on: Dataset | None = None,
    how: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> PruneReport:
    """Write the pruned run of `source`, which stays as it is.

    Args:
        threshold: largest log alpha that stays, in a run cloned with variational dropout.
        density: share of weights to keep by magnitude instead, over all or for each layer by name.
        explore_on: demonstrations on which dropout's own uncertainty becomes the standard deviation (section VI); by
            default the source's stays.
        how: what the new run's configuration says of the pruning; by default the threshold or the density.
        seed: of what `explore_on` draws.

    Raises:
        BadInput: a threshold or `explore_on` for a run without dropout rates, or `out` holds something.
    """
    check_new(out)
    if density is not None:
        policy, report = prune_by_magnitude(source.policy, density)
        said: dict[str, Any] = {"density": density}
    else:
        if not regularised_layers(source.policy):
            raise BadInput("RUN", str(source.path), "a run of pretrain --method vd that was not pruned yet",
                           "give --density X or --like RUN to drop its smallest weights")  # fmt: skip
        policy, report = prune(source.policy, threshold)
        said = {"threshold": threshold}
    said = {**(how or said)}
    if explore_on is not None:
        policy = uncertain(policy, source, explore_on, seed=seed)
        said["explore_on"] = explore_on.content_hash
    extra = {name: source.manifest[name] for name in CARRIED if name in source.manifest}
    extra |= {"parents": {"init": source.as_parent()}, "pruning": {**said, **report.to_manifest()}}
    if explore_on is not None:
        extra["seeds"] = {**extra.get("seeds", {}), "prune": seed}
    save_run(out, policy, config={**source.config, "prune": said}, manifest_extra=extra)
    return report


def check_new(out: Path) -> None:
    """Refuse a place for a pruned run that holds something already: `BadInput`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput("--out", str(out), "a directory that does not exist yet", "choose a new name")


def uncertain(policy: GaussianPolicy, source: Run, dataset: Dataset, *, seed: int) -> GaussianPolicy:
    """The pruned `policy` of `source`, exploring as widely as the source is uncertain on the demonstrations."""
    rows = Seeds(seed).rng("explored").permutation(len(dataset))[:EXPLORED_SAMPLES]
    batches = (dataset.batch(np.sort(rows[at : at + EXPLORED_BATCH]))[0] for at in range(0, len(rows), EXPLORED_BATCH))
    draws = Seeds(seed).integer("draws")
    return exploring_by_uncertainty(policy, source.policy.mean, batches, seed=draws)
