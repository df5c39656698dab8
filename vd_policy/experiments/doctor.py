"""What is installed, what is missing, and how to mend it: each check really does the thing it reports on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vd_policy.base.errors import VdPolicyError
from vd_policy.base.resources import share_directory
from vd_policy.graph.domain import own_domain
from vd_policy.graph.process import environment
from vd_policy.messages.resize import OPENCV_FIX

SETUP = "make setup"
DDS_DEADLINE_S = 15.0
DISK_NEEDED_GB = 5.0
"""What the demo and its recordings take, with room to spare."""

PACKAGES = {
    "numpy": "numpy", "yaml": "PyYAML", "gymnasium": "gymnasium", "ikpy": "ikpy", "rosbags": "rosbags", "mcap": "mcap",
    "safetensors": "safetensors", "honcho": "honcho", "tqdm": "tqdm", "matplotlib": "matplotlib", "jinja2": "Jinja2",
    "PIL": "pillow", "tensorboard": "tensorboard",
}  # fmt: skip
"""Modules that every command may need, and the distributions that bring them."""

OPTIONAL = {
    "onnxruntime": "ONNX Runtime as inference engine: pip install 'vd_policy[export]'",
    "cv_bridge": "image encodings beyond rgb8, bgr8, rgba8, bgra8, mono8, 16UC1, 32FC1: needs a full ROS 2",
    "launch_ros": "ros2 launch: needs a full ROS 2; vd_policy up starts the same graph without it",
    "colcon_core": "colcon build: pip install colcon-common-extensions",
    "minari": "vd_policy export-dataset: pip install 'vd_policy[minari]'",
    "stable_baselines3": "the peers of vd_policy bench: pip install 'vd_policy[bench]'",
}
"""Modules that the main job works without, and what they are for."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: str
    """``ok``, ``missing`` (needed: the exit code is 1) or ``optional`` (absent, and the main job works without it)."""
    detail: str
    """The version or the measured thing."""
    fix: str = ""
    """What to do when it is not ok."""


def examine(directory: Path = Path(".")) -> list[Finding]:
    """Run every check; a check that breaks is a finding too, never an exception.

    Args:
        directory: where recordings and runs would be written.
    """
    return [
        _guarded("Python", SETUP, _python),
        _guarded("package", "install vd_policy again", _package),
        *(_guarded(name, SETUP, partial(_installed, module, name)) for module, name in PACKAGES.items()),
        _guarded("torch", SETUP, _torch),
        _guarded("simulation", "pip install --no-build-isolation pybullet, with numpy already installed", _simulation),
        _guarded("OpenCV", OPENCV_FIX, _opencv),
        _guarded("ffmpeg", "pip install imageio-ffmpeg", _ffmpeg),
        _guarded("rclpy", "make setup, or source /opt/ros/jazzy/setup.bash on a full ROS 2", _rclpy),
        _guarded("DDS", "ip link set lo multicast on; look at RMW_IMPLEMENTATION and ROS_LOCALHOST_ONLY", _dds),
        _guarded("disk", f"free space until {DISK_NEEDED_GB:.0f} GB are left", partial(_disk, directory)),
        _guarded("cores", "stop other work: real time needs two free cores", _cores),
        *(_optional(module, use) for module, use in OPTIONAL.items()),
    ]


class _Failed(Exception):
    """A check's own verdict; its text becomes the finding's detail."""


def _guarded(name: str, fix: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except (_Failed, VdPolicyError) as verdict:
        return Finding(name, "missing", str(verdict), fix)
    except Exception as error:  # whatever is broken in an installation, the other checks must still run
        return Finding(name, "missing", f"{type(error).__name__}: {error}", fix)


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{version} ({sys.executable})"


def _package() -> str:
    version = importlib.metadata.version("vd_policy")
    return f"{version}, files in {share_directory()}"


def _installed(module: str, distribution: str) -> str:
    if importlib.util.find_spec(module) is None:
        raise _Failed("not installed")
    return _version(distribution)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _torch() -> str:
    import torch

    if float(torch.ones(2) @ torch.ones(2)) != 2.0:
        raise _Failed(f"{torch.__version__} computes wrongly")
    return f"{torch.__version__}, {'CUDA' if torch.cuda.is_available() else 'CPU'}"


def _simulation() -> str:
    """Render one observation; the env itself refuses a PyBullet that was built without numpy."""
    import numpy as np

    from vd_policy.sim.env import ArmEnv

    env = ArmEnv(image_height=32, image_width=32)
    try:
        observation, _ = env.reset(seed=0)
    finally:
        env.close()
    if len(np.unique(observation["rgb"])) < 2 or not observation["depth"].any():
        raise _Failed("the camera sees nothing")
    return f"PyBullet {_version('pybullet')} renders"


def _opencv() -> str:
    import cv2  # a wheel that is installed may still lack libraries of the system

    return cv2.__version__


def _ffmpeg() -> str:
    import imageio_ffmpeg

    done = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-version"], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise _Failed(f"ends with exit code {done.returncode}")
    return " ".join(done.stdout.split()[:3])


def _rclpy() -> str:
    code = "import rclpy; rclpy.init(); from rclpy.utilities import get_rmw_implementation_identifier as f; print(f())"
    done = _child(["-c", code], timeout_s=60)
    if done.returncode:
        raise _Failed(_last_line(done.stderr))
    return f"{_version('ros-rclpy')} with {_last_line(done.stdout)}"


def _dds() -> str:
    """A message to another process and back, on localhost, away from any graph that runs here."""
    module = [sys.executable, "-m", "vd_policy.nodes.roundtrip"]
    with own_domain():
        env = environment()
        echo = subprocess.Popen([*module, "echo"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            ping = [*module, "ping", str(DDS_DEADLINE_S)]
            done = subprocess.run(ping, env=env, capture_output=True, text=True, timeout=DDS_DEADLINE_S + 30)
        finally:
            echo.kill()
            echo.wait()
    if done.returncode:
        raise _Failed(_last_line(done.stderr) or f"no answer from another process within {DDS_DEADLINE_S:.0f} s")
    return f"round trip between two processes {_last_line(done.stdout)} ms"


def _child(arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment(), capture_output=True, text=True, timeout=timeout_s
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _disk(directory: Path) -> str:
    free_gb = shutil.disk_usage(directory).free / 1e9
    if not os.access(directory, os.W_OK):
        raise _Failed(f"{directory.absolute()} cannot be written")
    if free_gb < DISK_NEEDED_GB:
        raise _Failed(f"{free_gb:.1f} GB free in {directory.absolute()}")
    return f"{free_gb:.0f} GB free"


def _cores() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{cores}, load {os.getloadavg()[0]:.1f}"


def _optional(module: str, use: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, "optional", "not installed", use)
    return Finding(module, "ok", "installed")


def report(findings: Iterable[Finding]) -> str:
    """The findings as a table, then one line of verdict."""
    rows = list(findings)
    width = max(len(finding.name) for finding in rows)
    lines = [f"{f.state:<8}  {f.name:<{width}}  {f.detail}" + (f"  ->  {f.fix}" if f.fix else "") for f in rows]
    missing = [finding.name for finding in rows if finding.state == "missing"]
    verdict = "Something needed is missing: " + ", ".join(missing) if missing else "Everything needed is there."
    return "\n".join([*lines, "", verdict])
