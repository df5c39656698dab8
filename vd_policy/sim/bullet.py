"""PyBullet, imported once and only if it can give images as NumPy arrays."""

from __future__ import annotations

import importlib
from types import ModuleType

from vd_policy.base.errors import Missing


def load_bullet() -> ModuleType:
    """The pybullet module.

    Raises:
        Missing: it is not installed, or was built without NumPy (images would come as tuples, 100 times slower).
    """
    try:
        bullet = importlib.import_module("pybullet")
    except ImportError as error:
        raise Missing("pybullet", str(error), "an installed pybullet 3.2.7", "pip install pybullet==3.2.7") from None
    if not bullet.isNumpyEnabled():
        raise Missing("pybullet", "built without NumPy", "a build with NumPy",
                      "pip install --no-build-isolation --force-reinstall --no-binary pybullet pybullet==3.2.7")  # fmt: skip
    return bullet
