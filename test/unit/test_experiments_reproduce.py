"""`vd_policy reproduce`: a tiny figure from end to end, killed in the middle; its curves, intervals and verdicts."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vd_policy.base.errors import BadInput
from vd_policy.cli.commands.reproduce import FIGURES as OFFERED
from vd_policy.cli.main import main
from vd_policy.experiments.interval import mean_of
from vd_policy.experiments.reproduce import figure_report
from vd_policy.experiments.reproduce.arms import arms_of, best_of, titles
from vd_policy.experiments.reproduce.chain import (
    carry_out_job,
    check_same,
    csv_text,
    pretrain_settings,
    read_evaluations,
)
from vd_policy.experiments.reproduce.claims import curve_verdicts, sparsity_verdicts
from vd_policy.experiments.reproduce.curves import Curve, Trained, read_trained
from vd_policy.experiments.reproduce.forecast import Forecast
from vd_policy.experiments.reproduce.jobs import CLONED, FILTERS, GRASP, UNCERTAINTY, UNTRAINED, CloneJob, TrainJob
from vd_policy.experiments.reproduce.measure import SUCCESSES
from vd_policy.experiments.reproduce.plan import (
    FIGURES,
    NOISE_RAD,
    OUR_EXPERT,
    OUR_NOISE_RAD,
    OUR_RULE,
    OUR_TASK,
    REUSING,
    Sweep,
    make_plan,
    scale_of,
)
from vd_policy.experiments.reproduce.reproduction import expert_lines
from vd_policy.experiments.reproduce.verdict import (
    NOBODY,
    NOT_REACHED,
    NOT_REPRODUCED,
    OTHER_SETTING,
    REACHED,
    REPRODUCED,
    REVERSED,
    TOO_FEW,
    TOO_SHORT,
)
from vd_policy.learning.recipe import OUR_RECIPE, load_recipe

DEADLINE_S = 120.0
TINY = {"image_size": 16, "samples": 40, "steps": 1200, "vd_epochs": 2, "epochs": 2, "evaluate_every": 400,
        "episodes": 3, "expert_episodes": 6, "smoothing": 2}  # fmt: skip
CLONE = CloneJob("random", 0, 40, 0.5, "literal", 16, 0)


def command(out: Path, **changes: object) -> list[str]:
    settings = [word for name, value in {**TINY, **changes}.items() for word in ("--set", f"{name}={value}")]
    return ["reproduce", "fig4", "--out", str(out), "--seeds", "1", "--only", "vd", "--workers", "1", *settings]


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def kill_while_it_trains(out: Path) -> None:
    """SIGKILL the command once a training has evaluated its policy in the middle of RL."""
    words = [sys.executable, "-m", "vd_policy.cli.main", *command(out)]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not any(len(rows(file)) > 1 for file in out.glob("trainings/*/evaluations.csv")):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_killed_figure_goes_on_to_its_csv_plot_and_verdicts(tmp_path, capsys):
    out = tmp_path / "figure"
    kill_while_it_trains(out)
    assert not (out / "fig4_verdicts.md").exists()
    assert main(command(out)) == 0

    curves = rows(out / "fig4_curves.csv")
    assert {row["method"] for row in curves} == {"vd"}
    assert all(int(row["env_steps"]) >= 200 for row in curves)
    evaluations = rows(out / "fig4_evaluations.csv")
    assert [float(r["env_steps"]) for r in evaluations] == [0, 400, 800, 1200]
    ends = [0, *(int(row["env_steps"]) for row in curves)]
    for row in evaluations:
        assert float(row["reached"]) == next(steps for steps in ends if steps >= float(row["env_steps"]))
    assert (out / "fig4.png").read_bytes().startswith(b"\x89PNG")
    verdicts = json.loads((out / "fig4_verdicts.json").read_text())
    assert verdicts["jobs_complete"] == verdicts["jobs"] == 1
    assert {v["outcome"] for v in verdicts["verdicts"]} == {TOO_FEW}
    assert "VD ends above the expert (expert-literal" in (out / "fig4_verdicts.md").read_text()
    said = capsys.readouterr()
    assert "trainings: about " in said.err

    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "demonstrations").symlink_to(out / "demonstrations")
    clone = CloneJob("vd", 0, 40, 0.5, "literal", 16, 2)
    job = TrainJob(clone, 0.1, "trpo", 1200, 400, 3)
    for part in (clone, job):
        carry_out_job(part, whole)
    resumed, uninterrupted = read_trained(job, out, SUCCESSES), read_trained(job, whole, SUCCESSES)
    assert resumed is not None and uninterrupted is not None
    assert resumed.curve.steps.tolist() == uninterrupted.curve.steps.tolist()
    assert resumed.curve.values.tolist() == uninterrupted.curve.values.tolist()
    assert resumed.evaluations == uninterrupted.evaluations

    assert main(command(out, image_size=20)) == 2
    refusal = capsys.readouterr().err
    assert "image_size" in refusal and "choose another --out" in refusal
    assert main([*command(out, steps=800), "--report"]) == 0, "a shorter figure is read off a longer one"
    assert max(int(row["env_steps"]) for row in rows(out / "fig4_curves.csv")) < 1200
    known = json.loads((out / "experts.json").read_text())
    (out / "experts.json").write_text(json.dumps({**known, OUR_EXPERT: 85.0}))  # as the figure ours leaves it there
    assert main([*command(out), "--report"]) == 0
    assert set(json.loads((out / "fig4_verdicts.json").read_text())["experts_successes_per_200_steps"]) == {
        "expert-literal", "expert"}  # fmt: skip


def test_a_report_with_other_settings_than_the_jobs_is_refused_and_writes_nothing(tmp_path, capsys):
    job = replace(CLONE, method="vd", epochs=2)
    job.place(tmp_path).mkdir(parents=True)
    (job.place(tmp_path) / "job.json").write_text(json.dumps(asdict(job)))
    (tmp_path / "fig4_verdicts.md").write_text("true")
    assert main([*command(tmp_path, image_size=128), "--report"]) == 2
    refusal = capsys.readouterr().err
    assert "image_size is 128; allowed: 16" in refusal and refusal.count("\n") == 1
    (job.place(tmp_path) / "done.json").write_text(json.dumps({"units": job.units}))
    assert main([*command(tmp_path, samples=41), "--report"]) == 2
    assert "with a complete job of this figure at these settings" in capsys.readouterr().err
    assert (tmp_path / "fig4_verdicts.md").read_text() == "true"
    assert main([*command(tmp_path), "--report"]) == 0


def test_a_figure_of_grasping_is_judged_by_the_return_a_trajectory(tmp_path, capsys):
    settings = [word for name, value in {**TINY, "steps": 200}.items() for word in ("--set", f"{name}={value}")]
    words = ["reproduce", "fig7", "--out", str(tmp_path), "--seeds", "1", "--only", "random", *settings]
    assert main([*words, "--workers", "1"]) == 0
    (demonstrations,) = (tmp_path / "demonstrations").glob("grasp-clipped-16px-n40-*/demonstration.json")
    assert json.loads(demonstrations.read_text())["task"] == "grasp"
    assert all(-50.0 <= float(row["return_per_trajectory"]) <= 24.0 for row in rows(tmp_path / "fig7_curves.csv"))
    before, after = rows(tmp_path / "fig7_evaluations.csv")
    assert float(before["env_steps"]) == 0 and float(after["mean_return"]) < 0
    found = json.loads((tmp_path / "fig7_verdicts.json").read_text())
    assert 15.0 < found["experts_return_per_trajectory"]["expert"] < 24.0
    (verdict,) = found["verdicts"]
    assert verdict["claim"] == "without pre-training nothing is learned" and verdict["outcome"] == TOO_FEW
    assert "Return a trajectory of the exploring policy" in capsys.readouterr().out


def test_directories_that_were_begun_before_jobs_knew_their_task_go_on(tmp_path):
    clone = replace(CLONE, method="vd", epochs=2)
    job = TrainJob(replace(clone, method="l2"), 0.1, "trpo", 1200, 400, 3, like=clone)
    assert clone.name == "vd-literal-n40-noise0.5-seed0"
    assert clone.demonstrations == "literal-16px-n40-noise0.5-seed0"
    assert job.name == "l2-literal-n40-noise0.5-pruned-std0.1-trpo-seed0"
    begun = {name: value for name, value in asdict(job).items() if name != "steps"}
    for part in (begun["clone"], begun["like"]):
        del part["task"]
    job.place(tmp_path).mkdir(parents=True)
    (job.place(tmp_path) / "job.json").write_text(json.dumps(begun))
    check_same(job, tmp_path)
    with pytest.raises(BadInput, match="image_size"):
        check_same(replace(job, like=replace(clone, image_size=20)), tmp_path)

    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: trpo\nsettings: {max_kl: 0.02}\n")
    mine = replace(job, recipe=str(recipe))
    mine.place(tmp_path).mkdir(parents=True)
    (mine.place(tmp_path) / "job.json").write_text(json.dumps({**begun, "recipe": str(recipe), "recipe_settings": {}}))
    with pytest.raises(BadInput, match="recipe_settings"):
        check_same(mine, tmp_path)

    grasping = replace(CLONE, method="vd", task=GRASP)
    grasping.place(tmp_path).mkdir(parents=True)
    (grasping.place(tmp_path) / "job.json").write_text(json.dumps(asdict(grasping)))
    with pytest.raises(BadInput, match="goals of the task is 'all'; allowed: .*'found'"):
        check_same(grasping, tmp_path)
    before = replace(grasping, task="grasp_found")
    assert (before.name, before.recipe) == ("grasp_found-vd-literal-n40-noise0.5-seed0", "vd_grasp")
    before.place(tmp_path).mkdir(parents=True)
    (before.place(tmp_path) / "job.json").write_text(json.dumps(asdict(before)))
    check_same(before, tmp_path)

    older = [{"env_steps": 0, "success_rate": 0.5}]
    (tmp_path / "evaluations.csv").write_text(csv_text([*older, {"env_steps": 4, "success_rate": 1, "mean_return": 2}]))
    assert read_evaluations(tmp_path) == [*older, {"env_steps": 4, "success_rate": 1, "mean_return": 2}]


def test_a_figure_can_be_made_of_a_task_of_its_rules_and_of_no_other(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: reach\ncup_region_m: [[0.4, 0.5], [-0.1, 0.1]]\n")
    scale = replace(scale_of("fig4", "small"), task=str(mine))
    plan = make_plan("fig4", scale, seeds=[0], recipe="trpo", sweep=Sweep(), only=["vd"])
    assert plan.clones[0].task == plan.task == str(mine) and plan.clones[0].name.startswith("mine-vd-")
    with pytest.raises(BadInput, match="task for fig4 is 'grasp'; allowed: one with the rules reach"):
        make_plan("fig4", replace(scale, task="grasp"), seeds=[0], recipe="trpo", sweep=Sweep())


def test_every_clone_has_a_recipe():
    grasped = FIGURES["fig7"].methods
    clones = [replace(CLONE, method=method) for method in (*CLONED, UNTRAINED)]
    clones += [replace(clone, task=GRASP) for clone in clones if clone.method in grasped]
    assert {job.method: load_recipe(job.recipe).settings["method"] for job in clones} == {
        "vd": "vd", FILTERS: "vd", "l2": "l2", "none": "none", UNTRAINED: "none",
    }  # fmt: skip
    assert len(clones) == 9


def test_jobs_of_two_tasks_lie_apart():
    reach, grasp = CLONE, replace(CLONE, task="grasp")
    assert len({reach.name, grasp.name}) == len({reach.demonstrations, grasp.demonstrations}) == 2
    assert len({reach.kind, grasp.kind}) == 2
    jobs = [TrainJob(clone, 0.1, "trpo", 1200, 400, 3) for clone in (reach, grasp)]
    assert len({job.name for job in jobs}) == len({job.kind for job in jobs}) == 2


def test_what_there_is_not_is_refused_in_one_line(tmp_path, capsys):
    words = ["reproduce", "fig5", "--out", str(tmp_path / "x")]
    assert main([*words, "--only", "none"]) == 2
    assert "fig5" in capsys.readouterr().err
    assert main([*words, "--set", "image_sice=3"]) == 2
    assert "did you mean 'image_size'" in capsys.readouterr().err
    assert main([*words, "--recipe", "trpoo"]) == 2
    assert not (tmp_path / "x").exists()


def test_a_figure_is_planned_seed_by_seed_with_each_sweep():
    sweep = Sweep(initial_std=(0.05, 0.1), l2_weight=(1e-4, 3e-4))
    plan = make_plan("fig5", scale_of("fig5", "paper"), seeds=[3, 4], recipe="trpo", sweep=sweep)
    assert {job.samples for job in plan.clones} == {2000, 4000, 8000}
    assert len(plan.clones) == 2 * 3 * (1 + 2)
    assert len(plan.trainings) == 2 * len(plan.clones)
    assert [job.seed for job in plan.clones] == [3] * 9 + [4] * 9
    assert len({job.name for job in plan.trainings}) == len(plan.trainings)
    with pytest.raises(BadInput):
        make_plan("fig8", plan.scale, seeds=[0], recipe="trpo", sweep=sweep)


def test_another_noise_goes_to_every_method_of_a_figure_that_does_not_vary_it():
    scale = replace(scale_of("fig4", "small"), noise_rad=0.25)
    plan = make_plan("fig4", scale, seeds=[0], recipe="trpo", sweep=Sweep(), only=["vd", "l2"])
    assert [(job.method, job.noise_std_rad) for job in plan.clones] == [("vd", 0.25), ("l2", 0.25)]
    for figure in ("fig6", "recipes", "ours"):
        with pytest.raises(BadInput, match=f"noise_rad for {figure} is 0.25"):
            make_plan(figure, scale, seeds=[0], recipe="trpo", sweep=Sweep())


@pytest.mark.parametrize(("hold", "ratio"), [("epochs", 1), ("steps", 4.5)])
def test_fewer_demonstrations_are_cloned_for_as_many_epochs_or_as_many_steps(hold, ratio):
    scale = replace(scale_of("fig5", "small"), hold=hold)
    plan = make_plan("fig5", scale, seeds=[0], recipe="trpo", sweep=Sweep())
    epochs = {(clone.method, clone.samples): clone.epochs for clone in plan.clones}
    for method in ("vd", "l2"):
        fewest, all_of_them = epochs[method, scale.samples // 4], epochs[method, scale.samples]
        assert fewest == ratio * all_of_them
    assert epochs["vd", scale.samples] == scale.vd_epochs and epochs["l2", scale.samples] == scale.epochs


def test_as_many_steps_are_counted_in_whole_batches():
    scale = replace(scale_of("fig5", "small"), hold="steps", samples=2000, vd_epochs=60)
    clones = [c for c in make_plan("fig5", scale, seeds=[0], recipe="trpo", sweep=Sweep()).clones if c.method == "vd"]
    steps = {c.samples: c.epochs * pretrain_settings(c).steps_per_epoch(round(0.9 * c.samples)) for c in clones}
    assert steps == {500: 1080, 1000: 1080, 2000: 1080}


def test_dropout_of_filters_is_cloned_for_as_many_epochs_as_that_of_weights():
    plan = make_plan("fig4", scale_of("fig4", "small"), seeds=[0], recipe="trpo", sweep=Sweep(), only=["vd", FILTERS])
    assert [(clone.method, clone.recipe, clone.epochs) for clone in plan.clones] == [
        ("vd", "vd", plan.scale.vd_epochs), (FILTERS, "vd_filters", plan.scale.vd_epochs)]  # fmt: skip
    assert pretrain_settings(plan.clones[1]).layers == "variational_filters"


def test_exploring_by_uncertainty_takes_no_setting_from_a_sweep():
    sweep = Sweep(initial_std=(0.05, 0.1))
    plan = make_plan("fig4", scale_of("fig4", "small"), seeds=[0], recipe="trpo", sweep=sweep, only=["vd", UNCERTAINTY])
    assert [job.method for job in plan.trainings] == ["vd", "vd", UNCERTAINTY]
    assert len(plan.clones) == 1 and plan.trainings[2].initial_std is None


@pytest.mark.parametrize("count", [2, 5, 31, 32, 40, 200])
def test_the_interval_of_a_mean_is_students(count):
    values = np.random.default_rng(count).normal(3.0, 2.0, count)
    found = mean_of(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low, rel=5e-4), pytest.approx(high, rel=5e-4))


def test_a_single_seed_has_no_interval():
    found = mean_of([4.0])
    assert found.mean == 4.0 and math.isnan(found.low) and math.isnan(found.high)


def test_a_curve_weighs_its_iterations_by_their_steps():
    curve = Curve(np.array([100, 400, 600]), np.array([0.0, 40.0, 60.0]))
    assert curve.area() == pytest.approx((0 * 100 + 40 * 300 + 60 * 200) / 600)
    assert curve.smoothed(2).tolist() == pytest.approx([0.0, 30.0, 48.0])
    assert curve.steps_to(45.0, 2) == 600.0
    assert curve.steps_to(50.0, 2) is None
    assert curve.until(400).steps.tolist() == [100, 400]
    assert curve.final() == 60.0


def invented(method: str, level: float, seed: int, std: float = 0.1) -> Trained:
    """A training whose rate rises in a straight line to `level`."""
    job = TrainJob(replace(CLONE, method=method, seed=seed), std, "trpo", 2000, 1000, 3)
    steps = np.arange(200, 2001, 200)
    return Trained(job, Curve(steps, level * steps / 2000.0), [])


@pytest.mark.parametrize(
    ("aspect", "asked", "images"), [(1.0, 64, "64x64"), (16 / 9, 96, "96x171")], ids=["square", "wide"]
)
def test_a_figure_says_rows_and_columns_of_its_images(tmp_path, monkeypatch, aspect, asked, images):
    task, plots = tmp_path / "wide.yaml", []
    task.write_text(f"extends: reach\ntask: wide\nrules: reach\ncamera: {{aspect: {aspect}}}\n")
    monkeypatch.setattr(figure_report, "read_trained", lambda job, *_: replace(invented("vd", 60.0, 0), job=job))
    monkeypatch.setattr(figure_report, "curve_plot", lambda title, *_: plots.append(title))
    monkeypatch.setattr(figure_report, "save", lambda *_: None)
    scale = replace(scale_of("fig4", "small"), task=str(task), image_size=asked)
    plan = make_plan("fig4", scale, seeds=[0], recipe="trpo", sweep=Sweep(), only=["vd"])
    found = figure_report.write_report(plan, {}, tmp_path)
    assert f"; {images} images, 2000 demonstrations" in found.markdown
    assert plots == [f"fig4, {images} images, 2000 demonstrations at most, trpo"]


def outcomes(figures: list[Trained]) -> dict[str, str]:
    found = curve_verdicts("fig4", best_of(arms_of(figures)), {"expert": 50.0}, 1)
    return {f"{v.claim}: {v.measure}": v.outcome for v in found}


def test_a_claim_holds_only_where_its_whole_interval_does_over_enough_seeds():
    better = [invented(m, base + s, s) for s in range(5) for m, base in (("vd", 60.0), ("l2", 30.0))]
    final = "VD is better than L2: difference in final successes per 200 steps"
    assert outcomes(better)[final] == REPRODUCED
    assert outcomes(better[:8])[final] == TOO_FEW
    alike = [invented(m, level, s) for s in range(5) for m, level in (("vd", 60.0), ("l2", 49.0 + 5.0 * s))]
    assert outcomes(alike)[final] == NOT_REPRODUCED
    worse = [invented(m, base + s, s) for s in range(5) for m, base in (("vd", 20.0), ("l2", 30.0))]
    assert outcomes(worse)[final] == REVERSED
    assert all(REPRODUCED == said for claim, said in outcomes(better).items() if "expert" in claim)


@pytest.mark.parametrize(("level", "said"), [(59.0, REPRODUCED), (56.0, NOT_REPRODUCED), (40.0, REVERSED)])
def test_filters_may_drop_out_where_that_costs_less_than_a_tenth_of_the_successes(level, said):
    figures = [invented(m, base, s) for s in range(5) for m, base in (("vd", 60.0), (FILTERS, level + 2.0 * (s - 2)))]
    found = {claim: outcome for claim, outcome in outcomes(figures).items() if "filters" in claim}
    assert list(found.values()) == [said]


@pytest.mark.parametrize(
    ("iterations", "reached", "said"),
    [(8, 4, TOO_SHORT), (41, 20, TOO_SHORT), (80, 26, TOO_SHORT), (80, 60, REPRODUCED)],
)
def test_a_training_of_a_few_windows_does_not_tell_who_needs_a_quarter_of_the_samples(iterations, reached, said):
    """VD is at the level from its first iteration on."""
    window, steps = 10, np.arange(200, 200 * iterations + 1, 200)

    def course(method: str, seed: int) -> Trained:
        job = TrainJob(replace(CLONE, method=method, seed=seed), 0.1, "trpo", int(steps[-1]), 1000, 3)
        late = np.arange(iterations) < (reached if method == "l2" else 0)
        return Trained(job, Curve(steps, np.where(late, 0.0, 40.0)), [])

    figures = [course(method, seed) for seed in range(5) for method in ("vd", "l2")]
    found = {v.claim: v for v in curve_verdicts("fig4", best_of(arms_of(figures)), {"expert": 50.0}, window)}
    assert found["VD needs less than a quarter of L2's samples for L2's final level"].outcome == said


@pytest.mark.parametrize(("level", "said"), [(0.0, TOO_SHORT), (40.0, REVERSED)])
def test_a_method_is_not_quicker_than_its_own_twin(level, said):
    def course(method: str, seed: int) -> Trained:
        """Rises within a tenth of the steps, if at all, and stays there."""
        steps = np.arange(200, 20001, 200)
        job = TrainJob(replace(CLONE, method=method, seed=seed), 0.1, "trpo", 20000, 1000, 3)
        return Trained(job, Curve(steps, np.minimum(level, level * steps / 2000.0)), [])

    twins = [course(method, seed) for seed in range(5) for method in ("vd", "l2")]
    found = {v.claim: v for v in curve_verdicts("fig4", best_of(arms_of(twins)), {"expert": 50.0}, 1)}
    quicker = found["VD needs less than a quarter of L2's samples for L2's final level"]
    assert quicker.ours.mean == 1.0 and quicker.outcome == said


def test_a_level_that_a_recipe_misses_in_some_seeds_counts_as_all_its_steps():
    def course(recipe: str, seed: int, level: float) -> Trained:
        steps = np.arange(200, 20001, 200)
        job = TrainJob(replace(CLONE, seed=seed), 0.1, recipe, 20000, 1000, 3)
        return Trained(job, Curve(steps, np.minimum(level, level * steps / 2000.0)), [])

    trainings = [course("trpo", s, 10.0) for s in range(6)]
    trainings += [course(OUR_RECIPE, s, 45.0 if s else 10.0) for s in range(6)]
    found = curve_verdicts("recipes", best_of(arms_of(trainings)), {"expert": 56.0}, 1)
    assert found[0].ours.values == 6 and found[0].ours.mean == pytest.approx((5 * 0.09 + 1.0) / 6)
    assert found[0].outcome == NOT_REACHED


def test_a_figure_that_is_asked_for_more_steps_is_forecast_from_what_fewer_took(tmp_path):
    job = TrainJob(CLONE, 0.1, "trpo", 20000, 1000, 3)
    job.place(tmp_path).mkdir(parents=True)
    (job.place(tmp_path) / "done.json").write_text('{"units": 5000, "seconds": 100}')
    forecast = Forecast([job], [job], tmp_path, workers=2)
    assert (forecast.total_s, forecast.done_s, forecast.left_s()) == (400.0, 100.0, 300.0)
    assert job.kind != replace(job, recipe=OUR_RECIPE).kind  # which learns from its samples again and again
    forecast.update(job, 0.3)
    assert forecast.done_s == pytest.approx(120.0)


def test_what_is_ours_may_stop_early_and_then_counts_all_steps_of_the_papers_recipe():
    plan = make_plan("recipes", replace(scale_of("recipes", "small"), steps=20000, steps_beside=5000), seeds=[0],
                     recipe="trpo", sweep=Sweep())  # fmt: skip
    assert [job.steps for job in plan.trainings] == [20000, *[5000] * 11]

    def course(recipe: str, seed: int, slope: float, length: int) -> Trained:
        steps = np.arange(200, length + 1, 200)
        job = TrainJob(replace(CLONE, seed=seed), 0.1, recipe, length, 1000, 3)
        return Trained(job, Curve(steps, slope * steps / 200.0), [])

    kinds = (("trpo", 0.41, 20000), (OUR_RECIPE, 2.0, 5000))
    trainings = [course(recipe, s, slope, length) for s in range(5) for recipe, slope, length in kinds]
    shares = {v.claim: v.ours for v in curve_verdicts("recipes", best_of(arms_of(trainings)), {"expert": 45.0}, 1)}
    for level, share in (("40.0", 20 / 98), ("45.0", 0.23), ("50.0", 0.25)):
        claim = f"{OUR_RECIPE} needs at most 1/4 of trpo's samples for {level}"
        assert shares[claim].mean == pytest.approx(share)
    never = [course(recipe, s, 1.0, length) for s in range(5) for recipe, _, length in kinds]
    found = curve_verdicts("recipes", best_of(arms_of(never)), {"expert": 45.0}, 1)
    assert found[0].ours.mean == pytest.approx(100 / 40)


def test_a_level_that_nobody_got_to_in_seeds_enough_is_not_for_want_of_seeds():
    def course(recipe: str, seed: int) -> Trained:
        steps = np.arange(200, 2001, 200)
        return Trained(TrainJob(replace(CLONE, seed=seed), 0.1, recipe, 2000, 1000, 3), Curve(steps, steps * 0.0), [])

    def said(seeds: int) -> set[str]:
        trainings = [course(recipe, s) for s in range(seeds) for recipe in ("trpo", OUR_RECIPE)]
        found = curve_verdicts("recipes", best_of(arms_of(trainings)), {"expert": 56.0}, 1)
        return {v.outcome for v in found if "needs at most" in v.claim}

    assert said(5) == {NOBODY} and said(1) == {TOO_FEW}


def test_the_mean_policy_at_the_end_is_that_of_the_last_step_or_none():
    steps = np.arange(200, 2001, 200)
    job = TrainJob(CLONE, 0.1, "trpo", 2000, 1000, 3)
    whole = [{"env_steps": at, "success_rate": at / 2000} for at in (0, 1000, 2000)]
    assert Trained(job, Curve(steps, steps * 0.0), whole).at_end == whole[2]
    assert Trained(job, Curve(steps, steps * 0.0), whole[:2]).at_end is None, "it was run on, and cut here"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table1", "--steps", "7"], "--steps"),
        (["table1_grasp", "--recipe", "trpo_c8"], "--recipe"),
        (["table1", "--initial-std", "0.3"], "--initial-std"),
        (["table1", "--l2-weight", "0.9"], "--l2-weight"),
        (["fig4", "--seed", "2147483647", "--seeds", "2"], "--seed is 2147483647; allowed: at most 2147483646"),
    ],
)
def test_options_that_could_not_be_followed_are_refused_before_any_work(words, said, tmp_path, capsys):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_our_recipe_is_judged_by_what_each_level_costs_beside_the_papers():
    def course(recipe: str, slope: float, seed: int) -> Trained:
        steps = np.arange(200, 20001, 200)
        job = TrainJob(replace(CLONE, seed=seed), 0.1, recipe, 20000, 1000, 3)
        return Trained(job, Curve(steps, np.minimum(75.0, slope * steps / 200.0 + seed)), [])

    trainings = [course(r, slope, s) for s in range(5) for r, slope in (("trpo", 0.6), (OUR_RECIPE, 6.0))]
    found = curve_verdicts("recipes", best_of(arms_of(trainings)), {"expert": 56.0}, 1)
    assert [v.outcome for v in found] == [REACHED] * 6
    assert found[0].ours.mean == pytest.approx(
        np.mean([np.ceil((40 - s) / 6) / np.ceil((40 - s) / 0.6) for s in range(5)])
    )
    assert found[3].ours.mean == pytest.approx(np.mean([np.ceil((70 - s) / 6) / 100 for s in range(5)]))
    against_ours = curve_verdicts("recipes", best_of(arms_of(trainings)), {"expert": 56.0}, 1, recipe=OUR_RECIPE)
    assert against_ours[0].claim == f"trpo needs at most 1/4 of {OUR_RECIPE}'s samples for 40.0"
    plan = make_plan("recipes", scale_of("recipes", "small"), seeds=[0], recipe="trpo", sweep=Sweep())
    assert [(job.method, job.recipe, job.clone.rule) for job in plan.trainings] == [
        (method, recipe, rule)
        for rule in ("literal", OUR_RULE)
        for method in ("vd", UNCERTAINTY)
        for recipe in ("trpo", REUSING, OUR_RECIPE)
    ]
    theirs, ours = plan.clones
    assert theirs.samples == ours.samples and (theirs.noise_std_rad, ours.noise_std_rad) == (NOISE_RAD, OUR_NOISE_RAD)
    assert (theirs.task, ours.task) == ("reach", OUR_TASK)
    assert expert_lines(plan) == {
        "expert-literal": ("expert-literal", "reach"), "expert": ("expert", "reach"), OUR_EXPERT: ("expert", OUR_TASK)
    }  # fmt: skip
    own_task = replace(scale_of("recipes", "small"), task="reach_free")
    all_free = make_plan("recipes", own_task, seeds=[0], recipe="trpo", sweep=Sweep())
    assert {job.task for job in all_free.clones} == {"reach_free"}
    assert expert_lines(all_free) == {name: (name, "reach_free") for name in ("expert-literal", "expert")}
    own = [replace(t, job=replace(t.job, initial_std=None)) for t in trainings if t.job.recipe == OUR_RECIPE]
    both = curve_verdicts("recipes", best_of(arms_of([*trainings, *own])), {"expert": 56.0}, 1)
    assert both[:6] == found and [v.ours for v in both[6:]] == [v.ours for v in found]
    assert all(f"exploring by its uncertainty, {OUR_RECIPE}" in v.claim for v in both[6:])
    shown = replace(CLONE, method="vd", rule=OUR_RULE, noise_std_rad=OUR_NOISE_RAD)
    ours = [replace(t, job=replace(t.job, clone=replace(shown, seed=t.job.seed))) for t in trainings]
    arms = best_of(arms_of([*trainings, *ours]))
    beside = curve_verdicts("recipes", arms, {"expert": 56.0, OUR_EXPERT: 85.0}, 1)
    assert {v.outcome for v in beside if f"({OUR_EXPERT}, 85.0)" in v.claim} == {NOT_REACHED}
    named = {v.claim for v in curve_verdicts("recipes", arms, {"expert": 56.0}, 1) if "ends above" in v.claim}
    names = (OUR_RECIPE, "our demonstrations, trpo", f"our demonstrations, {OUR_RECIPE}")
    assert named == {f"{name} ends above the expert (expert, 56.0)" for name in names}
    assert titles(arms)[2:] == [f"VD, noise 0.25, clipped expert, recipe {recipe}" for recipe in ("trpo", OUR_RECIPE)]
    free = [replace(t, job=replace(t.job, clone=replace(t.job.clone, task=OUR_TASK))) for t in ours]
    freed = titles(best_of(arms_of([*trainings, *free])))
    assert freed[-1] == f"VD, noise 0.25, clipped expert, task reach_free, recipe {OUR_RECIPE}"


def test_each_recipe_as_a_whole_is_run_without_what_lies_between():
    scale = replace(scale_of("ours", "small"), steps=20000, steps_beside=5000)
    plan = make_plan("ours", scale, seeds=[0, 1], recipe="trpo", sweep=Sweep())
    assert [(job.clone.rule, job.clone.noise_std_rad, job.recipe, job.steps, job.seed) for job in plan.trainings] == [
        (*whole, seed) for seed in (0, 1)
        for whole in (("literal", NOISE_RAD, "trpo", 20000), (OUR_RULE, OUR_NOISE_RAD, OUR_RECIPE, 5000))
    ]  # fmt: skip

    def course(job: TrainJob, slope: float) -> Trained:
        steps = np.arange(200, job.steps + 1, 200)
        return Trained(job, Curve(steps, np.minimum(55.0, slope * steps / 200.0)), [])

    plan = make_plan("ours", scale, seeds=list(range(5)), recipe="trpo", sweep=Sweep())
    found = [course(job, 0.8 if job.recipe == "trpo" else 8.0) for job in plan.trainings]
    verdicts = {v.claim: v.outcome for v in curve_verdicts("ours", best_of(arms_of(found)), {"expert": 50.0}, 1)}
    cheaper = f"our demonstrations, {OUR_RECIPE} needs at most 1/4 of trpo's samples for "
    assert {v: verdicts[cheaper + v] for v in ("40.0", "50.0", "60.0")} == {
        "40.0": REACHED, "50.0": REACHED, "60.0": NOBODY}  # fmt: skip


def test_the_figures_that_the_command_offers_are_those_that_there_are():
    assert set(OFFERED) == set(FIGURES)


def grasping(method: str, level: float, seed: int, successes: int = 0) -> Trained:
    """A training of fig7 that stays at a return while it explores, 5 above it with its mean policy."""
    job = TrainJob(replace(CLONE, method=method, seed=seed, task="grasp"), 0.1, "trpo", 2000, 1000, 3)
    curve = Curve(np.array([1000, 2000]), np.array([level, level]))
    return Trained(job, curve, [{"env_steps": 2000, "success_rate": 0.9, "mean_return": level + 5.0}], successes)


def test_grasping_is_judged_beside_the_expert_and_by_what_is_learned_from_nothing():
    levels = (("vd", 14.0), ("l2", 5.0), ("random", -30.0))
    figures = [grasping(method, level + 0.1 * s, s) for s in range(3) for method, level in levels]
    found = {v.claim: v.outcome for v in curve_verdicts("fig7", arms_of(figures), {"expert": 20.0}, 1)}
    assert found["without pre-training nothing is learned"] == REPRODUCED
    assert found["VD is better than L2"] == found["VD is better than no pre-training"] == REPRODUCED
    assert found["VD ends short of the expert (expert, 20.0)"] == REPRODUCED
    assert found["VD comes within 10 % of the expert (expert, 20.0)"] == REACHED, "19 of 20, of the mean policy"
    assert found["L2 comes within 10 % of the expert (expert, 20.0)"] == NOT_REACHED
    lucky = [grasping("random", -29.0, s, successes=s == 2) for s in range(3)]
    (verdict,) = curve_verdicts("fig7", arms_of(lucky), {"expert": 20.0}, 1)
    assert verdict.outcome == NOT_REPRODUCED


def test_of_a_sweep_the_best_setting_of_each_method_counts():
    figures = [invented("vd", level, s, std) for s in range(2) for std, level in ((0.05, 20.0), (0.1, 50.0))]
    (best,) = best_of(arms_of(figures))
    assert best.job.initial_std == 0.1


def test_table_1_is_judged_for_units_and_weights_apart():
    sparsities = {(8000, 0.5): {s: {"unit_sparsity": 0.67 + 0.005 * s, "weight_sparsity": 0.95} for s in range(5)}}
    by_measure = {(v.claim, v.measure): v.outcome for v in sparsity_verdicts("table1", sparsities, 8000)}
    claim = "sparsity with 8000 demonstrations, noise 0.5"
    assert by_measure[claim, "share of units pruned"] == REPRODUCED
    assert by_measure[claim, "share of weights pruned"] == NOT_REPRODUCED
    grasping = sparsity_verdicts("table1_grasp", {(8000, 0.03): {s: sparsities[8000, 0.5][s] for s in range(3)}}, 8000)
    assert [v.outcome for v in grasping] == [NOT_REPRODUCED, NOT_REPRODUCED], "0.693 for grasping"
    elsewhere = sparsity_verdicts("table1", {(2000, 0.5): sparsities[8000, 0.5]}, 2000)
    assert {v.outcome for v in elsewhere if v.claim.startswith("sparsity")} == {OTHER_SETTING}
    assert by_measure["less noise, sparser", "difference in the share of units pruned"] == TOO_FEW
