"""Damaged, foreign and hostile checkpoints are refused before use; pruning never leaves a policy blind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_samples import lively, random_obs, small_policy, small_spec
from safetensors import numpy as safetensors

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.policy import checkpoint
from vd_policy.policy.checkpoint import load_run, load_training, policy_from, policy_tensors, same_shape_check, save_run
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.prune import prune, prune_by_magnitude, threshold_masks


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    small, _ = prune_by_magnitude(lively(small_policy()), 0.15)
    training = {"step": 7, "moments": torch.arange(4.0), "random": np.arange(3, dtype=np.uint8)}
    path = tmp_path_factory.mktemp("runs") / "run"
    return save_run(path, small, config={"method": "vd"}, training=training, metrics_csv="step,loss\n1,2.0\n")


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def relist(run: Path, **changes) -> None:
    """Make the manifest agree with the files as they are now, as somebody who forges a run would."""
    manifest = {**json.loads((run / "manifest.json").read_text()), **changes}
    for name in manifest["files"]:
        if (run / name).is_file():
            data = (run / name).read_bytes()
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (run / "manifest.json").write_bytes(checkpoint._sealed(manifest))


def replace_tensors(run: Path, **changes) -> None:
    tensors = safetensors.load_file(run / "weights.safetensors") | changes
    safetensors.save_file({k: v for k, v in tensors.items() if v is not None}, run / "weights.safetensors")
    relist(run)


def refusal(run: Path, load=load_run) -> str:
    with pytest.raises(BadInput) as caught:
        load(run)
    assert caught.value.fix and caught.value.allowed
    return str(caught.value)


ALL_FILES = [
    "config.yaml", "manifest.json", "metrics.csv", "weights.safetensors",
    "training/state.json", "training/tensors.safetensors",
]  # fmt: skip


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_truncated_file_is_refused_by_name(run, name):
    """FAULTS 36: checkpoint truncated."""
    for keep in (0.0, 0.5, 0.99):
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: int(keep * len(data))])
        assert name in refusal(run)
        (run / name).write_bytes(data)
    load_run(run)


@pytest.mark.parametrize("name", ALL_FILES)
def test_one_flipped_byte_is_refused_by_name_wherever_it_is(run, name):
    """FAULTS 36: one byte flipped."""
    data = (run / name).read_bytes()
    for position in {*range(0, len(data), max(1, len(data) // 25)), len(data) - 1}:
        flipped = bytearray(data)
        flipped[position] ^= 0x01
        (run / name).write_bytes(flipped)
        assert name in refusal(run), position
    (run / name).write_bytes(data)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_missing_file_is_refused_by_name(run, name):
    """FAULTS 36: a part of the checkpoint is gone."""
    (run / name).unlink()
    assert name in refusal(run)


@pytest.mark.parametrize(
    ("schema", "fix"), [(0, "write it again"), (2, "newer vd_policy"), (None, "again"), ("1", "again")]
)
def test_another_schema_is_refused_with_the_way_out(run, schema, fix):
    """FAULTS 36: older schema, and a newer one."""
    relist(run, schema=schema)
    assert "schema" in refusal(run) and fix in refusal(run)


def test_another_kind_of_actor_is_refused(run):
    """FAULTS 36: another architecture."""
    relist(run, kind="recurrent")
    assert "kind is 'recurrent'" in refusal(run)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("network", "mean", "conv_channels"), [3, 4, 6]),
        (("network", "mean", "layers"), "variational"),
        (("network", "mean", "layers"), "os.system"),
        (("network", "mean", "kernel"), 4),
        (("network", "mean", "joint_widths"), []),
        (("network", "mean", "joint_widths"), [4096] * 1000),
        (("network", "sigma", "image_widths"), [0, 1, 2]),
        (("network", "depth"), 3),
        (("network", "initial_std"), float(5)),
        (("observation", "joints"), ["a", "a", "b"]),
        (("observation", "image_height"), 64),
        (("observation", "image_height"), 10**9),
        (("observation", "rate_hz"), -1.0),
        (("observation", "depth_max_m"), "far"),
        (("observation",), None),
        (("network",), [1, 2]),
    ],
)
def test_a_manifest_of_another_architecture_or_without_sense_is_refused(run, where, value):
    """FAULTS 36: another architecture."""
    manifest = json.loads((run / "manifest.json").read_text())
    part = manifest
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    relist(run, **manifest)
    assert str(run) in refusal(run)


def test_missing_extra_and_misshapen_tensors_are_refused_by_name(run):
    """FAULTS 36: missing or extra tensors."""
    tensors = safetensors.load_file(run / "weights.safetensors")
    name = "mean.head.weight"
    for changes in (
        {name: None},
        {name: tensors[name][:, :-1].copy()},
        {name: tensors[name].astype(np.float64)},
        {name: np.full_like(tensors[name], np.nan)},
        {name: np.full_like(tensors[name], np.inf)},
        {"mean.backdoor": np.zeros(3, np.float32)},
    ):
        replace_tensors(run, **changes)
        assert next(iter(changes)) in refusal(run)
        replace_tensors(run, **{"mean.backdoor": None, **tensors})
    load_run(run)


def test_a_weight_under_its_mask_and_a_feature_that_is_not_there_are_refused(run):
    """FAULTS 36: tensors at odds with each other."""
    tensors = safetensors.load_file(run / "weights.safetensors")
    name = next(n for n in tensors if n.endswith("kept") and not tensors[n].all())
    weight = name.replace("kept", "weight")
    replace_tensors(run, **{weight: np.ones_like(tensors[weight])})
    assert weight in refusal(run)
    index = tensors["mean.encoder.image_index"]
    for wrong in (index + 10**6, index - 10**6, np.zeros_like(index)):
        replace_tensors(run, **{weight: tensors[weight], "mean.encoder.image_index": wrong})
        assert "image_index" in refusal(run)


def test_an_oversized_header_is_refused_before_it_is_parsed(run):
    """FAULTS 36: oversized header."""
    for length in (2**63, 10**7, 1 << 21):
        (run / "weights.safetensors").write_bytes(struct.pack("<Q", length) + b"{" + b" " * (1 << 22))
        relist(run)
        assert "header length" in refusal(run) and "weights.safetensors" in refusal(run)


def test_bytes_that_are_no_safetensors_are_refused(run):
    """FAULTS 36: another format, a pickle for example."""
    for junk in (
        b"",
        b"\x80\x04",
        b"\x80\x04\x95" + bytes(100),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
    ):
        (run / "weights.safetensors").write_bytes(junk)
        relist(run)
        assert "weights.safetensors" in refusal(run)


def test_a_file_over_its_limit_is_refused_before_it_is_read(run):
    """FAULTS 36: sizes are capped before reading."""
    limit = checkpoint.MAX_BYTES["manifest.json"]
    os.truncate(run / "manifest.json", limit + 1)
    assert "manifest.json" in refusal(run) and str(limit) in refusal(run)


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/hostname", "training/../../outside.txt", "notes.txt", "manifest.json"]
)
def test_a_listed_name_outside_the_known_ones_is_refused(run, name):
    """FAULTS 36: path traversal in a name."""
    (run.parent / "outside.txt").write_text("secret")
    manifest = json.loads((run / "manifest.json").read_text())
    relist(run, files={**manifest["files"], name: {"sha256": "0" * 64, "bytes": 6}})
    assert name in refusal(run) and "secret" not in refusal(run)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_symbolic_link_in_place_of_a_file_is_refused(run, name):
    """FAULTS 36: symlink."""
    (run / name).rename(run.parent / "elsewhere")
    (run / name).symlink_to(run.parent / "elsewhere")
    assert name in refusal(run) and "symbolic link" in refusal(run)


def test_a_linked_directory_and_an_unlisted_file_are_refused(run):
    """FAULTS 36: symlink; and files that nobody vouches for."""
    (run / "weights.pkl").write_bytes(b"\x80\x04")
    assert "weights.pkl" in refusal(run)
    (run / "weights.pkl").unlink()
    (run / "training").rename(run.parent / "training")
    (run / "training").symlink_to(run.parent / "training")
    assert "training" in refusal(run)


def test_the_training_state_is_refused_when_damaged_and_named_when_absent(run, tmp_path):
    """FAULTS 36: the part that a resumed run reads."""
    data = bytearray((run / "training/tensors.safetensors").read_bytes())
    data[-1] ^= 0x80
    (run / "training/tensors.safetensors").write_bytes(data)
    assert "training/tensors.safetensors" in refusal(run, load_training)
    other = save_run(tmp_path / "other", small_policy(), config={})
    assert "training" in refusal(other, load_training)


def test_weights_that_are_not_numbers_are_not_saved_and_the_earlier_run_stays(run):
    """FAULTS 25: NaN weights never reach a checkpoint."""
    policy = load_run(run).policy
    with torch.no_grad():
        policy.mean.head.bias[0] = float("nan")
    with pytest.raises(BadInput, match="mean.head.bias"):
        save_run(run, policy, config={})
    assert load_run(run).policy.mean.head.bias.isfinite().all()


def test_a_directory_that_is_no_run_is_not_replaced(tmp_path):
    """FAULTS 32: nothing already recorded is lost."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(BadInput, match="thesis"):
        save_run(tmp_path / "thesis", small_policy(), config={})
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_failing_disk_leaves_the_earlier_run_intact(run, monkeypatch):
    """FAULTS 32: disk full while saving."""
    before = load_run(run)

    def full(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(VdPolicyError, match="No space left"):
        patch.setattr(Path, "write_bytes", full)
        save_run(run, small_policy(seed=5), config={})
    assert load_run(run).manifest == before.manifest
    assert sorted(p.name for p in run.parent.iterdir()) == ["run"]


def test_weights_off_a_topic_are_held_against_the_policy_in_use():
    """FAULTS 25, 26: weights of another architecture, joints, image size or rate never replace the ones in use."""
    policy = small_policy()
    manifest = checkpoint.policy_manifest(policy)
    same_shape_check(manifest, checkpoint.policy_manifest(small_policy(seed=4), {"weight_version": 3}))
    wider = small_policy(spec=small_spec(18, 16))
    with pytest.raises(BadInput, match="observation.image_height is 18; allowed: 16 as now"):
        same_shape_check(manifest, checkpoint.policy_manifest(wider))
    for part, name, value in (
        ("observation", "rate_hz", 2.0),
        ("observation", "joints", ["a", "b", "c"]),
        ("network", "mean", {**manifest["network"]["mean"], "kernel": 5}),
        ("network", "min_std", None),
    ):
        with pytest.raises(BadInput, match=f"{part}.{name}"):
            same_shape_check(manifest, {**manifest, part: {**manifest[part], name: value}})
    with pytest.raises(BadInput, match=r"mean\.encoder\.conv\.0\.log_sigma2"):
        policy_from(manifest, policy_tensors(small_policy("variational")))


def test_loading_does_not_move_the_random_numbers_of_a_training_run(run):
    """FAULTS 24: training resumes exactly."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_run(run)
    assert torch.equal(torch.rand(4), expected)


def diverged(policy: GaussianPolicy, layers: str) -> GaussianPolicy:
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if layers in name and name.endswith("log_sigma2"):
                parameter.fill_(80.0)
    return policy


def test_diverged_dropout_rates_are_clamped_and_their_weights_go():
    """FAULTS 29: VD diverges."""
    policy = diverged(lively(small_policy("variational")), "joint_fc.1")
    layer = policy.mean.encoder.joint_fc[1]
    assert layer.log_alpha.max().item() == 8.0 and layer.kl().isfinite()
    assert not threshold_masks(policy.mean)["joint_fc.1"].any()


@pytest.mark.parametrize("stream", ["joint_fc", "image_fc", "conv"])
def test_a_stream_that_is_pruned_whole_keeps_one_unit_a_layer_and_is_named(stream):
    """FAULTS 29: all weights of a whole stream pruned."""
    policy = diverged(lively(small_policy("variational")), stream)
    small, report = prune(policy)
    assert small.mean.shape.joint_widths == (1, 1, 1) or small.mean.shape.image_widths == (1, 1, 1)
    assert any(note.startswith(stream) for note in report.notes)
    obs = random_obs(policy.spec, 4)
    torch.testing.assert_close(small.mean(obs), policy.eval().mean(obs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", ["head", "_fc", ""])
def test_a_policy_that_would_be_blind_is_refused_with_the_reason(layers):
    """FAULTS 29: nothing left between input and output."""
    with pytest.raises(BadInput, match="no action depends on the observation") as caught:
        prune(diverged(lively(small_policy("variational")), layers))
    assert "raise the threshold" in str(caught.value)


def test_a_policy_with_weights_that_are_not_numbers_is_not_pruned():
    """FAULTS 29: VD diverges to NaN."""
    policy = small_policy("variational")
    with torch.no_grad():
        policy.mean.encoder.image_fc[0].bias[0] = float("nan")
    with pytest.raises(BadInput, match=r"mean\.encoder\.image_fc\.0\.bias"):
        prune(policy)
