"""The train loop: exact resume, curves, recipes and the two commands."""

from __future__ import annotations

import json

import pytest
import torch
from learning_samples import collector, demonstrations, quick, tiny_policy, tiny_run

import vd_policy.learning
from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.resources import named_or_path, resource
from vd_policy.base.settings import build
from vd_policy.cli.main import main
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.learning.metrics import Metrics
from vd_policy.learning.pretrain import PretrainSettings, pretrain
from vd_policy.learning.recipe import Recipe, build_learner, load_recipe, parse_changes, recipe_of_rl
from vd_policy.learning.states import under
from vd_policy.learning.train import Training, train
from vd_policy.learning.trpo import TRPO
from vd_policy.policy.checkpoint import load_metrics, load_run, load_training
from vd_policy.policy.export import random_observation

TIMES = ("diag/collect_s", "diag/update_s")
CHANGES = {"batch_steps": 50, "cg_steps": 3, "critic.warmup_batches": 1, "critic.fit_steps": 5}


class Interrupt(Exception):
    """Stands for a crash in the middle of training."""


def learner_for(run, recipe="trpo", **changes) -> TRPO:
    return build_learner(load_recipe(recipe, {**CHANGES, **changes}), run.policy, seed=4)


def curves(path):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in Metrics(load_metrics(path)).rows]


