"""One observation out of several topics."""

from __future__ import annotations

from vd_policy.control.assembler import Assembled, ObservationAssembler

MS = 1_000_000
KINDS = ("rgb", "depth", "q")


def fill(assembler: ObservationAssembler, stamp_ns: int, *kinds: str) -> Assembled | None:
    made = None
    for kind in kinds or assembler.need:
        made = assembler.add(kind, stamp_ns, f"{kind}@{stamp_ns}", 1.0) or made
    return made


def test_an_observation_is_complete_in_any_order_of_arrival() -> None:
    for order in (KINDS, KINDS[::-1], ("q", "rgb", "depth")):
        made = fill(ObservationAssembler(0.0, KINDS), 5, *order)
        assert made is not None
        assert made.values == {kind: f"{kind}@5" for kind in KINDS}


def test_an_observation_is_handed_out_once_though_its_parts_are_repeated() -> None:
    assembler = ObservationAssembler(0.0)
    assert fill(assembler, 5) is not None
    assert fill(assembler, 5) is None
    assert fill(assembler, 6) is not None


def test_without_tolerance_only_equal_stamps_belong_together() -> None:
    assembler = ObservationAssembler(0.0, KINDS)
    assembler.add("rgb", 5, "", 0.0)
    assembler.add("depth", 6, "", 0.0)
    assert assembler.add("q", 5, "", 0.0) is None


def test_the_joints_nearest_to_the_picture_are_taken() -> None:
    assembler = ObservationAssembler(0.02, KINDS)
    for i in range(100):
        assembler.add("q", 1 + i * MS, i, 0.0)
    assembler.add("depth", 1 + 50 * MS, "d", 0.0)
    made = assembler.add("rgb", 1 + 47 * MS, "c", 0.25)
    assert made is not None
    assert made.values["q"] == 47
    assert made.received_s == 0.25


def test_the_newest_complete_observation_wins_and_the_older_ones_are_counted() -> None:
    assembler = ObservationAssembler(0.001, KINDS)
    for i in (1, 2, 3):
        fill(assembler, i * 10 * MS, "rgb", "depth")
    made = fill(assembler, 30 * MS, "q")
    assert made is not None and made.stamp_ns == 30 * MS
    assert assembler.unpaired == 2
    assert fill(assembler, 20 * MS + 1, "q") is None


def test_pictures_that_never_find_a_partner_are_dropped_and_counted() -> None:
    assembler = ObservationAssembler(0.001, KINDS)
    for i in range(1, 101):
        fill(assembler, i * 10 * MS, "rgb")
    assert assembler.unpaired == 92


def test_nothing_is_combined_across_a_clock_jump() -> None:
    assembler = ObservationAssembler(0.01, KINDS)
    fill(assembler, 1000 * MS, "rgb", "q")
    assert fill(assembler, 10 * MS, "q") is None
    assert fill(assembler, 1000 * MS, "depth") is None  # a straggler of the old time
    assert assembler.jumps == 1
    fill(assembler, 20 * MS, "depth")
    assert fill(assembler, 20 * MS, "rgb", "depth", "q") is not None


def test_stamps_of_zero_and_from_the_future_are_refused() -> None:
    assembler = ObservationAssembler(0.0, KINDS)
    assembler.add("rgb", 0, "", 0.0)
    assembler.add("rgb", 2_000 * MS, "", 0.0, clock_ns=1_000 * MS)
    assert assembler.refused == {"rgb": 2}
