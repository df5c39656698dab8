"""Makes the demonstrations that a clone learns from: once, and to the same end whatever interrupts it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from vd_policy.base.files import write_json
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import SETTINGS_FILE, demonstrate
from vd_policy.demos.storage import bag_paths
from vd_policy.experiments.reproduce.chain import carry_out_job, cloned, demonstrations, done
from vd_policy.experiments.reproduce.jobs import CloneJob


def is_shown(job: CloneJob, root: Path) -> bool:
    """Whether all demonstrations of a clone are there."""
    return _finished(job, root).is_file()


def show(job: CloneJob, root: Path, workers: int) -> None:
    """Make the bags and arrays of a clone's demonstrations, unless they are there."""
    if is_shown(job, root):
        return
    place = demonstrations(job, root)
    if job.actor is None:
        demonstrate(job.demonstration(), job.samples, place, seed=job.seed, workers=workers, existing="resume")
    else:
        _label(job, job.actor, root, workers)
    write_json(_finished(job, root), {"samples": len(Dataset(place))})


def _label(job: CloneJob, actor: CloneJob, root: Path, workers: int) -> None:
    """What the actor has learned from, and then the expert's labels at the states that the actor comes to."""
    show(actor, root, workers)
    if done(actor, root) is None:
        carry_out_job(actor, root)
    place, shown = demonstrations(job, root), demonstrations(actor, root)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for bag in bag_paths(shown):
        shutil.copytree(bag, place / bag.name)
    shutil.copyfile(shown / SETTINGS_FILE, place / SETTINGS_FILE)
    settings = replace(job.demonstration(), noise_std_rad=0.0, actor=str(cloned(actor, root)))
    demonstrate(settings, job.samples - actor.samples, place, seed=job.seed, workers=workers, existing="append")


def _finished(job: CloneJob, root: Path) -> Path:
    return demonstrations(job, root).with_name(f"{job.demonstrations}.done")
