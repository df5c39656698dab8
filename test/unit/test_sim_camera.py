"""The camera: calibration, depth and what is in sight."""

from __future__ import annotations

import numpy as np
import pytest

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput
from vd_policy.sim.camera import Camera, CameraSettings
from vd_policy.sim.compositor import Compositor
from vd_policy.sim.scene import Scene, picture_of_the_table
from vd_policy.sim.tasks import load_task


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(load_robot())


def reach_camera(height: int, width: int) -> Camera:
    return Camera(load_task("reach").camera, height, width)


def project(camera: Camera, points_m: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in the base frame."""
    world_to_camera = np.linalg.inv(camera.pose)
    seen = (points_m @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]) @ camera.matrix.T
    return seen[:, :2] / seen[:, 2:]


def red(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., 0] > 60) & (rgb[..., 0] > 2.0 * rgb[..., 1]) & (rgb[..., 0] > 2.0 * rgb[..., 2])


def rims(cup_m: np.ndarray) -> np.ndarray:
    """Points around the foot and the rim of a cup, (N, 3)."""
    angles = np.linspace(0, 2 * np.pi, 48)
    ring = np.stack([0.035 * np.cos(angles), 0.035 * np.sin(angles), 0 * angles], axis=1) + cup_m
    return np.concatenate([ring, ring + [0.0, 0.0, 0.1]])


@pytest.mark.parametrize("size", [(128, 128), (97, 129), (256, 64)])
def test_depth_and_calibration_put_the_table_where_it_is(size: tuple[int, int]) -> None:
    camera = reach_camera(*size)
    depth = camera.millimetres(picture_of_the_table(camera)[1])
    rows, columns = np.nonzero(depth)
    rays = np.linalg.inv(camera.matrix) @ np.stack([columns, rows, np.ones_like(rows)])
    points = camera.pose[:3, :3] @ (rays * (depth[rows, columns] / 1000.0)) + camera.pose[:3, 3:]
    on_top = (np.abs(points[0] - 0.4) < 0.5) & (np.abs(points[1]) < 0.6)
    assert on_top.sum() > 500
    assert abs(points[2, on_top].mean()) < 2e-4 and np.abs(points[2, on_top]).max() < 2e-3


def test_the_cup_is_seen_where_the_calibration_says(scene: Scene) -> None:
    camera = reach_camera(256, 320)
    for cup in ([0.35, 0.25, 0.0], [0.6, -0.3, 0.0]):
        scene.restart(np.array(cup))
        rows, columns = np.nonzero(red(scene.render(camera)[0]))
        outline = project(camera, rims(np.array(cup)))
        seen = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert np.abs(np.array([*outline.min(axis=0), *outline.max(axis=0)]) - seen).max() < 1.5


def test_every_cup_of_the_region_is_whole_in_the_image_and_several_pixels_large_at_32(scene: Scene) -> None:
    camera, settings = reach_camera(32, 32), load_task("reach")
    for x in np.linspace(*settings.cup_region_m[0], 3):
        for y in np.linspace(*settings.cup_region_m[1], 4):
            scene.restart(np.array([x, y, 0.0]))
            assert red(scene.render(camera)[0]).sum() >= 4
            pixels = project(camera, rims(np.array([x, y, 0.0])))
            assert (pixels >= 0).all() and (pixels <= 31).all()


def test_depth_is_zero_beyond_the_range_and_millimetres_within() -> None:
    camera = Camera(CameraSettings(near_m=0.5, far_m=2.0), 8, 8)
    buffer = np.array([0.0, (1 / 0.5 - 1 / 1.0) / (1 / 0.5 - 1 / 2.0), 1.0], dtype=np.float32)
    assert camera.millimetres(buffer).tolist() == [500, 1000, 0]
    assert camera.millimetres(buffer).dtype == np.uint16


def test_composited_images_equal_full_ones_bit_for_bit_over_random_poses() -> None:
    whole, part = Scene(load_robot()), Scene(load_robot())
    camera, rng = reach_camera(96, 128), np.random.default_rng(5)
    compositor = Compositor(part, camera)
    for _ in range(30):
        cup, q = np.array([rng.uniform(0.3, 0.65), rng.uniform(-0.35, 0.35), 0.0]), rng.uniform(0.9, 5.4, 6)
        for scene in (whole, part):
            scene.restart(cup)
            scene.set_joints(q)
        rgba, buffer = whole.render(camera)
        rgb, depth = compositor.render()
        assert np.array_equal(rgb, rgba[..., :3])
        assert np.array_equal(depth, camera.millimetres(buffer))


@pytest.mark.parametrize("size", [(0, 128), (128, 5000), (12.5, 128), (True, 128)])
def test_an_impossible_image_size_is_refused_by_name(size: tuple) -> None:
    with pytest.raises(BadInput, match="image_(height|width)"):
        Camera(CameraSettings(), *size)


def test_a_camera_without_an_upright_image_is_refused() -> None:
    with pytest.raises(BadInput, match=r"look_at_m is \(0\.3, 0\.0, 0\.0\);"):
        Camera(CameraSettings(position_m=(0.3, 0.0, 1.0), look_at_m=(0.3, 0.0, 0.0)), 32, 32)
    with pytest.raises(BadInput, match="near_m"):
        Camera(CameraSettings(near_m=3.0, far_m=2.0), 32, 32)
