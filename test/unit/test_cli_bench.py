"""`vd_policy bench`: which benchmarks there are, and their parameters from the command line."""

from __future__ import annotations

import json

import pytest

from vd_policy.cli.main import main


def test_a_parameter_of_a_benchmark_is_changed_from_the_command_line(tmp_path):
    file = tmp_path / "figures.json"
    words = ["bench", "sim", "--set", "steps=5", "--set", "sizes=[8]", "--json", str(file)]
    assert main(words) == 0
    sizes = {name.rsplit("_", 1)[1] for name in json.loads(file.read_text())["sim"] if name.startswith("image_ms")}
    assert sizes == {"8"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sim", "--set", "step=5"], "did you mean 'steps'"),
        (["sim", "--set", "steps=many"], "a value of type int"),
        (["sim", "--set", "seed=3"], "one of steps, sizes"),
        (["sim", "ik", "--set", "steps=5"], "the name of one benchmark"),
        (["--set", "steps=5"], "the name of one benchmark"),
        (["simm"], "did you mean 'sim'"),
    ],
)
def test_what_a_benchmark_does_not_take_is_refused_in_one_line(capsys, words, said):
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
