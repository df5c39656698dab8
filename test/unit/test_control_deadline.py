"""The deadline meter and the latest-wins slot."""

from __future__ import annotations

import itertools
import sys
import threading

import pytest

from vd_policy.control.deadline import DeadlineMeter
from vd_policy.control.slot import LatestSlot


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_meter_reports_percentiles_misses_and_where_the_time_went() -> None:
    clock = Clock()
    meter = DeadlineMeter(0.010, clock)
    for i in range(100):
        with meter.section("observe"):
            clock.now += 0.001
        with meter.section("infer"):
            clock.now += 0.020 if i == 99 else 0.004
        assert meter.tick() == (i == 99)
    figures = meter.summary()
    assert (figures["cycles"], figures["misses"]) == (100, 1)
    assert figures["p50_ms"] == pytest.approx(5.0)
    assert figures["infer_p50_ms"] == pytest.approx(4.0)
    assert figures["observe_p99_ms"] == pytest.approx(1.0)


def test_latency_counts_from_the_arrival_of_the_input() -> None:
    clock = Clock()
    meter = DeadlineMeter(0.010, clock)
    clock.now = 1.0
    assert meter.tick(started_s=0.985)
    assert meter.summary()["p50_ms"] == pytest.approx(15.0)


def test_a_pause_on_purpose_is_no_jitter() -> None:
    clock = Clock()
    meter = DeadlineMeter(0.010, clock)
    meter.tick()
    meter.pause()
    clock.now = 100.0
    meter.tick()
    clock.now = 100.1
    meter.tick()
    assert meter.summary()["interval_p99_ms"] == pytest.approx(100.0)


def test_an_unused_meter_reports_zeros() -> None:
    assert DeadlineMeter(0.01).summary()["p99_ms"] == 0.0


def test_the_slot_hands_out_the_newest_item_and_counts_the_replaced() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take() == 3
    assert slot.replaced == 2
    assert slot.take(timeout_s=0.0) is None


def test_closing_the_slot_wakes_its_reader() -> None:
    slot: LatestSlot[int] = LatestSlot()
    answers: list[int | None] = []
    reader = threading.Thread(target=lambda: answers.append(slot.take()))
    reader.start()
    slot.close()
    reader.join(10)
    assert answers == [None]


def test_a_loop_may_be_looked_at_from_another_thread_while_it_begins_a_section() -> None:
    meter, over, before = DeadlineMeter(0.010), threading.Event(), sys.getswitchinterval()

    def loop() -> None:
        for i in itertools.count():
            with meter.section(str(i % 50)):
                meter.tick()
            if i % 50 == 49:
                meter.reset()
            if over.is_set():
                return

    thread = threading.Thread(target=loop)
    thread.start()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            meter.summary()
    finally:
        sys.setswitchinterval(before)
        over.set()
        thread.join()
