"""The recorder under load, small."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from vd_policy.base.errors import BadInput
from vd_policy.experiments.bench_record import bench_record


def test_what_many_cameras_send_is_what_is_read_back(tmp_path: Path) -> None:
    figures = bench_record(16, cameras=2, frame_rate_hz=50.0, joint_rate_hz=500.0, seconds=1.0, folder=tmp_path)
    for name in ("compressed", "plain"):
        assert figures[f"{name}_sent"] == 500 + 2 * 2 * 50
        assert figures[f"{name}_lost_images"] == figures[f"{name}_lost_joint_states"] == 0
        assert math.isfinite(figures[f"{name}_mb_per_s"])
    assert not list(tmp_path.iterdir())


def test_pictures_faster_than_the_joints_they_go_with_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="joint_rate_hz"):
        bench_record(16, cameras=1, frame_rate_hz=30.0, joint_rate_hz=10.0, seconds=1.0, folder=tmp_path)
