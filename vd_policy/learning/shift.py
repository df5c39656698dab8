"""Pictures moved a little at random while a policy is cloned, so that it does not learn single pixels by heart.

After Yarats, Kostrikov and Fergus, "Image Augmentation Is All You Need: Regularizing Deep Reinforcement Learning from
Pixels", 2021, who move the pictures of reinforcement learning.
"""

from __future__ import annotations

import numpy as np

from vd_policy.base.episode import Obs


def shifted(obs: Obs, most_px: int, rng: np.random.Generator) -> Obs:
    """Each observation's picture moved by up to `most_px` rows and as many columns, its edges repeated.

    Args:
        obs: ``rgb`` (B, H, W, 3) and ``depth`` (B, H, W), which are moved alike, and ``q``, which stays.
        most_px: either way, uniformly; 0 moves nothing.
        rng: draws two numbers for each observation.
    """
    starts = rng.integers(0, 2 * most_px + 1, (len(obs["depth"]), 2))
    return {**obs, "rgb": _cut(obs["rgb"], most_px, starts), "depth": _cut(obs["depth"], most_px, starts)}


def _cut(pictures: np.ndarray, margin: int, starts: np.ndarray) -> np.ndarray:
    """Each picture (H, W, ...) cut out of itself with a margin around it, from its own row and column on."""
    height, width = pictures.shape[1:3]
    wider = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin), *((0, 0),) * (pictures.ndim - 3)), "edge")
    return np.stack([wider[i, row : row + height, column : column + width] for i, (row, column) in enumerate(starts)])
