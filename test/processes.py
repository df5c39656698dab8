"""What a test asks about a process that is not its own child."""

from __future__ import annotations

from pathlib import Path


def alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not waited for yet (a zombie) does not. One question to the kernel, not
    two: between them the process may go."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
