"""The ament_python and pip package `vd_policy`."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
NAME = "vd_policy"
NODES = ("sim", "expert", "recorder", "policy", "safety", "gripper", "learner")
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / NAME / "__init__.py").read_text()).group(1)

ROS = [
    "ros-rclpy[fastrtps]==7.1.6",
    "ros-sensor-msgs>=5.3,<5.4",
    "ros-trajectory-msgs>=5.3,<5.4",
    "ros-std-msgs>=5.3,<5.4",
    "ros-std-srvs>=5.3,<5.4",
    "ros-diagnostic-msgs>=5.3,<5.4",
    "ros-lifecycle-msgs>=2.0,<2.1",
    "ros-rosgraph-msgs>=2.0,<2.1",
]
EXPORT = ["onnx", "onnxruntime"]
BENCH = ["sb3-contrib"]
MINARI = ["minari", "h5py"]
TEST = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "packaging",
    "scipy",
    "ruff",
    "mypy",
    "types-PyYAML",
    "colcon-common-extensions",
]


def shared_files() -> list[tuple[str, list[str]]]:
    """`data_files` entries that copy `urdf/`, `config/` and `launch/` under ``share/vd_policy``, folder by folder."""
    folders: dict[str, list[str]] = {}
    for root in ("urdf", "config", "launch"):
        for file in sorted((HERE / root).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                relative = file.relative_to(HERE)
                folders.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(folders.items())


setup(
    name=NAME,
    version=VERSION,
    description="Variational-dropout pre-training and TRPO for a camera-driven robot arm on ROS 2",
    license="BSD-3-Clause",
    maintainer="vd_policy maintainers",
    maintainer_email="maintainers@vd-policy.example.com",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["*/*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared_files(),
    ],
    python_requires=">=3.11",
    install_requires=[
        "setuptools",
        "gymnasium",
        "honcho",
        "ikpy",
        "imageio-ffmpeg",
        "Jinja2",
        "lz4",
        "matplotlib",
        "mcap",
        "numpy",
        "opencv-python-headless",  # the same cv2 as opencv-python, without the libGL that a bare machine lacks
        "pillow",
        "pybullet",
        "PyYAML",
        "rosbags",
        "ruamel.yaml.clib",  # rosbags then opens a bag in less than half of the time
        "safetensors",
        "tensorboard",
        "torch",
        "tqdm",
        "zstandard",
    ],
    extras_require={"ros": ROS, "export": EXPORT, "bench": BENCH, "minari": MINARI, "test": [*TEST, *EXPORT, *MINARI]},
    entry_points={
        "console_scripts": [f"{NAME} = {NAME}.cli.main:main", *(f"{node} = {NAME}.nodes.{node}:main" for node in NODES)]
    },
    zip_safe=True,
)
