"""The exported file computes what the policy does, from raw observations, without torch."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from policy_samples import SMALL, lively, random_obs, small_policy, small_spec

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.policy import export
from vd_policy.policy.export import export_onnx, onnx_session, parity
from vd_policy.policy.gaussian import PolicySettings, new_policy
from vd_policy.policy.onnx_graph import onnx_model
from vd_policy.policy.prune import prune, prune_by_magnitude


@pytest.mark.parametrize("sigma", [SMALL, None], ids=["two networks", "one network"])
@pytest.mark.parametrize("kind", ["dense", "pruned", "sparse"])
def test_the_exported_file_decides_as_the_policy_does(tmp_path, kind, sigma):
    pytest.importorskip("onnxruntime")
    layers = "variational" if kind == "pruned" else "dense"
    policy = lively(small_policy(layers, spec=small_spec(13, 22), sigma=sigma))
    if kind != "dense":
        policy = (prune(policy) if kind == "pruned" else prune_by_magnitude(policy, 0.15))[0]
    done = export_onnx(policy, tmp_path / "policy.onnx")
    assert done.largest_difference <= 1e-5 and done.bytes == (tmp_path / "policy.onnx").stat().st_size
    session = onnx_session((tmp_path / "policy.onnx").read_bytes())
    obs = random_obs(policy.spec, 7, seed=4)
    for found, expected in zip(session.run(["mean", "std"], obs), policy.eval()(obs)):
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    manifest = json.loads(session.get_modelmeta().custom_metadata_map["manifest"])
    assert manifest["observation"] == policy.spec.to_manifest()


@pytest.mark.parametrize("filters", [(9, 22, 5), (16, 3, 20)])
def test_filters_are_filled_up_to_whole_vectors_and_the_decision_stays_the_same(filters):
    """All but those of the last convolution, whose map is read pixel by pixel."""
    onnx = pytest.importorskip("onnx")
    shape = replace(SMALL, conv_channels=filters)
    policy = lively(new_policy(small_spec(13, 22), PolicySettings(mean=shape), seed=0))
    model = onnx_model(policy)
    assert parity(policy, model) <= 1e-5
    sizes = {c.name: tuple(c.dims) for c in onnx.load_from_string(model).graph.initializer}
    first, second, last = (sizes[f"mean.encoder.{name}.bias"][0] for name in ("conv.0.0", "conv.1", "conv.2"))
    assert (first, second, last) == (16, 32 if filters[1] == 22 else 3, filters[2])


def test_a_policy_that_was_not_pruned_is_not_exported(tmp_path):
    with pytest.raises(BadInput, match="vd_policy prune first"):
        export_onnx(small_policy("variational"), tmp_path / "policy.onnx")


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    policy = lively(small_policy())
    model = export.onnx_model(policy)
    with torch.no_grad():
        policy.mean.head.bias += 0.01
    monkeypatch.setattr(export, "onnx_model", lambda policy: model)
    with pytest.raises(VdPolicyError, match="differs from torch by 0.0"):
        export_onnx(policy, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, monkeypatch, package):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInput, match=rf"'{package}'.*pip install 'vd_policy\[export\]'"):
        export_onnx(small_policy(), tmp_path / "policy.onnx")
