"""The package as pip and rosdep see it: what it declares, what is pinned, and what an installation holds."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vd_policy

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("ros", "export", "test")
"""What `make setup` installs."""
NODES = sorted(file.stem for file in (ROOT / "config" / "nodes").glob("*.yaml"))
DISTRIBUTION = {"yaml": "pyyaml", "PIL": "pillow", "cv2": "opencv-python-headless", "imageio_ffmpeg": "imageio-ffmpeg",
                "sb3_contrib": "sb3-contrib", "stable_baselines3": "sb3-contrib", "rclpy": "ros-rclpy",
                "rcl_interfaces": "ros-rclpy", "builtin_interfaces": "ros-rclpy"}  # fmt: skip
"""Distributions by module, where the names differ or another one brings it."""
WITH_A_ROS_INSTALLATION = {"launch", "launch_ros", "cv_bridge", "ament_index_python"}


def requirements(distribution: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed distribution needs here, with these of its extras."""
    found = [Requirement(text) for text in importlib.metadata.requires(distribution) or []]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in (*extras, ""))]


def closure() -> Iterator[str]:
    """Names of every distribution that `make setup` brings, the transitive ones included."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [("vd_policy", frozenset(EXTRAS))]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        todo += [(str(canonicalize_name(r.name)), frozenset(r.extras)) for r in requirements(name, extras)]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def imported_modules() -> set[str]:
    """Top-level modules that the package imports, its own and Python's left out."""
    modules = set()
    for file in (ROOT / "vd_policy").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules |= {name.split(".")[0] for name in names}
    return modules - set(sys.stdlib_module_names) - {"vd_policy", ""}


def test_everything_that_setup_installs_is_pinned_to_the_version_that_is_tested():
    pinned = pins()
    wrong = {name: (importlib.metadata.version(name), pinned.get(canonicalize_name(name)))
             for name in set(closure()) - {"vd_policy"}}  # fmt: skip
    wrong = {name: pair for name, pair in wrong.items() if pair[0].split("+")[0] != pair[1]}
    assert not wrong, f"installed against constraints.txt: {wrong}"


def test_every_module_that_is_imported_is_declared():
    declared = {canonicalize_name(Requirement(r).name) for r in importlib.metadata.requires("vd_policy") or []}
    ros = {r.removeprefix("ros-").replace("-", "_") for r in declared if r.startswith("ros-")}
    missing = {m for m in imported_modules() - WITH_A_ROS_INSTALLATION - ros
               if canonicalize_name(DISTRIBUTION.get(m, m)) not in declared}  # fmt: skip
    assert not missing, "add them to setup.py, constraints.txt and package.xml"


def test_the_manifest_is_what_colcon_and_rosdep_need():
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert manifest.get("format") == "3" and manifest.findtext("name") == "vd_policy"
    assert manifest.findtext("version") == vd_policy.__version__
    assert manifest.findtext("export/build_type") == "ament_python"
    maintainer = manifest.find("maintainer")
    # colcon takes a package with an invalid address for a plain Python package, without a word
    assert maintainer is not None and re.fullmatch(r"[\w.-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email", ""))
    depends = {element.text for element in manifest.iter("exec_depend")}
    messages = {module for module in imported_modules() if module.endswith(("_msgs", "_interfaces", "_srvs"))}
    assert messages | {"rclpy"} <= depends


def test_the_changelog_has_an_entry_for_this_version():
    assert f"## {vd_policy.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_make_setup_refuses_another_python_by_name(tmp_path: Path):
    other = tmp_path / "python"
    other.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n')
    other.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    done = subprocess.run(["make", "setup", f"PYTHON={other}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Python is Python 3.9.2; allowed: 3.11" in done.stderr and "fix: " in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment in which ``pip install .`` was run; dependencies come from this one."""
    folder = tmp_path_factory.mktemp("pip")
    source = copy_of_the_source(folder / "source")
    venv.create(folder / "venv", with_pip=False)
    library = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "venv" / "bin" / "python"), "install", "--quiet"]
    done = subprocess.run([*command, "--no-deps", "--no-build-isolation", "--ignore-installed", str(source)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return folder / "venv" / "bin"


def copy_of_the_source(to: Path) -> Path:
    skipped = shutil.ignore_patterns(".*", "build", "install", "log", "*.egg-info", "__pycache__", "runs", "demo")
    return Path(shutil.copytree(ROOT, to, ignore=skipped))


def test_pip_installs_the_command_and_the_nodes(installed: Path):
    assert all(os.access(installed / name, os.X_OK) for name in ("vd_policy", *NODES))


def test_an_installed_package_finds_its_files_far_from_the_source(installed: Path, tmp_path: Path):
    command = [str(installed / "vd_policy"), "evaluate", "expert", "--episodes", "1", "--image-size", "16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 success" in done.stdout, done.stderr


def test_an_installed_package_holds_every_file_that_the_source_shares(installed: Path):
    share = installed.parent / "share" / "vd_policy"
    for folder in ("urdf", "config", "launch"):
        there = {path.relative_to(share) for path in (share / folder).rglob("*") if path.is_file()}
        source = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*")
                  if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
        assert source <= there
    assert (share / "package.xml").is_file()
    assert (installed.parent / "share/ament_index/resource_index/packages/vd_policy").is_file()
    library = next(installed.parent.glob("lib/python*/site-packages/vd_policy"))
    templates = {path.relative_to(ROOT / "vd_policy") for path in (ROOT / "vd_policy").rglob("*.j2")}
    assert all((library / template).is_file() for template in templates)
