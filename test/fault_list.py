"""What docs/faults.md says is tested, and what is; ``python test/fault_list.py`` brings its last column up to date."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
FOLDER = Path(__file__).resolve().parent / "fault"
NUMBERS = re.compile(r"FAULTS? (\d+(?:(?:, | and )\d+)*)", re.IGNORECASE)
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \|(.*)\|$", re.MULTILINE)
FILE = re.compile(r"(test_fault_\w+\.py): ((?:`\w+`(?:, )?)+)")

Tests = dict[int, set[tuple[str, str]]]
"""Fault number to the (file, test) pairs that show its reaction."""


@functools.cache
def existing() -> Tests:
    """From the docstrings: ``FAULTS 25, 26: ...`` at the start of a test's, or of its file's where it has none."""
    found: Tests = defaultdict(set)
    for file in sorted(FOLDER.glob("test_*.py")):
        module = ast.parse(file.read_text())
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                match = NUMBERS.match(ast.get_docstring(node) or ast.get_docstring(module) or "")
                for number in re.findall(r"\d+", match.group(1)) if match else ():
                    found[int(number)].add((file.name, node.name))
    return found


def unnumbered() -> list[str]:
    """Tests of the folder that do not say which fault they are of."""
    said = {test for tests in existing().values() for test in tests}
    return [f"{file.name}::{node.name}" for file in sorted(FOLDER.glob("test_*.py"))
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            and (file.name, node.name) not in said]  # fmt: skip


def documented() -> Tests:
    """From the table's last column."""
    found: Tests = {}
    for number, _, _, tests in ROW.findall(DOCUMENT.read_text()):
        pairs = FILE.findall(tests)
        found[int(number)] = {(file, name) for file, names in pairs for name in re.findall(r"\w+", names)}
    return found


def rewrite() -> None:
    """Fill the last column from what exists."""
    tests = existing()

    def row(match: re.Match[str]) -> str:
        by_file: dict[str, list[str]] = defaultdict(list)
        for file, name in sorted(tests.get(int(match.group(1)), ())):
            by_file[file].append(f"`{name}`")
        cell = "<br>".join(f"{file}: {', '.join(names)}" for file, names in by_file.items())
        return f"| {match.group(1)} | {match.group(2)} | {match.group(3)} | {cell} |"

    DOCUMENT.write_text(ROW.sub(row, DOCUMENT.read_text()))


if __name__ == "__main__":
    rewrite()
