"""A run directory: one policy with everything that says where it came from, and what training needs to go on.

    config.yaml              the resolved settings
    manifest.json            what the policy is, its parents, seeds and steps, and the SHA-256 of every file
    weights.safetensors      the policy's tensors
    training/                optional: tensors.safetensors and state.json, to resume exactly
    metrics.csv              optional: learning curves

It appears under its name complete or not at all. Loading hashes every file, judges sizes before it reads, and runs no
code from a file. A hash guards against damage, not against somebody who rewrites the manifest as well.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.files import new_directory, read_bytes, sha256_of
from vd_policy.base.settings import load_yaml
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.manifest import (
    MAX_PARAMETERS,
    Manifest,
    policy_from,
    policy_manifest,
    policy_tensors,
    read_manifest,
    same_shape_check,
)
from vd_policy.policy.observation import ObservationSpec

CONFIG, MANIFEST, WEIGHTS, METRICS = "config.yaml", "manifest.json", "weights.safetensors", "metrics.csv"
TRAINING_TENSORS, TRAINING_STATE = "training/tensors.safetensors", "training/state.json"
MAX_BYTES = {
    CONFIG: 1 << 20,
    MANIFEST: 4 << 20,
    WEIGHTS: 10 * MAX_PARAMETERS,
    METRICS: 256 << 20,
    TRAINING_TENSORS: 64 << 30,
    TRAINING_STATE: 16 << 20,
}
"""Every file that a run may hold, and the largest size that is read."""
REQUIRED = (CONFIG, WEIGHTS)
MAX_HEADER_BYTES = 1 << 20
NAMELESS = ("", "..")
"""Names of paths such as ``.`` and ``..``, under which no directory can be replaced by another."""
BLANK_DIGEST = "0" * 64
DAMAGED = "restore it from a copy, or use another run"


@dataclass(frozen=True)
class Run:
    """A loaded run directory."""

    path: Path
    policy: GaussianPolicy
    manifest: Manifest
    config: dict[str, Any]
    spec: ObservationSpec

    def as_parent(self) -> dict[str, str]:
        """This run as an entry of a child's ``parents`` map: its name and the hash of its manifest."""
        return {"name": self.path.resolve().name, "sha256": self.manifest["sha256"]}


def save_run(
    path: str | Path,
    policy: GaussianPolicy,
    *,
    config: Mapping[str, Any],
    manifest_extra: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    metrics_csv: str | None = None,
) -> Path:
    """Write a run, whole or not at all; an earlier one of that name is replaced only by a complete new one.

    Args:
        path: the directory to appear.
        policy: its weights and shape.
        config: the resolved settings, plain values.
        manifest_extra: see `policy_manifest`.
        training: what `load_training` shall return: tensors, arrays and JSON values by name.
        metrics_csv: the text of the learning curves.

    Raises:
        BadInput: weights are not finite, an entry cannot be written as JSON, or `path` is no run directory.
        VdPolicyError: the disk is full or not writable; what was there before is intact.
    """
    path = Path(path)
    if not can_hold_run(path):
        raise BadInput("run directory", str(path), "a new name, an empty directory or an earlier run", "choose another")
    manifest = policy_manifest(policy, manifest_extra)
    contents = {
        CONFIG: yaml.safe_dump(dict(config), sort_keys=False).encode(),
        WEIGHTS: safetensors.save(_finite(policy_tensors(policy))),
    }
    if metrics_csv is not None:
        contents[METRICS] = metrics_csv.encode()
    if training is not None:
        contents |= _pack_training(training)
    manifest |= {
        "git_revision": git_revision(),
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in contents.items()
        },
    }
    with new_directory(path) as temporary:
        for name, data in {**contents, MANIFEST: _sealed(manifest)}.items():
            file = temporary / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
    return path


def can_hold_run(path: Path) -> bool:
    """Whether `save_run` would write there: a new name, an empty directory or an earlier run."""
    if path.name in NAMELESS:
        return False
    return not path.exists() or (path / MANIFEST).is_file() or (path.is_dir() and not any(path.iterdir()))


def load_run(path: str | Path) -> Run:
    """The policy in a run directory, after every file was found whole.

    Raises:
        BadInput: a file is missing, damaged, too large, not listed or a link; the run is of another schema or kind;
            or its tensors do not fit its manifest. The message names the file and what to do.
    """
    path = Path(path)
    manifest = load_manifest(path)
    spec, _ = read_manifest(manifest, str(path / MANIFEST))
    for name in manifest["files"]:
        if name != WEIGHTS:
            _check_hash(path, name, manifest)
    policy = policy_from(manifest, _read_tensors(path, WEIGHTS, manifest), str(path / WEIGHTS))
    return Run(path, policy, manifest, load_yaml(path / CONFIG), spec)


def load_training(path: str | Path) -> dict[str, Any]:
    """What `save_run` was given as `training`; arrays come back as tensors.

    Raises:
        BadInput: the run holds none, or it is damaged.
    """
    path = Path(path)
    manifest = load_manifest(path)
    if TRAINING_STATE not in manifest["files"]:
        raise Missing("training state", str(path / "training"), "a run that was saved to be resumed", "start a new run")
    _check_hash(path, TRAINING_STATE, manifest)
    state = _parse_json(read_bytes(path / TRAINING_STATE, MAX_BYTES[TRAINING_STATE]), path / TRAINING_STATE)
    tensors = _read_tensors(path, TRAINING_TENSORS, manifest)
    return {**{name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}, **state}


def load_metrics(path: str | Path) -> str | None:
    """The text of ``metrics.csv``, or None when the run has none."""
    path = Path(path)
    manifest = load_manifest(path)
    if METRICS not in manifest["files"]:
        return None
    _check_hash(path, METRICS, manifest)
    return read_bytes(path / METRICS, MAX_BYTES[METRICS]).decode()


