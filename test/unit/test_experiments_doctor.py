"""The doctor does what it reports on, and a broken part does not silence the other checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vd_policy.experiments.doctor import PACKAGES, examine, report


def doctor(folder: Path, **env: str) -> tuple[int, dict, subprocess.CompletedProcess[str]]:
    file = folder / "f.json"
    command = [sys.executable, "-m", "vd_policy.cli.main", "doctor", "--dir", str(folder), "--json", str(file)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    return done.returncode, json.loads(file.read_text()), done


def test_a_complete_installation_is_found_complete(tmp_path: Path):
    code, found, done = doctor(tmp_path)
    missing = [name for name in found["missing"] if name != "disk"]  # a small disk is not the package's doing
    assert not missing, done.stdout
    assert code == (1 if found["missing"] else 0)
    assert "round trip between two processes" in found["checks"]["DDS"]["detail"]
    assert "renders" in found["checks"]["simulation"]["detail"]


def test_a_broken_middleware_is_named_with_its_fix_and_the_rest_is_still_checked(tmp_path: Path):
    code, found, done = doctor(tmp_path, RMW_IMPLEMENTATION="rmw_of_nobody")
    assert code == 1 and {"rclpy", "DDS"} <= set(found["missing"])
    assert "RMW_IMPLEMENTATION" in found["checks"]["DDS"]["fix"]
    assert found["checks"]["ffmpeg"]["state"] == "ok"
    assert "Something needed is missing" in done.stdout and "Traceback" not in done.stderr


def test_a_package_that_is_not_there_is_missing_and_an_optional_one_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rosbags", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("vd_policy.experiments.doctor._dds", lambda: "not asked here")
    monkeypatch.setattr("vd_policy.experiments.doctor._rclpy", lambda: "not asked here")
    states = {finding.name: finding.state for finding in examine(tmp_path)}
    assert states["rosbags"] == "missing" and states["onnxruntime"] == "optional"
    assert set(PACKAGES.values()) <= set(states)


def test_the_report_says_what_to_do_about_each_thing_that_is_missing(tmp_path: Path):
    from vd_policy.experiments.doctor import Finding

    text = report([Finding("a", "ok", "1.0"), Finding("bb", "missing", "not installed", "install it")])
    assert text.splitlines() == ["ok        a   1.0", "missing   bb  not installed  ->  install it", "",
                                 "Something needed is missing: bb"]  # fmt: skip
