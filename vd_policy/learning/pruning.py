"""Between cloning and RL: the pruned run of a run (section IV), by dropout rate or by magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.policy.checkpoint import Run, save_run
from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD, regularised_layers
from vd_policy.policy.prune import PruneReport, prune, prune_by_magnitude

CARRIED = ("weight_version", "env_steps", "seeds")
"""Entries of the manifest that a pruned run takes over from its source."""


def prune_run(
    source: Run,
    out: Path,
    *,
    threshold: float = LOG_ALPHA_THRESHOLD,
    density: float | Mapping[str, float] | None = None,
    how: Mapping[str, Any] | None = None,
) -> PruneReport:
    """Write the pruned run of `source`, which stays as it is.

    Args:
        threshold: largest log alpha that stays, in a run cloned with variational dropout.
        density: share of weights to keep by magnitude instead, over all or for each layer by name.
        how: what the new run's configuration says of the pruning; by default the threshold or the density.

    Raises:
        BadInput: a threshold for a run without dropout rates, or `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput("--out", str(out), "a directory that does not exist yet", "choose a new name")
    if density is not None:
        policy, report = prune_by_magnitude(source.policy, density)
        said = {"density": density}
    else:
        if not regularised_layers(source.policy):
            raise BadInput("RUN", str(source.path), "a run of pretrain --method vd that was not pruned yet",
                           "give --density X or --like RUN to drop its smallest weights")  # fmt: skip
        policy, report = prune(source.policy, threshold)
        said = {"threshold": threshold}
    said = dict(how or said)
    extra = {name: source.manifest[name] for name in CARRIED if name in source.manifest}
    extra |= {"parents": {"init": source.as_parent()}, "pruning": {**said, **report.to_manifest()}}
    save_run(out, policy, config={**source.config, "prune": said}, manifest_extra=extra)
    return report