@pytest.mark.parametrize(("recipe", "averaging"), [("trpo", 0.0), ("trpo_c8", 0.8)])
def test_a_training_cut_in_two_equals_the_whole_to_the_bit(tmp_path, recipe, averaging):
    tiny_run(tmp_path / "start")

    def run(out, steps=210, **options):
        start = load_run(tmp_path / "start")
        with collector() as rollouts:
            learner = learner_for(start, recipe, averaging=averaging)
            return train(learner, rollouts, steps, tmp_path / out, start=start, checkpoint_every=2, **options)

    def crash(steps, _row):
        if steps > 120:
            raise Interrupt

    run("whole")
    with pytest.raises(Interrupt):
        run("cut", progress=crash)
    run("cut", resume=True)
    whole, cut = (load_training(tmp_path / name) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and len(curves(tmp_path / "whole")) >= 4
    for name, value in whole.items():
        assert torch.equal(value, cut[name]) if isinstance(value, torch.Tensor) else value == cut[name], name
    assert curves(tmp_path / "whole") == curves(tmp_path / "cut")
    one, two = (load_run(tmp_path / name).policy.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    last = under("learner.policy", whole)
    assert all(torch.equal(one[name], last[name]) for name in one) == (averaging == 0.0), "the run is the mean"


def test_a_training_is_saved_as_often_as_was_asked_for_and_at_its_end(tmp_path):
    start, saved = tiny_run(tmp_path / "start"), []

    class Counted(Training):
        def save(self) -> None:
            saved.append(len(self.metrics.rows))
            super().save()

    with collector() as rollouts:
        training = Counted(learner_for(start), rollouts, start, tmp_path / "out", begun_with={}, checkpoint_every=3)
        training.run(240)
    made = len(training.metrics.rows)
    assert made > 3 and saved == [*range(3, made, 3), made] and training.unsaved == 0


def test_training_does_not_depend_on_the_number_of_processes(tmp_path):
    tiny_run(tmp_path / "start")
    for workers in (1, 2):
        start = load_run(tmp_path / "start")
        with collector(workers) as rollouts:
            train(learner_for(start), rollouts, 120, tmp_path / f"out{workers}", start=start)
    one, two = (load_run(tmp_path / f"out{n}").policy.state_dict() for n in (1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert curves(tmp_path / "out1") == curves(tmp_path / "out2")


def test_a_trained_run_says_where_it_came_from_and_what_it_cost(tmp_path):
    start = tiny_run(tmp_path / "start")
    with collector() as rollouts:
        figures = train(learner_for(start), rollouts, 120, tmp_path / "out", start=start)
    run = load_run(tmp_path / "out")
    assert run.manifest["env_steps"]["rl"] == figures["env_steps"] >= 120
    assert run.manifest["parents"]["init"] == start.as_parent()
    row = curves(tmp_path / "out")[-1]
    assert row["step"] == figures["env_steps"]
    assert {"rollout/success_rate", "rollout/return", "train/trpo/critic_loss", "diag/weight_version"} <= row.keys()


def test_every_recipe_of_the_package_builds():
    recipes = {file.stem: load_recipe(file.stem) for file in resource("config", "recipes").glob("*.yaml")}
    learners = {name: build_learner(r, tiny_policy()) for name, r in recipes.items() if r.method == "trpo"}
    assert set(learners) == {"trpo", "trpo_c8", "trpo_grasp", "trpo_rate"}
    assert all(isinstance(learner, TRPO) for learner in learners.values())
    assert {name: learner.settings.replay_batches for name, learner in learners.items() if "_" in name} == {
        "trpo_c8": 8,
        "trpo_grasp": 8,
        "trpo_rate": 8,
    }
    cloning = {name: build(PretrainSettings, r.settings, name) for name, r in recipes.items() if r.method == "pretrain"}
    assert {settings.method for settings in cloning.values()} == {"vd", "l2", "none"}
    assert len(learners) + len(cloning) == len(recipes)


def test_a_task_is_trained_by_the_recipe_of_its_rules_where_there_is_one(tmp_path):
    ours = tmp_path / "mugs.yaml"
    ours.write_text(named_or_path("tasks", "grasp").read_text().replace("horizon: 25", "horizon: 20"))
    assert {task: recipe_of_rl(task) for task in ("reach", "grasp", str(ours))} == {
        "reach": "trpo_rate", "grasp": "trpo_grasp", str(ours): "trpo_grasp"}  # fmt: skip


def test_settings_are_changed_from_the_command_line_by_dotted_names():
    changes = parse_changes(["max_kl=0.03", "critic.hidden=[8, 8]"])
    settings = build_learner(load_recipe("trpo_c8", changes), tiny_policy()).settings
    assert (settings.max_kl, settings.critic.hidden, settings.replay_batches) == (0.03, (8, 8), 8)


@pytest.mark.parametrize("word", ["max_kl", "=3", "max_kl=["])
def test_a_malformed_change_is_refused(word):
    with pytest.raises(BadInput, match="--set"):
        parse_changes([word])


def test_a_recipe_whose_method_cannot_learn_is_refused():
    with pytest.raises(BadInput, match="pretrain"):
        build_learner(load_recipe("vd"), tiny_policy())
    for method in ("recipe", "learner", "nothing"):  # the first imports a `build` of settings
        with pytest.raises(BadInput, match=f"recipe method is '{method}'"):
            build_learner(Recipe(method), tiny_policy())


def test_a_learner_of_ones_own_that_lacks_a_module_says_which(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.setattr(vd_policy.learning, "__path__", [*vd_policy.learning.__path__, str(tmp_path)])
    with pytest.raises(Missing, match="no_such_package_anywhere"):
        build_learner(Recipe("mine"), tiny_policy())
    with pytest.raises(BadInput, match="recipe method is 'his'"):
        build_learner(Recipe("his"), tiny_policy())


def test_the_commands_clone_prune_and_improve(tmp_path, capsys):
    demonstrations(tmp_path / "bags", 40)
    tiny = ["policy={mean: {conv_channels: [4], image_widths: [8], joint_widths: [8]}, sigma: {conv_channels: [4]}}"]
    clone = ["pretrain", str(tmp_path / "bags"), "--out", str(tmp_path / "vd"), "--epochs", "2"]
    assert main([*clone, "--set", "batch=16", "--set", *tiny, "--json", str(tmp_path / "clone.json")]) == 0
    improve = ["train", str(tmp_path / "vd"), "--out", str(tmp_path / "rl"), "--recipe", "trpo", "--seed", "1"]
    improve += [word for name, value in CHANGES.items() for word in ("--set", f"{name}={value}")]
    assert main([*improve, "--steps", "50", "--json", str(tmp_path / "rl.json")]) == 0
    assert main([*improve, "--steps", "100", "--resume"]) == 0
    first, second = (json.loads((tmp_path / f).read_text()) for f in ("clone.json", "rl.json"))
    assert first["ok"] and first["method"] == "vd" and first["training_samples"] > 0
    assert second["iterations"] == 1 and 0.0 <= second["success_rate"] <= 1.0
    assert len(curves(tmp_path / "rl")) == 2 and "pruning" in load_run(tmp_path / "rl").manifest
    capsys.readouterr()
    assert main([*improve, "--steps", "100"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_arrays_lie_where_they_are_asked_for_and_the_bags_stay_as_they_are(tmp_path):
    demonstrate(DemonstrationSettings(image_height=16, image_width=16), 12, tmp_path / "bags")
    before = sorted(tmp_path.joinpath("bags").rglob("*"))
    tiny = "policy={mean: {conv_channels: [4], image_widths: [8], joint_widths: [8]}}"
    words = ["pretrain", str(tmp_path / "bags"), "--epochs", "1", "--set", tiny, "--out", str(tmp_path / "vd")]
    arrays = ["--arrays", str(tmp_path / "arrays")]
    assert main([*words, *arrays]) == 0
    prune = ["prune", str(tmp_path / "vd"), "--out", str(tmp_path / "pruned"), "--explore-on", str(tmp_path / "bags")]
    assert main([*prune, *arrays]) == 0
    assert sorted(tmp_path.joinpath("bags").rglob("*")) == before
    assert (tmp_path / "arrays" / "rgb.bin").stat().st_size == 12 * 16 * 16 * 3


def test_what_explores_by_uncertainty_is_drawn_from_the_seed_and_the_run_says_which(tmp_path):
    demonstrations(tmp_path / "bags", 40)
    pretrain(Dataset(tmp_path / "bags"), quick("vd", epochs=1), tmp_path / "vd", seed=5)
    found = {}
    for name, words in (("default", []), ("zero", ["--seed", "0"]), ("one", ["--seed", "1"])):
        prune = ["prune", str(tmp_path / "vd"), "--out", str(tmp_path / name), "--explore-on", str(tmp_path / "bags")]
        assert main([*prune, *words]) == 0
        run = load_run(tmp_path / name)
        found[name] = run.policy.sigma.head.weight
        assert run.manifest["seeds"] == {"pretrain": 5, "prune": int(name == "one")}
    assert torch.equal(found["default"], found["zero"]) and not torch.equal(found["zero"], found["one"])


def test_training_explores_anew_from_the_standard_deviation_asked_for(tmp_path, capsys):
    start = tiny_run(tmp_path / "start")
    improve = ["train", str(tmp_path / "start"), "--out", str(tmp_path / "rl"), "--recipe", "trpo", "--steps", "30"]
    improve += [word for name, value in CHANGES.items() for word in ("--set", f"{name}={value}")]
    assert main([*improve, "--initial-std", "0.03", "--set", "max_kl=1e-9"]) == 0
    improved = load_run(tmp_path / "rl").policy
    assert improved.settings.initial_std == 0.03 != start.policy.settings.initial_std
    _, std = improved(random_observation(improved.spec, 3, seed=0))
    assert torch.allclose(std, torch.tensor(0.03), rtol=1e-2)
    capsys.readouterr()
    for beyond, bounds in (("20", "at most 10"), ("1e-5", "0.001 to 2"), ("3", "0.001 to 2")):
        assert main([*improve, "--initial-std", beyond]) == 2
        said = capsys.readouterr().err
        assert "--initial-std" in said and bounds in said and said.count("\n") == 1
    assert main([*improve, "--resume", "--initial-std", "0.05"]) == 2
    assert "initial_std" in capsys.readouterr().err
    assert main([*improve, "--resume", "--allow-changed", "--initial-std", "0.05"]) == 2
    assert "--resume: initial_std is 0.05; allowed: 0.03" in capsys.readouterr().err
    assert main([*improve, "--resume", "--allow-changed"]) == 0
    assert load_run(tmp_path / "rl").config["train"]["initial_std"] == 0.03


def test_training_on_another_task_than_the_run_was_made_for_is_refused(tmp_path, capsys):
    tiny_run(tmp_path / "start")
    task = tmp_path / "timid.yaml"
    task.write_text("task: reach\nmax_step_rad: 0.1\n")
    words = ["train", str(tmp_path / "start"), "--steps", "10", "--out", str(tmp_path / "out"), "--task", str(task)]
    assert main(words) == 2
    assert "max_step_rad" in capsys.readouterr().err
