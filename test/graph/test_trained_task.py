"""The task, the robot and the image size that a run brings along, in every command that takes a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from learning_samples import quick
from trained import small_policy

from vd_policy.base.errors import BadInput
from vd_policy.base.resources import named_or_path
from vd_policy.cli.main import main
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import DemonstrateOptions, DeployOptions, TrainOptions
from vd_policy.graph.trained import CONFIG as LOOKED_FOR
from vd_policy.graph.trained import task_and_robot
from vd_policy.learning.pretrain import pretrain
from vd_policy.learning.recipe import recipe_of_rl
from vd_policy.policy.checkpoint import CONFIG, load_metrics, load_run, load_training, save_run
from vd_policy.sim.tasks import changes_of, load_task


def run_of(folder: Path, **config: Any) -> str:
    """A run whose configuration says this."""
    return str(save_run(folder, small_policy(), config=config))


@pytest.fixture(scope="module")
def grasping(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run cloned from bags of the grasping task."""
    folder = tmp_path_factory.mktemp("grasp")
    demonstrate(DemonstrationSettings("grasp", image_height=16, image_width=16), 30, folder / "bags")
    return str(pretrain(Dataset(folder / "bags"), quick("none", epochs=1), folder / "run")[0])


def test_a_run_is_asked_for_its_task_in_the_file_that_it_is_saved_with() -> None:
    assert LOOKED_FOR == CONFIG


def test_a_cloned_run_names_the_task_and_the_robot_of_its_demonstrations(grasping: str) -> None:
    config = load_run(grasping).config
    assert (config["task"], config["robot"]) == ("grasp", "j2n6s300")


def test_pruning_and_training_keep_the_task_and_evaluate_and_train_take_it(grasping: str, tmp_path: Path) -> None:
    pruned, trained, figures = (str(tmp_path / name) for name in ("pruned", "trained", "figures.json"))
    assert main(["prune", grasping, "--density", "0.5", "--out", pruned]) == 0
    assert main(["train", pruned, "--steps", "20", "--set", "batch_steps=20", "--out", trained]) == 0
    for run in (pruned, trained):
        assert main(["evaluate", run, "--episodes", "1", "--json", figures]) == 0
        said = json.loads(Path(figures).read_text())
        assert (said["task"], said["image_height"]) == ("grasp", 16)


def test_a_run_of_a_task_file_of_its_own_is_not_measured_in_the_task_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my_reach.yaml"
    file.write_text(Path(named_or_path("tasks", "reach")).read_text().replace("horizon: 25", "horizon: 7"))
    demonstrate(DemonstrationSettings(str(file), image_height=16, image_width=16), 30, tmp_path / "bags")
    dataset = Dataset(tmp_path / "bags")
    run = str(pretrain(dataset, quick("none", epochs=1), tmp_path / "run")[0])
    assert main(["evaluate", run, "--episodes", "1"]) == 2
    assert "reach with horizon 7" in capsys.readouterr().err
    assert main(["evaluate", run, "--episodes", "1", "--task", str(file)]) == 0
    with pytest.raises(BadInput, match="reach with horizon 7"):
        pretrain(dataset, quick("none", epochs=1, select_epochs=1), tmp_path / "selected")
    assert not (tmp_path / "selected").exists()


def test_a_task_of_config_with_the_rules_of_another_keeps_its_name_and_the_shape_of_its_pictures(
    tmp_path: Path,
) -> None:
    bags, run, figures = (str(tmp_path / name) for name in ("bags", "run", "figures.json"))
    assert main(["demonstrate", "--task", "grasp_close", "--samples", "30", "--image-size", "16", "--out", bags]) == 0
    quickly = ["--recipe", "none_grasp", "--epochs", "1", "--set", "select_epochs=1"]
    assert main(["pretrain", bags, *quickly, "--out", run]) == 0
    assert main(["evaluate", run, "--episodes", "1", "--json", figures]) == 0
    said = json.loads(Path(figures).read_text())
    assert (said["task"], said["image_height"], said["image_width"]) == ("grasp_close", 16, 28)
    assert task_and_robot(run, "grasp")[0] == "grasp"
    assert recipe_of_rl("grasp_close") == "trpo_grasp"
    sim = next(spec for spec in graph("deploy", DeployOptions(run=run)) if spec.name == "sim")
    assert (sim.parameters["task"], sim.parameters["image_width"]) == ("grasp_close", 28)


