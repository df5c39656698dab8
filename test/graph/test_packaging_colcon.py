"""The package as colcon builds it, plain and with --symlink-install."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ("sim", "expert", "recorder", "policy", "safety", "gripper", "learner")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("colcon_core") is None, reason="colcon is not installed")


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["plain", "symlinked"])
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which ``colcon build`` was run on a copy of the source."""
    folder = tmp_path_factory.mktemp("colcon")
    skipped = shutil.ignore_patterns(".*", "build", "install", "log", "*.egg-info", "__pycache__", "runs", "demo")
    shutil.copytree(ROOT, folder / "src" / "vd_policy", ignore=skipped)
    env = {**os.environ, "COLCON_HOME": str(folder / "home"), "COLCON_LOG_LEVEL": "warning"}
    colcon = "import sys; from colcon_core.command import main; sys.exit(main())"
    build = [sys.executable, "-c", colcon, "build", *request.param]
    done = subprocess.run(build, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "1 package finished" in done.stdout, done.stdout + done.stderr
    return folder


def test_the_nodes_and_the_files_lie_where_ros_looks_for_them(workspace: Path):
    prefix = workspace / "install" / "vd_policy"
    assert all(os.access(prefix / "lib" / "vd_policy" / name, os.X_OK) for name in ("vd_policy", *NODES))
    assert (prefix / "share/ament_index/resource_index/packages/vd_policy").exists()
    for folder in ("urdf", "config", "launch"):
        source = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert all((prefix / "share" / "vd_policy" / path.relative_to(ROOT)).exists() for path in source)


def test_a_sourced_workspace_runs_its_own_build(workspace: Path):
    script = f"source install/setup.bash && cd / && {sys.executable} -c 'import vd_policy; print(vd_policy.__file__)'"
    done = subprocess.run(["bash", "-c", script], cwd=workspace, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(workspace)


def test_the_built_sim_starts_publishes_and_ends_on_request(workspace: Path, ros):
    from sensor_msgs.msg import JointState

    sim = workspace / "install" / "vd_policy" / "lib" / "vd_policy" / "sim"
    script = f"source {workspace}/install/setup.bash && exec {sim} --ros-args -p image_height:=16 -p image_width:=16"
    process = ros.run("sim", ["bash", "-c", script], PYTHONPATH="")
    heard = ros.probe.listen(JointState, "joint_states")
    ros.wait_for(lambda: heard, "joint states of the built sim")
    assert process.stop() == 0
