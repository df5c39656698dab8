"""What a policy sees: the layout and scale of raw observations, and their normalisation for the networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vd_policy.base import settings
from vd_policy.base.episode import OBS_KEYS, Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import setting

MAX_IMAGE_SIDE = 2048
PER_LEVEL = 1.0 / 127.5
"""What one of 256 levels is of the inputs' range, -1 to 1."""


class Normalised(NamedTuple):
    """A batch ready for the networks; `ObservationSpec.normalise` returns it unchanged."""

    image: Tensor
    """Red, green, blue and depth in [-1, 1], float32, (B, 4, H, W) in channels-last memory."""
    joints: Tensor
    """Joint angles about 0 and of the order of 1, float32, (B, J)."""


@dataclass(frozen=True)
class ObservationSpec:
    """Everything that must agree between the data a policy was trained on and the robot it runs on.

    Raises:
        BadInput: joint names repeated, lengths that disagree, a size, scale or rate that is not positive and finite.
    """

    joints: tuple[str, ...] = setting(help="names of the joints, in the order of the observation and the action")
    image_height: int = setting(help="rows of both images", minimum=1, maximum=MAX_IMAGE_SIDE)
    image_width: int = setting(help="columns of both images", minimum=1, maximum=MAX_IMAGE_SIDE)
    q_offset_rad: tuple[float, ...] = setting(help="joint angles that map to 0 [rad], one a joint")
    q_scale_rad: tuple[float, ...] = setting(help="joint angles from the offset that map to 1 [rad], one a joint")
    depth_max_m: float = setting(help="depth that maps to far [m]; further and invalid pixels count as far")
    max_step_rad: float = setting(help="joint delta of an action of 1 [rad]")
    rate_hz: float = setting(help="decisions a second [Hz]")

    def __post_init__(self) -> None:
        count = len(self.joints)
        if not count or len(set(self.joints)) != count or not all(self.joints):
            raise BadInput("observation joints", self.joints, "distinct names, at least one", "correct the list")
        for name in ("q_offset_rad", "q_scale_rad"):
            values = getattr(self, name)
            if len(values) != count or not all(map(math.isfinite, values)):
                raise BadInput(f"observation {name}", values, f"{count} finite numbers", "give one for each joint")
        positive = {f"q_scale_rad[{i}]": scale for i, scale in enumerate(self.q_scale_rad)}
        positive |= {name: getattr(self, name) for name in ("depth_max_m", "max_step_rad", "rate_hz")}
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"observation {name}", value, "a positive finite number", "correct it")
        for name in ("image_height", "image_width"):
            if not 1 <= getattr(self, name) <= MAX_IMAGE_SIDE:
                raise BadInput(f"observation {name}", getattr(self, name), f"1 to {MAX_IMAGE_SIDE}", "correct it")

    @property
    def action_size(self) -> int:
        """A: one joint delta for each joint."""
        return len(self.joints)

    def check_arm(self, robot: str, joints: Sequence[str], max_step_rad: float, run: str) -> None:
        """Refuse another arm or step than a policy learned with.

        Args:
            robot: name of the arm, for the message.
            joints, max_step_rad: what it has.
            run: name of the policy, for the message.

        Raises:
            BadInput: other joints, or another largest step.
        """
        if tuple(self.joints) != tuple(joints):
            allowed = f"one with the joints of {run}: {', '.join(self.joints)}"
            raise BadInput("robot", robot, allowed, "choose the one it learned with")
        if not math.isclose(self.max_step_rad, max_step_rad, rel_tol=1e-6):
            allowed = f"{self.max_step_rad:.6g} as in {run}"
            raise BadInput("max_step_rad of the task", max_step_rad, allowed, "choose the one it learned with")

    def check_image(self, height: int, width: int, run: str) -> None:
        """Refuse images [pixels] of another size than `run` learned with: `BadInput`."""
        if (height, width) != (self.image_height, self.image_width):
            allowed = f"{self.image_height}x{self.image_width} as in {run}"
            raise BadInput("image size", f"{height}x{width}", allowed, "choose the one it learned with")

    def to_manifest(self) -> dict[str, Any]:
        """Plain values for `manifest.json`."""
        return settings.as_dict(self)

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any], where: str = "observation spec") -> ObservationSpec:
        """The inverse of `to_manifest`; every mistake raises `BadInput` and names `where`."""
        return settings.build(cls, values, where)

    def normalise(self, obs: Obs | Normalised) -> Normalised:
        """Raw observations to network inputs.

        Args:
            obs: ``rgb`` u8 (B, H, W, 3), ``depth`` u16 [mm] (B, H, W), 0 where invalid, ``q`` f32 [rad] (B, J); NumPy
                arrays or tensors. Invalid depth and depth past `depth_max_m` become far (1).

        Raises:
            BadInput: a part is missing or its shape disagrees with this spec.
        """
        if isinstance(obs, Normalised):
            return obs
        rgb, depth, q = self._checked(obs)
        pixels = torch.empty((*depth.shape, 4), dtype=torch.uint8, device=rgb.device)
        pixels[..., :3] = rgb  # as bytes: a strided copy of floats takes longer than all the rest
        image = pixels.to(torch.float32).mul_(PER_LEVEL).sub_(1.0)
        depths = _depth_table(self.depth_max_m).to(rgb.device)
        image[..., 3] = depths.index_select(0, depth.reshape(-1).to(torch.int32)).view(depth.shape)
        offset, scale = _constant(self.q_offset_rad), _constant(self.q_scale_rad)
        joints = (q.to(torch.float32) - offset.to(q.device)) / scale.to(q.device)
        return Normalised(image.permute(0, 3, 1, 2), joints)

    def _checked(self, obs: Obs) -> tuple[Tensor, Tensor, Tensor]:
        missing = [key for key in OBS_KEYS if key not in obs]
        if missing:
            raise BadInput("observation", sorted(obs), "rgb, depth and q", f"add {', '.join(missing)}")
        rgb, depth, q = (_tensor(obs[key]) for key in OBS_KEYS)
        size = (self.image_height, self.image_width)
        shapes = {"rgb": (rgb, (*size, 3)), "depth": (depth, size), "q": (q, (self.action_size,))}
        for name, (array, shape) in shapes.items():
            if tuple(array.shape[1:]) != shape or len(array) != len(q):
                allowed = f"({len(q)}, {', '.join(map(str, shape))})"
                raise BadInput(f"observation {name} shape", tuple(array.shape), allowed, "match the policy's spec")
        return rgb, depth, q


@lru_cache(maxsize=8)
def _depth_table(depth_max_m: float) -> Tensor:
    """The network's input for each 16-bit depth [mm], (65536,)."""
    far_mm = depth_max_m * 1000.0
    with torch.inference_mode(False):
        depth_mm = torch.arange(1 << 16, dtype=torch.float32)
        depth_mm[0] = far_mm
        return depth_mm.clamp_(max=far_mm).mul_(255.0 / far_mm).mul_(PER_LEVEL).sub_(1.0)


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...]) -> Tensor:
    with torch.inference_mode(False):  # made once, also for use where gradients are taken
        return torch.tensor(values, dtype=torch.float32)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))  # torch cannot share read-only memory
