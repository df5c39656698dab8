"""Seeds: named children of one seed."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import EPISODE, EXPERT, MAX_SEED, NETWORK, POLICY, ROLLOUTS, Seeds


def test_a_child_is_the_same_in_every_process():
    code = "from vd_policy.base.seeds import Seeds; print(Seeds(7).integer('scene', 3))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == Seeds(7).integer("scene", 3)


def test_children_do_not_move_when_others_are_drawn_first():
    alone = Seeds(7).rng("scene", 3).random(4)
    seeds = Seeds(7)
    seeds.rng("actor").random(100)
    seeds.integer("learner")
    assert np.array_equal(seeds.rng("scene", 3).random(4), alone)


def test_names_indices_and_seeds_give_different_children():
    keys = itertools.product(range(5), ("scene", "actor"), range(20))
    drawn = {Seeds(seed).integer(name, index) for seed, name, index in keys}
    assert len(drawn) == 200
    assert all(0 <= value <= MAX_SEED for value in drawn)


def test_what_is_drawn_under_the_shared_names_never_changes():
    drawn = [Seeds(7).integer(name, 3) for name in (EPISODE, EXPERT, POLICY, ROLLOUTS, NETWORK)]
    assert drawn == [2024780170, 883558457, 1630438634, 226947963, 291937937]


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.5, "0", True, None])
def test_an_unusable_seed_is_refused(seed: object):
    with pytest.raises(BadInput, match="seed"):
        Seeds(seed)  # type: ignore[arg-type]
