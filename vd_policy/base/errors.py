"""Typed errors whose message names the thing, its value, what is allowed and the fix."""

from __future__ import annotations

from typing import Any


class VdPolicyError(Exception):
    """Something failed that was not the caller's doing; the command line exits with code 1."""

    exit_code = 1


class BadInput(VdPolicyError):
    """A value that a person gave is unusable; the command line exits with code 2, a node refuses to start.

    Args:
        what: the thing, for example ``"--noise"`` or ``"joint_states"``.
        value: the offending value; shown with ``repr``, cut at 120 characters.
        allowed: what would have been accepted.
        fix: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, value: Any, allowed: str, fix: str) -> None:
        self.what, self.value, self.allowed, self.fix = what, value, allowed, fix
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        message = f"{what} is {shown}; allowed: {allowed}; fix: {fix}"
        super().__init__(" ".join(message.split()))


class Missing(BadInput):
    """A file, package or topic that is needed and is not there."""
