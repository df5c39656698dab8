"""PyBullet, imported once and only if it can give images as NumPy arrays."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vd_policy.base.errors import Missing


def load_bullet() -> ModuleType:
    """The pybullet module.

    Raises:
        Missing: it is not installed, or was built without NumPy (images would come as tuples, 100 times slower).
    """
    try:
        with _quiet_stderr():
            bullet = importlib.import_module("pybullet")
    except ImportError as error:
        raise Missing("pybullet", str(error), "an installed pybullet 3.2.7", "pip install pybullet==3.2.7") from None
    if not bullet.isNumpyEnabled():
        rebuild = "pip install --no-build-isolation --force-reinstall --no-binary pybullet pybullet==3.2.7"
        raise Missing("pybullet", "built without NumPy", "a build with NumPy", rebuild)
    return bullet


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep pybullet's compiled code from writing its build time to the terminal when it is imported."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
