"""The memory of a stop: a small file that outlives the process."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.files import fsync_directory, read_bytes, storage_errors, write_json

MAX_BYTES = 1 << 16


def default_directory() -> Path:
    """``$XDG_STATE_HOME/vd_policy``, by default ``~/.local/state/vd_policy``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vd_policy"


def default_path(robot: str, node: str) -> Path:
    """Where a node's stop of an arm is remembered. Two arms of one kind on two ROS domains stop each for itself."""
    return default_directory() / f"{robot}-{os.environ.get('ROS_DOMAIN_ID') or '0'}-{node}.json"


class LatchFile:
    """One stop reason on disk; the file exists exactly while the stop is latched."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> str:
        """The reason of a latched stop, or ``""``. A file that cannot be read counts as a stop: fail safe."""
        try:
            reason = json.loads(read_bytes(self.path, MAX_BYTES))["reason"]
        except Missing:
            return ""
        except (BadInput, OSError, ValueError, KeyError, TypeError):
            return f"the latch file {self.path} cannot be read"
        return str(reason) or "stopped before"

    def check_writable(self) -> None:
        """Find out before a stop whether it could be remembered.

        Raises:
            BadInput: it is a directory, or lies in one that cannot be made or written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unfit(f"its directory cannot be made: {error.strerror}") from None
        if self.path.is_dir():
            raise self._unfit("this is a directory")
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise self._unfit("its directory may not be written")

    def _unfit(self, why: str) -> BadInput:
        return BadInput("latch_file", str(self.path), "a file that can be written, so that a stop outlives the node",
                        f"choose another one; {why}")  # fmt: skip

    def write(self, reason: str) -> None:
        """Latch durably.

        Raises:
            VdPolicyError: the file cannot be written.
        """
        with storage_errors("latching the stop", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"reason": reason})

    def clear(self) -> None:
        """Unlatch durably.

        Raises:
            VdPolicyError: the file cannot be removed.
        """
        with storage_errors("clearing the stop", self.path):
            if self.path.exists() or self.path.is_symlink():
                self.path.unlink()
                fsync_directory(self.path.parent)
