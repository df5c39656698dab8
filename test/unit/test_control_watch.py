"""Whether a policy may trust what it sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from vd_policy.control.pacer import Pacer
from vd_policy.control.watch import InputWatch, Problem, WatchSettings

S = 1_000_000_000
rng = np.random.default_rng(0)


def observation(q: float = 0.0, invalid: float = 0.0) -> dict[str, Any]:
    depth = rng.integers(500, 1500, (10, 10)).astype(np.uint16)
    depth.ravel()[: round(100 * invalid)] = 0
    return {"rgb": rng.integers(0, 255, (10, 10, 3)).astype(np.uint8), "depth": depth, "q": np.full(6, q)}


def watch(**settings: float) -> InputWatch:
    return InputWatch(WatchSettings(**settings), ("rgb", "depth", "q"))


def feed(inputs: InputWatch, values: dict[str, Any], now_s: float) -> bool:
    for kind in inputs.inputs:
        inputs.seen(kind, now_s)
    return inputs.judge(values, now_s)


def test_the_policy_acts_after_enough_good_observations_in_a_row() -> None:
    inputs = watch(fresh_needed=3)
    assert [feed(inputs, observation(), 0.1 * i) for i in range(4)] == [False, False, True, True]
    assert inputs.problem(0.3) is None


def test_the_input_that_never_came_is_named() -> None:
    inputs = watch()
    inputs.seen("rgb", 0.0)
    assert inputs.problem(0.1) == Problem("nothing yet", silent="depth")
    assert str(inputs.problem(0.1)) == "depth: nothing yet"


def test_inputs_that_never_fit_together_are_reported() -> None:
    inputs = watch(fresh_needed=1)
    feed(inputs, observation(), 0.0)
    for kind in inputs.inputs:
        inputs.seen(kind, 2.0)
    assert str(inputs.problem(2.0)) == "no whole observation for 0.5 s"


def test_after_a_clock_jump_fresh_observations_are_needed_again() -> None:
    inputs = watch(fresh_needed=2)
    for i in range(3):
        feed(inputs, observation(), 0.1 * i)
    inputs.reset()
    assert [feed(inputs, observation(), 0.3 + 0.1 * i) for i in range(2)] == [False, True]


def test_decisions_come_at_their_rate_from_a_faster_jittering_camera() -> None:
    pacer = Pacer(10.0)
    stamps = [S + int(i * S / 30 + jitter * S) for i, jitter in enumerate(rng.uniform(-0.004, 0.004, 300))]
    assert sum(pacer.due(stamp) for stamp in stamps) == 100


def test_every_observation_is_due_when_the_camera_is_as_slow_as_the_decisions() -> None:
    pacer = Pacer(30.0)
    stamps = [S + int(i * S / 30 + jitter * S) for i, jitter in enumerate(rng.uniform(-0.003, 0.003, 100))]
    assert all(pacer.due(stamp) for stamp in stamps)


def test_after_a_gap_the_rhythm_starts_again_without_catching_up() -> None:
    pacer = Pacer(10.0)
    assert pacer.due(S)
    assert pacer.due(6 * S)
    assert not pacer.due(6 * S + S // 100)
