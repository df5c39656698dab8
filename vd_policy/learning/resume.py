"""What a training must find, and must not find, where it is told to write."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput, Missing
from vd_policy.policy.checkpoint import MANIFEST, NAMELESS, can_hold_run


def check_free(out: Path, resume: bool) -> None:
    """Refuse to overwrite a run by accident, to resume what is not there, and to work for what cannot be written."""
    there = (out / MANIFEST).is_file()
    if out.name in NAMELESS:
        raise BadInput("--out", str(out), "a directory by its name, under which it is replaced whole",
                       "run the command outside that directory, and name it")  # fmt: skip
    if there and not resume:
        raise BadInput("--out", str(out), "a name that is not taken", "choose another one, or pass --resume to go on")
    parent = next(p for p in out.absolute().parents if p.exists())
    if (out.exists() and not out.is_dir()) or not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise BadInput("--out", str(out), "a name in a directory that can be written", "choose another one")
    if resume and not there:
        raise Missing("--resume", str(out), "a run directory with a checkpoint", "check --out, or leave out --resume")
    if not can_hold_run(out):
        raise BadInput("--out", str(out), "a new name or an empty directory", "choose another one")


def check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any], allow_changed: bool) -> None:
    """Refuse to go on with other data or settings than those that a training was begun with.

    Args:
        before: what was stored at its beginning; nested mappings of plain values.
        now: the same of this call.
        allow_changed: go on nevertheless.

    Raises:
        BadInput: names the first entry that differs.
    """
    here, there = _flat(now), _flat(before)
    changed = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    if changed and not allow_changed:
        name = changed[0]
        raise BadInput(f"--resume: {name}", here.get(name), f"{there.get(name)!r}, as this run was begun",
                       "repeat the first command, or pass --allow-changed")  # fmt: skip


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
