"""Configuration files that extend another: what is merged, from where, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vd_policy.base.errors import BadInput
from vd_policy.base.extends import load_extended
from vd_policy.learning.recipe import load_recipe
from vd_policy.sim.tasks import load_task


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_file_says_stands_on_what_it_extends_key_by_key(tmp_path: Path) -> None:
    written(tmp_path / "first.yaml", "a: 1\nlist: [1, 2]\nnested: {x: 1, y: 2}\n")
    written(tmp_path / "deep" / "second.yaml", "extends: ../first.yaml\nnested: {y: 3}\nlist: [4]\n")
    third = written(tmp_path / "third.yaml", "extends: deep/second.yaml\nb: 5\nnested: {z: {more: 6}}\n")
    assert load_extended("tasks", third) == {"a": 1, "b": 5, "list": [4], "nested": {"x": 1, "y": 3, "z": {"more": 6}}}


def test_a_bare_name_is_one_of_config(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.yaml", "extends: reach\ncamera: {field_of_view_deg: 40}\n")
    stock, other = load_task("reach"), load_task(str(mine))
    assert other == replace(stock, camera=replace(stock.camera, field_of_view_deg=40.0))
    recipe = written(tmp_path / "recipe.yaml", "extends: trpo_grasp\nsettings: {max_kl: 0.5, critic: {fit_steps: 7}}\n")
    ours, theirs = load_recipe(str(recipe)), load_recipe("trpo_grasp")
    assert ours.method == theirs.method
    assert ours.settings == {**theirs.settings, "max_kl": 0.5, "critic": {**theirs.settings["critic"], "fit_steps": 7}}


@pytest.mark.parametrize("name", ["/etc/passwd", "..", "../robots/j2n6s300", "", "sub/reach"])
def test_a_path_without_its_suffix_is_no_name(name: str) -> None:
    with pytest.raises(BadInput, match=r"a name in config/tasks, or a path that ends in \.yaml"):
        load_task(name)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("extends: mine.yaml", "extends is 'mine.yaml'; allowed: a file that does not extend this one"),
        ("extends: around.yaml", "around.yaml: extends is 'mine.yaml'; allowed: a file that does not extend this one"),
        ("extends: no_such_task", "config/tasks/no_such_task.yaml"),
        ("extends: nowhere.yaml", "a YAML file that exists"),
        ("extends: [reach]", "allowed: a name in config/tasks or a YAML file"),
        ("extends: reach\nhorizn: 3", "did you mean 'horizon'"),
    ],
)
def test_what_cannot_be_extended_is_refused_by_name(text: str, part: str, tmp_path: Path) -> None:
    written(tmp_path / "around.yaml", "extends: mine.yaml\n")
    with pytest.raises(BadInput) as caught:
        load_task(str(written(tmp_path / "mine.yaml", text)))
    assert part in str(caught.value)