def load_manifest(path: str | Path) -> Manifest:
    """The manifest of a run, its own hash and the list of files checked; no other file is read."""
    path = Path(path)
    file = path / MANIFEST
    if not file.is_file():
        raise Missing("run", str(path), f"a run directory, which has a {MANIFEST}", "check the path")
    data = read_bytes(file, MAX_BYTES[MANIFEST])
    manifest = _parse_json(data, file)
    digest = manifest.get("sha256")
    if not isinstance(digest, str) or len(digest) != len(BLANK_DIGEST) or _seal_of(data, digest) != digest:
        raise BadInput(f"{file}: sha256", digest, "the hash of its content", DAMAGED)
    _check_listing(path, manifest)
    return manifest


def load_spec(path: str | Path) -> ObservationSpec:
    """What the policy of a run sees and does; no other file than the manifest is read."""
    return read_manifest(load_manifest(path), str(path))[0]


@lru_cache(maxsize=1)
def git_revision() -> str | None:
    """The commit that the software was run from, or None outside a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _sealed(manifest: Manifest) -> bytes:
    """The manifest's text, which ends with the hash of itself under a blank hash."""
    text = (json.dumps({**manifest, "sha256": BLANK_DIGEST}, indent=2, allow_nan=False) + "\n").encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    return digest.join(text.rsplit(BLANK_DIGEST.encode(), 1))


def _seal_of(data: bytes, digest: str) -> str:
    return hashlib.sha256(BLANK_DIGEST.encode().join(data.rsplit(digest.encode(), 1))).hexdigest()


def _check_listing(path: Path, manifest: Manifest) -> None:
    """The manifest lists known names only, and the directory holds just those, none of them a link."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise BadInput(f"{path / MANIFEST}: files", files, "a mapping of names to sha256 and bytes", DAMAGED)
    for name in files:
        if name not in MAX_BYTES or name == MANIFEST:
            raise BadInput(f"{path / MANIFEST}: files", name, "only " + ", ".join(MAX_BYTES), "do not use this run")
    for name in REQUIRED:
        if name not in files:
            raise BadInput(f"{path / MANIFEST}: files", sorted(files), f"{name} too", DAMAGED)
    for entry in sorted(path.rglob("*")):
        name = entry.relative_to(path).as_posix()
        if entry.is_symlink():
            raise BadInput("file", str(entry), "a regular file", "replace the symbolic link by the file")
        if name != MANIFEST and name not in files and not (entry.is_dir() and name == "training"):
            raise BadInput("file", str(entry), "only files that manifest.json lists", "move it out of the run")


def _check_hash(path: Path, name: str, manifest: Manifest) -> None:
    file = _sized(path, name, manifest)
    if sha256_of(file) != manifest["files"][name].get("sha256"):
        raise BadInput(f"{file}: sha256", "another than listed", "the hash in manifest.json", DAMAGED)


def _sized(path: Path, name: str, manifest: Manifest) -> Path:
    """The file, after a look at its size."""
    file, listed = path / name, manifest["files"][name].get("bytes")
    if not file.is_file():
        raise Missing("file", str(file), "the file that manifest.json lists", DAMAGED)
    size = file.stat().st_size
    if size > MAX_BYTES[name] or size != listed:
        allowed = f"{listed} as listed, at most {MAX_BYTES[name]}"
        raise BadInput(f"size of {file} [bytes]", size, allowed, DAMAGED)
    return file


def _read_tensors(path: Path, name: str, manifest: Manifest) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, hashed before they are parsed."""
    if name not in manifest["files"]:
        raise BadInput(f"{path / MANIFEST}: files", sorted(manifest["files"]), f"{name} too", DAMAGED)
    file = _sized(path, name, manifest)
    data = read_bytes(file, MAX_BYTES[name])
    if hashlib.sha256(data).hexdigest() != manifest["files"][name].get("sha256"):
        raise BadInput(f"{file}: sha256", "another than listed", "the hash in manifest.json", DAMAGED)
    header = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header > min(MAX_HEADER_BYTES, len(data) - 8):
        allowed = f"at most {MAX_HEADER_BYTES} and inside the file"
        raise BadInput(f"{file}: header length [bytes]", header, allowed, "do not use this run")
    try:
        return safetensors.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadInput(str(file), f"{type(error).__name__}: {error}", "safetensors", "do not use this run") from None


def _pack_training(training: Mapping[str, Any]) -> dict[str, bytes]:
    """Tensors and arrays to safetensors, the rest to JSON."""
    arrays, values = {}, {}
    for name, value in training.items():
        if isinstance(value, torch.Tensor):
            arrays[name] = np.asarray(value.detach().cpu().numpy(), order="C")
        elif isinstance(value, np.ndarray):
            arrays[name] = np.asarray(value, order="C")
        else:
            values[name] = value
    try:
        state = json.dumps(values, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadInput("training state", str(error), "tensors, arrays and JSON values", "convert it") from None
    return {TRAINING_TENSORS: safetensors.save(arrays), TRAINING_STATE: state}


def _parse_json(data: bytes, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(str(file), str(error), "valid JSON", DAMAGED) from None
    if not isinstance(value, dict):
        raise BadInput(str(file), type(value).__name__, "a mapping", DAMAGED)
    return value


def _finite(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise BadInput(f"policy tensor {name}", "NaN or Inf", "finite numbers", "keep the last good checkpoint")
    return tensors


__all__ = [
    "Run",
    "can_hold_run",
    "load_manifest",
    "load_metrics",
    "load_run",
    "load_spec",
    "load_training",
    "policy_from",
    "policy_manifest",
    "policy_tensors",
    "same_shape_check",
    "save_run",
]
