"""One commander at a time."""

from __future__ import annotations

from vd_policy.control.commanders import Commanders, twins


def test_a_silent_commander_loses_the_arm() -> None:
    commanders = Commanders(0.5)
    assert commanders.admit("/a", 0.0) == ""
    assert commanders.admit("/b", 0.5) != ""
    assert commanders.admit("/b", 0.51) == ""
    assert commanders.owner == "/b"


def test_a_second_node_of_the_same_name_is_refused_by_its_sequence_numbers() -> None:
    commanders = Commanders(0.5)
    assert commanders.admit("/policy", 0.0, sequence=100) == ""
    assert "second node named /policy" in commanders.admit("/policy", 0.1, sequence=3)
    assert commanders.admit("/policy", 0.2, sequence=101) == ""


def test_a_second_node_of_the_same_name_is_refused_however_long_its_publisher_has_lived() -> None:
    commanders = Commanders(0.5)
    commanders.admit("/policy", 0.0, sequence=100)
    assert "second node named /policy" in commanders.admit("/policy", 0.1, sequence=5001)
    assert commanders.admit("/policy", 0.2, sequence=101) == ""
    assert commanders.admit("/policy", 0.3, sequence=111) == "", "ten were lost on the way"


def test_a_node_that_was_started_again_may_command_after_the_silence() -> None:
    commanders = Commanders(0.5)
    commanders.admit("/policy", 0.0, sequence=100)
    assert commanders.admit("/policy", 1.0, sequence=1) == ""


def test_a_command_without_a_sender_is_refused() -> None:
    assert "frame_id" in Commanders(0.5).admit("", 0.0)


def test_contenders_are_named_as_long_as_they_try() -> None:
    commanders = Commanders(0.5)
    commanders.admit("/a", 0.0)
    commanders.admit("/b", 0.1)
    assert commanders.contending(0.2) == ("/b",)
    assert commanders.contending(1.0) == ()


def test_twins_are_found_by_name() -> None:
    assert twins(["/a", "/b", "/a"]) == ("/a",)
