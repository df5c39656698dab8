"""How fast the environment steps and renders, on the processor's clock and on the wall's."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from vd_policy.arm.spec import load_robot
from vd_policy.sim.camera import Camera
from vd_policy.sim.compositor import Compositor
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.scene import Scene
from vd_policy.sim.tasks import load_task


def bench_sim(steps: int = 1000, sizes: tuple[int, ...] = (32, 128, 256), seed: int = 0) -> dict[str, float]:
    """Steps a second on one core under random actions, resets included, and the cost of one image.

    CPU time leaves out what other programs took of the machine; it is what one core gives when it is quiet.

    Args:
        steps: environment steps per figure.
        sizes: image heights and widths [px].
        seed: of the actions and the cups.

    Returns:
        ``steps_per_s_cpu_<size>`` and ``steps_per_s_wall_<size>`` of reaching in kinematic motion,
        ``steps_per_s_cpu_position_<size>`` of position control at the first size, and ``steps_per_s_cpu_grasp_<size>``
        of kinematic grasping at the last; ``image_ms_<size>`` of CPU time composited and ``full_image_ms_<size>``
        whole.
    """
    figures: dict[str, float] = {}
    for size in sizes:
        cpu, wall = _time_steps(ArmEnv(image_height=size, image_width=size), steps, seed)
        figures[f"steps_per_s_cpu_{size}"], figures[f"steps_per_s_wall_{size}"] = steps / cpu, steps / wall
        figures |= _time_images(size, count=max(20, steps // 10))
    slow = max(20, steps // 10)
    env = ArmEnv(image_height=sizes[0], image_width=sizes[0], motion="position")
    figures[f"steps_per_s_cpu_position_{sizes[0]}"] = slow / _time_steps(env, slow, seed)[0]
    env = ArmEnv("grasp", image_height=sizes[-1], image_width=sizes[-1])
    figures[f"steps_per_s_cpu_grasp_{sizes[-1]}"] = steps / _time_steps(env, steps, seed)[0]
    return {name: round(value, 3) for name, value in figures.items()}


def _time_steps(env: ArmEnv, steps: int, seed: int) -> tuple[float, float]:
    """CPU and wall seconds for so many steps."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)

    def run(count: int) -> None:
        for _ in range(count):
            _, _, terminated, truncated, _ = env.step(rng.uniform(-1.0, 1.0, len(env.robot)))
            if terminated or truncated:
                env.reset()

    run(20)
    times = _timed(lambda: run(steps))
    env.close()
    return times


def _time_images(size: int, count: int) -> dict[str, float]:
    """CPU milliseconds of one RGBD image at home, composited and whole."""
    camera = Camera(load_task("reach").camera, size, size)
    part, whole = Scene(load_robot()), Scene(load_robot())
    compositor = Compositor(part, camera)
    for scene in (part, whole):
        scene.restart(np.array([0.45, 0.1, 0.0]))
    composited = _timed(lambda: [compositor.render() for _ in range(count)])[0]
    full = _timed(lambda: [whole.render(camera) for _ in range(count)])[0]
    return {f"image_ms_{size}": 1000 * composited / count, f"full_image_ms_{size}": 1000 * full / count}


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall
