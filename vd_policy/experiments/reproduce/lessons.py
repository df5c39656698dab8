"""What a clone learns from: the expert's demonstrations, and its labels where an earlier clone acted."""

from __future__ import annotations

import shutil
from pathlib import Path

from vd_policy.base.files import in_turn, write_json
from vd_policy.demos.dataset import CACHE_NAME, Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.experiments.reproduce.chain import cloned
from vd_policy.experiments.reproduce.jobs import CloneJob


def is_recorded(job: CloneJob, root: Path) -> bool:
    """Whether all that the job learns from is there."""
    return _beside(job, root, ".done").is_file()


def record(job: CloneJob, root: Path, workers: int) -> None:
    """Record what the job learns from, as bags and as arrays; one that was interrupted goes on or begins anew.

    Args:
        job: the clone of the round before, which acts, is done.
        root: directory of the figure.
        workers: processes.
    """
    with in_turn(_beside(job, root, ".lock")):
        if is_recorded(job, root):
            return
        place = job.data(root)
        if job.before is None:
            demonstrate(job.demonstration(), job.samples, place, seed=job.seed, workers=workers, existing="resume")
        else:
            _on_top(job.before.data(root), place)
            settings = job.demonstration(actor=str(cloned(job.before, root)))
            demonstrate(settings, job.labels, place, seed=job.seed, workers=workers, existing="append")
        write_json(_beside(job, root, ".done"), {"samples": len(Dataset(place))})


def _on_top(before: Path, place: Path) -> None:
    """Begin a directory with the bags of another one."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(before, place, ignore=shutil.ignore_patterns(CACHE_NAME))


def _beside(job: CloneJob, root: Path, suffix: str) -> Path:
    place = job.data(root)
    return place.with_name(f"{place.name}{suffix}")
