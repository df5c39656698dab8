"""The memory of a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from vd_policy.base.errors import VdPolicyError
from vd_policy.control.latch import LatchFile


def test_a_latched_reason_is_read_back_and_cleared(tmp_path: Path) -> None:
    latch = LatchFile(tmp_path / "deep" / "latch.json")
    assert latch.read() == ""
    latch.write("because")
    assert LatchFile(latch.path).read() == "because"
    latch.clear()
    latch.clear()
    assert latch.read() == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xff", b'{"why": 1}', b"x" * 100_000])
def test_a_latch_file_that_cannot_be_read_counts_as_a_stop(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latch.json").write_bytes(content)
    assert "cannot be read" in LatchFile(tmp_path / "latch.json").read()


def test_a_latch_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VdPolicyError, match="latching the stop"):
        LatchFile(tmp_path / "file" / "latch.json").write("because")
