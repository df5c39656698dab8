"""A clip of the arm at work: the scene beside what the camera sees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import imageio_ffmpeg
import numpy as np

from vd_policy.base.episode import Obs
from vd_policy.base.files import write_bytes
from vd_policy.experiments.evaluate import Request, start_seed
from vd_policy.learning.rollout import rollout
from vd_policy.sim import picture as pictures

FRAMES_PER_SECOND = 10
FRAMES_PER_STEP = 3
FRAMES_AT_END = 10
SEAM = 8
SUCCESS_RGB, OTHER_RGB = (46, 160, 67), (207, 34, 46)


class Filmed(gymnasium.Wrapper):
    """Hands a frame of every state to `write`; a frame at an episode's end has a green or red seam."""

    def __init__(self, env: gymnasium.Env, write: Callable[[np.ndarray], Any]) -> None:
        super().__init__(env)
        self._write = write

    def reset(self, **options: Any) -> tuple[Obs, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        self._show(obs, None, FRAMES_PER_STEP)
        return obs, info

    def step(self, action: Any) -> tuple[Obs, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        over = terminated or truncated
        self._show(obs, info["success"] if over else None, FRAMES_AT_END if over else FRAMES_PER_STEP)
        return obs, reward, terminated, truncated, info

    def _show(self, obs: Obs, success: bool | None, count: int) -> None:
        picture = frame(np.asarray(self.env.render()), obs, success)
        for _ in range(count):
            self._write(picture)


def frame(picture: np.ndarray, obs: Obs, success: bool | None) -> np.ndarray:
    """Scene, colour and depth side by side, u8 (H, W, 3).

    Args:
        picture: the scene, u8 (`pictures.HEIGHT`, `pictures.WIDTH`, 3).
        obs: one raw observation, without a leading dimension.
        success: colours the seam, None leaves it black.
    """
    depth = obs["depth"].astype(np.float32)
    seen = depth[depth > 0]
    near, far = (seen.min(), max(seen.max(), seen.min() + 1)) if seen.size else (0.0, 1.0)
    grey = np.where(depth > 0, 255 - 225 * (depth - near) / (far - near), 0).astype(np.uint8)
    views = [picture, _enlarged(obs["rgb"]), _enlarged(np.repeat(grey[..., None], 3, axis=2))]
    strip = np.concatenate(views, axis=1)
    colour = (0, 0, 0) if success is None else SUCCESS_RGB if success else OTHER_RGB
    seam = np.broadcast_to(np.array(colour, np.uint8), (SEAM, strip.shape[1], 3))
    return np.ascontiguousarray(np.concatenate([strip, seam]))


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Scaled to the height of the scene by repeating pixels, so that the real resolution shows."""
    height, width = image.shape[:2]
    shown = _width(height, width)
    return image[np.arange(pictures.HEIGHT) * height // pictures.HEIGHT][:, np.arange(shown) * width // shown]


def _width(height: int, width: int) -> int:
    """Columns of an image of this size [px] when it is as high as the scene."""
    return max(1, round(pictures.HEIGHT * width / height))


def film(request: Request, episodes: int, path: Path) -> None:
    """Play the first starts again, to the bit, and write them as MP4 (H.264)."""
    env, actor = request.open(render_mode="rgb_array")
    size = (pictures.WIDTH + 2 * _width(env.camera.height, env.camera.width), pictures.HEIGHT + SEAM)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "clip.mp4"
            writer = imageio_ffmpeg.write_frames(str(clip), size, fps=FRAMES_PER_SECOND, macro_block_size=2)
            writer.send(None)
            try:
                filmed = Filmed(env, writer.send)
                for index in range(episodes):
                    rollout(filmed, actor, seed=start_seed(request.seed, index), explore=request.samples)
            finally:
                writer.close()
            write_bytes(path, clip.read_bytes())
    finally:
        env.close()
