"""Small policies and observations that the policy tests share."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from vd_policy.base.episode import Obs
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.observation import ObservationSpec

SMALL = NetworkSettings(conv_channels=(3, 4, 5), image_widths=(7, 6, 5), joint_widths=(6, 5, 4))


def small_spec(height: int = 16, width: int = 16, joints: int = 3) -> ObservationSpec:
    names = tuple(f"joint_{i + 1}" for i in range(joints))
    return ObservationSpec(names, height, width, (0.5,) * joints, (math.pi,) * joints, 2.0, math.pi / 5, 1.0)


def random_obs(spec: ObservationSpec, batch: int, seed: int = 0) -> Obs:
    rng = np.random.default_rng(seed)
    size = (batch, spec.image_height, spec.image_width)
    return {
        "rgb": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        "depth": rng.integers(0, 3000, size).astype(np.uint16),
        "q": rng.normal(0.0, 2.0, (batch, spec.action_size)).astype(np.float32),
    }


def small_policy(
    layers: str = "dense",
    seed: int = 0,
    spec: ObservationSpec | None = None,
    sigma: NetworkSettings | None = SMALL,
) -> GaussianPolicy:
    settings = PolicySettings(mean=replace(SMALL, layers=layers), sigma=sigma)
    return new_policy(spec or small_spec(), settings, seed=seed)


def lively(policy: GaussianPolicy, seed: int = 0) -> GaussianPolicy:
    """The policy with weights large enough that every layer matters to the output, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("log_sigma2"):
                parameter.uniform_(-12.0, 2.0, generator=generator)
            else:
                scale = 0.5 if parameter.dim() == 1 else 1.4 / math.sqrt(parameter[0].numel())
                parameter.normal_(0.0, scale, generator=generator)
    return policy
