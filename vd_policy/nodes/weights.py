"""New weights on their way into a running policy: everything is checked and built before the swap."""

from __future__ import annotations

from vd_policy.base.errors import BadInput
from vd_policy.messages.blobs import unpack_weights
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.manifest import policy_from, policy_manifest, same_shape_check


def policy_from_bytes(data: bytes, current: GaussianPolicy) -> tuple[GaussianPolicy, int]:
    """The policy in the bytes of ``policy/weights``, and its weight version; `current` stays untouched.

    Raises:
        BadInput: unreadable bytes, NaN or Inf, another architecture, joint list, image size, rate or scale.
    """
    tensors, manifest = unpack_weights(data)
    version = manifest.get("weight_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise BadInput("weights: weight_version", version, "a whole number from 0", "send it in the manifest")
    same_shape_check(policy_manifest(current), manifest, "weights")
    return policy_from(manifest, tensors, "weights"), version