def test_a_run_of_a_robot_file_of_its_own_asks_for_that_file(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", task="reach", robot="my_arm")
    with pytest.raises(BadInput, match="the file of my_arm, which .* was trained with; fix: give it with --robot"):
        task_and_robot(run)
    assert task_and_robot(run, robot="gen3_7dof") == ("reach", "gen3_7dof")


@pytest.mark.parametrize("command", [("evaluate",), ("train", "--steps", "20", "--out", "OUT")])
def test_another_task_than_the_runs_is_refused_unless_told_otherwise(
    command: tuple, grasping: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command[0], grasping, *(str(tmp_path / "out") if w == "OUT" else w for w in command[1:])]
    assert main([*words, "--task", "reach"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "task is 'reach'; allowed: grasp" in line
    assert not (tmp_path / "out").exists()


def test_a_run_may_play_another_task_when_that_is_meant(grasping: str) -> None:
    assert main(["evaluate", grasping, "--task", "reach", "--episodes", "1", "--allow-changed"]) == 0


def test_graphs_take_task_robot_and_image_size_from_the_run(grasping: str) -> None:
    for name, options in (("deploy", DeployOptions(run=grasping, record="d")), ("train", TrainOptions(run=grasping))):
        specs = {spec.name: spec.parameters for spec in graph(name, options)}
        assert (specs["sim"]["task"], specs["sim"]["robot"]) == ("grasp", "j2n6s300")
        assert (specs["sim"]["image_height"], specs["sim"]["image_width"]) == (16, 16)
        assert specs["policy"]["robot"] == specs["safety"]["robot"] == "j2n6s300"
        assert specs.get("recorder", {"task": "grasp"})["task"] == "grasp"
    with pytest.raises(BadInput, match="grasp, which"):
        graph("deploy", DeployOptions(run=grasping, task="reach"))


def test_the_last_training_decides_and_a_task_from_elsewhere_is_no_obstacle(tmp_path: Path) -> None:
    assert task_and_robot(None) == ("reach", "j2n6s300")
    assert task_and_robot(run_of(tmp_path / "old")) == ("reach", "j2n6s300")
    tuned = run_of(tmp_path / "tuned", task="reach", robot="j2n6s300", train={"task": "grasp"})
    assert task_and_robot(tuned) == ("grasp", "j2n6s300")
    foreign = run_of(tmp_path / "foreign", task="fold_towels", robot="gen3_7dof")
    assert task_and_robot(foreign, "grasp") == ("grasp", "gen3_7dof")


def test_a_run_improved_on_a_task_file_that_is_gone_is_not_measured_in_the_stock_task(tmp_path: Path) -> None:
    gone = str(tmp_path / "mine.yaml")
    run = run_of(tmp_path / "run", task="reach", train={"task": gone, "robot": "gen3_6dof"})
    with pytest.raises(BadInput, match=r"mine\.yaml; fix: give it with --task"):
        task_and_robot(run)
    assert task_and_robot(run, "reach") == ("reach", "gen3_6dof")
    assert task_and_robot(run, allow_changed=True) == ("reach", "gen3_6dof")
    Path(gone).write_text("extends: reach\nhorizon: soon\n")
    with pytest.raises(BadInput, match=r"mine\.yaml: horizon is 'soon'"):
        task_and_robot(run)
    assert task_and_robot(run, "reach", allow_changed=True) == ("reach", "gen3_6dof"), "it is not asked for"
    Path(gone).write_text("extends: reach\nhorizon: 7\n")
    assert task_and_robot(run) == (gone, "gen3_6dof")
    other = run_of(tmp_path / "other", task="grasp", train={"task": str(tmp_path / "nowhere.yaml")})
    with pytest.raises(BadInput, match=r"task is 'reach'; allowed: .*nowhere\.yaml, which"):
        task_and_robot(other, "reach")
    assert task_and_robot(other, allow_changed=True)[0] == "grasp"
    moved = {"task": str(tmp_path / "nowhere.yaml"), "task_settings": {"task": "mine", "rules": "reach"}}
    tuned = run_of(tmp_path / "tuned", task="grasp", train=moved)
    assert task_and_robot(tuned, "reach")[0] == "reach", "it says which rules it was trained by last"
    with pytest.raises(BadInput, match=r"nowhere\.yaml, which"):
        task_and_robot(tuned, "grasp")


def test_a_task_file_with_a_name_of_its_own_is_as_one_of_the_stock_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: grasp\ntask: mine\nrules: grasp\nhorizon: 9\n")
    settings = load_task(str(file))
    assert changes_of(settings) == "horizon 9, task mine"
    assert changes_of(replace(load_task("grasp"), rules="grasp")) == "", "said, not changed"
    run = run_of(tmp_path / "run", task="mine", task_changes=changes_of(settings))
    with pytest.raises(BadInput, match="mine with horizon 9"):
        task_and_robot(run)
    assert task_and_robot(run, str(file))[0] == str(file)


def test_a_training_on_a_task_file_is_not_resumed_on_another_content(
    grasping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: grasp\nhorizon: 7\n")
    words = ["train", grasping, "--task", "mine.yaml", "--set", "batch_steps=20", "--out", "out"]
    assert main([*words, "--steps", "20"]) == 0
    said = load_run("out").config["train"]
    assert (said["task"], said["task_settings"]["horizon"]) == (str(mine), 7), "found from anywhere"
    mine.write_text("extends: grasp\nhorizon: 9\n")
    assert main([*words, "--steps", "40", "--resume"]) == 2
    assert "task_settings.horizon is 9; allowed: 7, as this run was begun" in capsys.readouterr().err


def test_a_training_of_before_a_setting_had_a_name_is_resumed_where_that_is_as_it_was(tmp_path: Path) -> None:
    words = ["--steps", "20", "--set", "batch_steps=20", "--out", str(tmp_path / "out")]
    start = str(save_run(tmp_path / "start", small_policy(), config={"task": "reach"}))
    assert main(["train", start, *words]) == 0
    training = load_training(tmp_path / "out")
    del training["begun_with"]["task_settings"]["goals"]
    run = load_run(tmp_path / "out")
    extra = {name: run.manifest[name] for name in ("weight_version", "env_steps", "parents", "seeds")}
    save_run(tmp_path / "out", run.policy, config=run.config, training=training, manifest_extra=extra,
             metrics_csv=load_metrics(tmp_path / "out") or "")  # fmt: skip
    assert main(["train", start, *words, "--steps", "40", "--resume"]) == 0


def test_a_task_file_of_the_same_rules_is_the_same_task(grasping: str, tmp_path: Path) -> None:
    mine = tmp_path / "near.yaml"
    mine.write_text("task: grasp\ncup_region_m: [[0.4, 0.5], [-0.1, 0.1]]\n")
    assert task_and_robot(grasping, str(mine))[0] == str(mine)


@pytest.mark.parametrize(("task", "size", "noise"), [("reach", 128, 0.5), ("grasp", 256, 0.05)])
def test_demonstrations_have_the_tasks_image_size_and_noise_unless_asked(task: str, size: int, noise: float) -> None:
    settings = DemonstrationSettings(task).whole()
    assert (settings.image_height, settings.image_width, settings.noise_std_rad) == (size, size, noise)
    assert DemonstrationSettings(task, image_height=32, noise_std_rad=0.0).whole().image_height == 32
    specs = {spec.name: spec.parameters for spec in graph("demonstrate", DemonstrateOptions(task=task))}
    assert specs["expert"]["noise_std_rad"] == specs["recorder"]["expert_noise_rad"] == noise
