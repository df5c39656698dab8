"""The demo's settings by task, and what it says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from vd_policy.base.errors import BadInput
from vd_policy.base.resources import resource
from vd_policy.cli.main import main
from vd_policy.experiments import demo
from vd_policy.experiments.demo import MARKER, Demo, DemoResult, load_demo
from vd_policy.experiments.demo_report import NAMES, rows, verdict
from vd_policy.experiments.evaluate import Evaluation, Played
from vd_policy.learning.recipe import load_recipe
from vd_policy.sim.tasks import load_task

TASKS = sorted(path.stem for path in resource("config", "demos").glob("*.yaml"))


@pytest.mark.parametrize("task", TASKS)
def test_every_demo_names_a_task_and_recipes_that_are_there(task: str) -> None:
    settings = load_demo(task, {})
    assert load_task(settings.task).rules_name == task and task in settings.goal
    assert load_recipe(settings.cloning).method == "pretrain" and load_recipe(settings.recipe).method == "trpo"


def test_both_tasks_have_a_demo_and_what_is_asked_for_counts_more_than_its_file() -> None:
    assert {"reach", "grasp"} <= set(TASKS)
    assert load_demo("grasp", {"samples": 77}).samples == 77
    assert load_demo("grasp", {}).noise < 0.1 < load_demo("reach", {}).noise


def test_a_demo_is_known_by_its_task_too_and_first_by_its_name(tmp_path: Path, monkeypatch) -> None:
    assert load_demo("reach_free", {}) == load_demo("reach", {})
    for name, task in (("reach", "reach_free"), ("juggle", "reach"), ("walk", "swim"), ("run", "swim")):
        (tmp_path / f"{name}.yaml").write_text(f"task: {task}\n")
    monkeypatch.setattr(demo, "resource", lambda *_: tmp_path)
    assert load_demo("reach", {}).task == "reach_free"
    with pytest.raises(BadInput, match="swim"):
        load_demo("swim", {})


def test_an_unknown_demo_and_a_wrong_setting_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--task", "juggle"]) == 2
    shown = capsys.readouterr().err
    assert "juggle" in shown and "grasp.yaml, reach.yaml" in shown and shown.count("\n") == 1
    with pytest.raises(BadInput, match="noise"):
        load_demo("grasp", {"noise": -1.0})


def test_a_demo_does_not_replace_a_file(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "this is a file" in capsys.readouterr().err and (tmp_path / "file").read_text() == "mine"


def prepared(out: Path) -> None:
    Demo(load_demo("reach", {"out": str(out)}), lambda line: None)


def held(out: Path, *files: str) -> None:
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")


def test_a_demo_replaces_an_earlier_one_and_leaves_hidden_files_alone(tmp_path) -> None:
    held(tmp_path, ".git/HEAD")
    for _ in range(2):
        prepared(tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == [".git", MARKER, "logs"]
        held(tmp_path, "demonstrations/episode", ".tmp-cloned-01234567/config.yaml", "report.html", "logs/train.log")
    assert (tmp_path / ".git/HEAD").is_file()


@pytest.mark.parametrize("mine", ["cloned", "pruned", "logs", "demonstrations"])
def test_a_demo_leaves_a_directory_alone_that_no_demo_made_whatever_its_names(tmp_path, mine: str) -> None:
    held(tmp_path, f"{mine}/work", ".tmp-mine")
    with pytest.raises(BadInput, match=f"this one holds {mine} without the {MARKER} of a demo"):
        prepared(tmp_path)
    assert (tmp_path / mine / "work").read_text() == "mine" and sorted(tmp_path.iterdir())[0].name == ".tmp-mine"


def test_a_demo_does_not_replace_an_earlier_one_beside_which_somebody_else_writes(tmp_path) -> None:
    prepared(tmp_path)
    held(tmp_path, "notes.txt", "cloned/config.yaml")
    with pytest.raises(BadInput, match="holds notes.txt"):
        prepared(tmp_path)
    assert (tmp_path / "cloned/config.yaml").is_file()


def test_the_report_says_whose_expert_it_compares_with() -> None:
    result = DemoResult(load_demo("reach", {}))
    result.evaluations = dict.fromkeys(NAMES, played(3))
    assert rows(result)[-1][0] == "expert of reach_free (eq. 10, clipped)"


def played(successes: int) -> Evaluation:
    return Evaluation(tuple(Played(i, (0.5, 0.0), i < successes, "success", 3, 1.0) for i in range(20)))


@pytest.mark.parametrize(("final", "words"), [(18, "clearly more often"), (2, "NOT clearly more often")])
def test_the_verdict_is_about_the_tasks_own_goal(final: int, words: str) -> None:
    result = DemoResult(load_demo("grasp", {}))
    result.evaluations = {"improved": played(final), "untrained": played(0)}
    assert f"grasp the cup {words}" in verdict(result)
    assert result.reached == (final == 18)
