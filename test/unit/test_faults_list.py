"""The list of faults in the documentation and the tests under test/fault are the same."""

from __future__ import annotations

import fault_list


def test_every_fault_is_listed_once_and_tested() -> None:
    assert [int(row[0]) for row in fault_list.ROW.findall(fault_list.DOCUMENT.read_text())] == list(range(1, 41))
    assert [number for number in range(1, 41) if not fault_list.existing()[number]] == []


def test_the_list_names_exactly_the_tests_that_exist() -> None:
    existing, documented = fault_list.existing(), fault_list.documented()
    differing = {n: existing[n] ^ documented.get(n, set()) for n in range(1, 41) if existing[n] != documented.get(n)}
    assert not differing, "bring docs/faults.md up to date: python test/fault_list.py"


def test_every_fault_test_says_which_fault_it_is_of() -> None:
    assert fault_list.unnumbered() == []
