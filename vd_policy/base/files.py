"""Durable files: written under a temporary name, fsynced, then renamed; sizes capped before reading."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput, Missing, VdPolicyError

TEMPORARY_PREFIX = ".tmp-"
ABANDONED_S = 3600.0
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What flock(2) says where the file system has none."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of Linux's renameat2(2)."""


def fsync_directory(path: Path) -> None:
    """Make the directory's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` (disk full, read-only, no permission) into one clear line that names the path."""
    try:
        yield
    except OSError as error:
        raise VdPolicyError(
            f"{what}: cannot write {path}: {error.strerror or error}; what was saved before is intact; "
            "free space or choose a writable directory"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
    with storage_errors("saving", path):
        try:
            with open(temporary, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            fsync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_bytes(Path(path), (json.dumps(value, indent=2, sort_keys=False) + "\n").encode())


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling directory; it appears under `path` complete, or not at all.

    An existing `path` and the new one change places in one step where the file system can do that, so that a whole
    version is always there. What a killed process left of an earlier attempt is removed once it is an hour old.
    """
    path = Path(path)
    _clean_up(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
    with storage_errors("saving", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        with storage_errors("saving", path):
            yield temporary
            _fsync_tree(temporary)
            _take_the_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class DirectoryInUse(VdPolicyError):
    """Another process holds the directory."""


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Hold `path`, which must exist, against others who do; the lock ends with its process and leaves nothing behind.

    A file system that knows no locks, as some network ones, holds nothing.

    Raises:
        BadInput: `path` may not be read.
        DirectoryInUse: somebody else holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError as error:
        raise BadInput("directory", str(path), "one that you may read", f"{error.strerror}: {path}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(f"{path} is in use by another process") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Wait until no other process holds `file`, which is made with its directory where it is missing, and hold it.

    A file system that knows no locks, as some network ones, makes nobody wait.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _fsync_tree(directory: Path) -> None:
    for file in sorted(directory.rglob("*")):
        if file.is_dir():
            fsync_directory(file)
        elif file.is_file():
            fsync_file(file)
    fsync_directory(directory)


def _clean_up(path: Path) -> None:
    """Remove temporary siblings of `path` that nobody has written to for an hour."""
    for left in path.parent.glob(f"{TEMPORARY_PREFIX}{glob.escape(path.name)}-{'[0-9a-f]' * 8}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)


def _take_the_place(new: Path, path: Path) -> None:
    """`path` becomes `new`; what was there before may be left under the name `new`."""
    if not path.exists():
        os.replace(new, path)
    elif not _exchanged(new, path):
        old = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
        os.replace(path, old)
        try:
            os.replace(new, path)
        except OSError:
            os.replace(old, path)
            raise
        shutil.rmtree(old)
    fsync_directory(path.parent)


def _exchanged(a: Path, b: Path) -> bool:
    """Let two names change places at once (renameat2, Linux); False where that cannot be done."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) == 0


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The file's content; refuses a missing, linked or oversized one before reading it."""
    path = Path(path)
    if path.is_symlink():
        raise BadInput("file", str(path), "a regular file", "replace the symbolic link by the file")
    if not path.is_file():
        raise Missing("file", str(path), "a file that exists", "check the path")
    size = path.stat().st_size
    if size > max_bytes:
        raise BadInput(f"size of {path} [bytes]", size, f"at most {max_bytes}", "is this the right file?")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput("file", str(path), "a readable file", f"{error.strerror}: change its permissions") from None


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
