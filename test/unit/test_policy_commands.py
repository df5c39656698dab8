"""`vd_policy prune` and `vd_policy export` on real run directories, and the benchmark of a policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from policy_samples import lively, random_obs, small_policy

from vd_policy.cli.commands.prune import THRESHOLD
from vd_policy.cli.main import main
from vd_policy.policy.checkpoint import load_run, save_run
from vd_policy.policy.layers import LOG_ALPHA_THRESHOLD


@pytest.fixture
def cloned(tmp_path) -> Path:
    extra = {"weight_version": 3, "env_steps": {"pretraining": 2000, "rl": 0}, "seeds": {"pretrain": 7}}
    policy = lively(small_policy("variational"))
    with torch.no_grad():
        policy.mean.encoder.image_fc[1].log_sigma2[:3] = 20.0
    return save_run(tmp_path / "cloned", policy, config={"method": "vd"}, manifest_extra=extra)


@pytest.fixture
def dense(tmp_path) -> Path:
    return save_run(tmp_path / "dense", lively(small_policy(seed=1), seed=1), config={"method": "l2"})


def figures_of(tmp_path: Path, *words: object) -> dict:
    assert main([*map(str, words), "--json", str(tmp_path / "figures.json")]) == 0
    return json.loads((tmp_path / "figures.json").read_text())


def refusal(capsys, *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_threshold_that_the_command_names_is_the_one_that_pruning_takes():
    assert THRESHOLD == LOG_ALPHA_THRESHOLD


def test_prune_writes_a_smaller_run_that_decides_the_same_and_says_what_it_saved(cloned, tmp_path, capsys):
    figures = figures_of(tmp_path, "prune", cloned, "--out", tmp_path / "small")
    before, after = load_run(cloned), load_run(tmp_path / "small")
    obs = random_obs(before.spec, 4)
    torch.testing.assert_close(after.policy(obs)[0], before.policy(obs)[0], rtol=1e-5, atol=1e-5)
    assert figures["parameters_after"] == sum(p.numel() for p in after.policy.mean.parameters())
    assert figures["parameters_after"] < figures["parameters_before"] and 0 < figures["weight_sparsity"] < 1
    assert after.manifest["parents"]["init"] == before.as_parent()
    assert after.manifest["weight_version"] == 3 and after.manifest["env_steps"]["pretraining"] == 2000
    assert after.config == {"method": "vd", "prune": {"threshold": 3.0}}
    shown = capsys.readouterr().out
    assert f"{figures['parameters_before']} -> {figures['parameters_after']}" in shown and "image_fc.0" in shown


def test_a_lower_threshold_drops_more(cloned, tmp_path):
    usual = figures_of(tmp_path, "prune", cloned, "--out", tmp_path / "usual")
    stricter = figures_of(tmp_path, "prune", cloned, "--out", tmp_path / "stricter", "--threshold", -1)
    assert stricter["weight_sparsity"] > usual["weight_sparsity"]


def test_the_magnitude_baseline_matches_a_pruned_run_layer_by_layer(cloned, dense, tmp_path):
    wanted = figures_of(tmp_path, "prune", cloned, "--out", tmp_path / "small")
    found = figures_of(tmp_path, "prune", dense, "--like", tmp_path / "small", "--out", tmp_path / "baseline")
    assert [layer["kept"] for layer in found["layers"]] == [layer["kept"] for layer in wanted["layers"]]


def test_pruning_what_was_not_trained_with_dropout_is_refused_with_the_way_out(dense, tmp_path, capsys):
    assert "--density" in refusal(capsys, "prune", dense, "--out", tmp_path / "small")
    assert not (tmp_path / "small").exists()
    assert figures_of(tmp_path, "prune", dense, "--density", 0.5, "--out", tmp_path / "small")["weight_sparsity"] > 0.49


def test_prune_replaces_no_directory_and_names_what_is_wrong(cloned, dense, tmp_path, capsys):
    assert "--out" in refusal(capsys, "prune", cloned, "--out", cloned)
    assert "nowhere" in refusal(capsys, "prune", tmp_path / "nowhere", "--out", tmp_path / "small")
    for words in (("prune", tmp_path, "--out", tmp_path / "small"), ("evaluate", tmp_path)):
        assert f"run is '{tmp_path}'; allowed: a run directory" in refusal(capsys, *words), "bags, say"
    assert "--like" in refusal(capsys, "prune", dense, "--like", cloned, "--out", tmp_path / "small")
    assert "--density" in refusal(capsys, "prune", dense, "--density", 2, "--out", tmp_path / "small")
    load_run(cloned)


def test_a_place_that_is_taken_is_named_before_any_bags_are_read(cloned, tmp_path, capsys):
    bags = tmp_path / "not_there"
    for words in (("prune", cloned, "--explore-on", bags), ("pretrain", bags)):
        assert refusal(capsys, *words, "--out", cloned).startswith(f"vd_policy {words[0]}: --out is")


def test_export_writes_a_file_that_was_compared_and_refuses_an_unpruned_policy(cloned, dense, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    figures = figures_of(tmp_path, "export", dense, "--onnx", tmp_path / "policy.onnx")
    assert figures["largest_difference"] <= 1e-5 and figures["size_bytes"] == (tmp_path / "policy.onnx").stat().st_size
    assert "prune first" in refusal(capsys, "export", cloned, "--onnx", tmp_path / "other.onnx")
    assert "--onnx" in refusal(capsys, "export", dense, "--onnx", tmp_path / "nowhere" / "policy.onnx")


def test_the_benchmark_gives_every_figure_with_its_unit():
    pytest.importorskip("onnxruntime")
    from vd_policy.experiments.bench_policy import bench_policy

    figures = bench_policy(16, 16, batch=4, rounds=2)
    wanted = {f"forward_{engine}_{kind}_ms" for engine in ("torch", "onnx") for kind in ("dense", "masked", "pruned")}
    assert wanted | {"step_dense_ms", "step_vd_ms", "step_ratio"} < set(figures)
    assert all(value > 0 for value in figures.values())
    assert figures["parameters_pruned"] < 0.3 * figures["parameters_dense"]
