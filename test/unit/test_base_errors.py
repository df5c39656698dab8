"""Errors: one line that names the thing, its value, what is allowed and the fix."""

from __future__ import annotations

from vd_policy.base.errors import BadInput, Missing, VdPolicyError


def test_bad_input_is_one_line_with_all_four_parts():
    error = BadInput("--noise", "a\nb", "at least\n0", "use 0.25")
    assert str(error) == "--noise is 'a\\nb'; allowed: at least 0; fix: use 0.25"


def test_a_long_value_is_cut():
    assert len(str(BadInput("x", "y" * 10_000, "less", "shorten it"))) < 200


def test_what_a_person_did_ends_with_2_and_what_failed_with_1():
    assert VdPolicyError("x").exit_code == 1
    assert BadInput("a", 1, "b", "c").exit_code == 2
    assert Missing("a", 1, "b", "c").exit_code == 2 and issubclass(Missing, VdPolicyError)
