"""Files: whole or not at all, whatever goes wrong on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vd_policy.base.errors import BadInput, Missing, VdPolicyError
from vd_policy.base.files import new_directory, read_bytes, sha256_of, write_bytes, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path):
    write_bytes(tmp_path / "a", b"old")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and names(tmp_path) == ["a"]


def test_writing_into_a_folder_that_is_not_there_names_the_path(tmp_path: Path):
    with pytest.raises(VdPolicyError, match="none/a.*No such file.*intact"):
        write_json(tmp_path / "none" / "a", {})


def test_a_full_disk_is_one_clear_error_and_the_old_file_stays(tmp_path: Path):
    write_bytes(tmp_path / "a", b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from vd_policy.base.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(Path(sys.argv[1]), b'x' * 100000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True)
    assert "VdPolicyError: saving: cannot write" in done.stderr
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_a_directory_appears_complete_or_not_at_all(tmp_path: Path):
    target = tmp_path / "run"
    with pytest.raises(RuntimeError), new_directory(target) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == []
    with new_directory(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "whole").write_text("x")
        assert not target.exists()
    assert (target / "deep" / "whole").read_text() == "x" and names(tmp_path) == ["run"]


def test_a_directory_that_is_replaced_is_there_at_every_moment(tmp_path: Path):
    target, missing, done = tmp_path / "run", [], threading.Event()

    def look() -> None:
        while not done.is_set():
            if not target.exists():
                missing.append(1)

    with new_directory(target):
        pass
    looking = threading.Thread(target=look)
    looking.start()
    for number in range(300):
        with new_directory(target) as folder:
            (folder / "version").write_text(str(number))
    done.set()
    looking.join()
    assert not missing and (target / "version").read_text() == "299" and names(tmp_path) == ["run"]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path: Path):
    old, young, other = (tmp_path / f".tmp-run-{end}" for end in ("0badcafe", "deadbeef", "2-0badcafe"))
    for left in (old, young, other):
        left.mkdir()
        (left / "half").write_text("x")
    for left in (old, other):
        os.utime(left, (0, 0))
    with new_directory(tmp_path / "run"):
        pass
    assert names(tmp_path) == [".tmp-run-2-0badcafe", ".tmp-run-deadbeef", "run"], "another run's, and one just begun"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_failed_replacement_keeps_the_old_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool):
    if not exchanges:  # a file system that cannot let two names change places
        monkeypatch.setattr("vd_policy.base.files._exchanged", lambda a, b: False)
    target = tmp_path / "run"
    with new_directory(target) as folder:
        (folder / "version").write_text("1")
    with pytest.raises(RuntimeError), new_directory(target) as folder:
        (folder / "version").write_text("2")
        raise RuntimeError
    assert (target / "version").read_text() == "1" and names(tmp_path) == ["run"]
    with new_directory(target) as folder:
        (folder / "version").write_text("3")
    assert (target / "version").read_text() == "3" and names(tmp_path) == ["run"]


def test_a_process_killed_while_saving_leaves_the_old_version(tmp_path: Path):
    target = tmp_path / "run"
    with new_directory(target) as folder:
        (folder / "version").write_text("1")
    code = (
        "import sys, time; from pathlib import Path; from vd_policy.base.files import new_directory\n"
        "with new_directory(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'version').write_text('2'); print('writing', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (target / "version").read_text() == "1"


def test_reading_refuses_what_is_missing_linked_too_large_or_a_folder(tmp_path: Path):
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    os.symlink(file, tmp_path / "link")
    assert read_bytes(file, 5) == b"12345"
    with pytest.raises(BadInput, match="at most 4"):
        read_bytes(file, 4)
    with pytest.raises(BadInput, match="symbolic link"):
        read_bytes(tmp_path / "link", 5)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(Missing):
            read_bytes(path, 5)


def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    reference = subprocess.run(["sha256sum", tmp_path / "a"], capture_output=True, text=True, check=True)
    assert sha256_of(tmp_path / "a") == reference.stdout.split()[0]
