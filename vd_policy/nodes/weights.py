"""New weights on their way into a running policy: everything is checked, built and warmed up before the swap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node

from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.control.slot import LatestSlot
from vd_policy.messages.blobs import decode_blob, unpack_weights
from vd_policy.messages.topics import WEIGHTS
from vd_policy.nodes.decider import Decider
from vd_policy.nodes.diagnostics import Diagnostics
from vd_policy.nodes.ros import subscribe
from vd_policy.nodes.worker import Worker
from vd_policy.policy.actor import Actor
from vd_policy.policy.gaussian import GaussianPolicy
from vd_policy.policy.manifest import policy_from, policy_manifest, same_shape_check

COLLECTED, LIFE, BATCH, LAST = "steps_collected", "learner_life", "batch_steps", "last"
"""Entries of the manifest: steps of rollouts that the learner has collected in its life, by the node that acted; a name
of that life; how many steps it learns from at once; true in its last message, when it ends and did not die."""


def policy_from_weights(
    tensors: dict[str, np.ndarray], manifest: dict[str, Any], current: GaussianPolicy
) -> GaussianPolicy:
    """The policy in what came on ``policy/weights``; `current` stays untouched.

    Raises:
        BadInput: another architecture, joint list, image size, rate or scale.
    """
    version = manifest.get("weight_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise BadInput("weights: weight_version", version, "a whole number from 0", "send it in the manifest")
    same_shape_check(policy_manifest(current), manifest, "weights")
    return policy_from(manifest, tensors, "weights")


class WeightsListener:
    """Hears ``policy/weights`` and offers what is good to a `Decider`, on a thread that no decision waits for.

    Args:
        policy: what runs; new weights must be of the same kind.
        build: makes the actor of a policy.
        blank: an observation to warm it up with.
        lease_s: how soon it must be known that a learner died; 0: never.

    Attributes:
        on_progress: called with the steps of this node that the learner says it has collected, the name of its life,
            and the steps that it learns from at once.
        on_last: called when the learner says that it ends, before its weights are looked at.
        on_alive: called with the number of learners that are there, whenever it changes.
    """

    def __init__(self, node: Node, policy: GaussianPolicy, build: Callable[[GaussianPolicy], Actor], decider: Decider,
                 blank: Obs, diagnostics: Diagnostics, lease_s: float = 0.0) -> None:  # fmt: skip
        self._node, self._policy, self._build = node, policy, build
        self._decider, self._blank, self._diagnostics = decider, blank, diagnostics
        self.on_progress: Callable[[int, str, int], None] = lambda steps, life, batch: None
        self.on_last: Callable[[], None] = lambda: None
        self.on_alive: Callable[[int], None] = lambda learners: None
        self._slot: LatestSlot[bytes] = LatestSlot()
        self._subscription = subscribe(node, WEIGHTS, lambda msg: self._slot.put(decode_blob(msg)), lease_s=lease_s,
                                       on_alive=lambda learners: self.on_alive(learners))  # fmt: skip
        self._loader = Worker("weights", self._load)

    def close(self) -> None:
        """Hear nothing more."""
        self._node.destroy_subscription(self._subscription)
        self._slot.close()
        self._loader.join()

    def check(self) -> None:
        """Raise what ended the thread."""
        self._loader.check()

    def _load(self) -> None:
        while (data := self._slot.take()) is not None:
            try:
                tensors, manifest = unpack_weights(data)
                last = manifest.get(LAST) is True
                if last:
                    self.on_last()
                policy = policy_from_weights(tensors, manifest, self._policy)
                actor = self._build(policy)
            except VdPolicyError as error:
                self._refuse(error)
                continue
            self._decider.warm_up(self._blank, actor)
            self._decider.offer(actor, manifest["weight_version"])
            self._diagnostics.counts["weights_accepted"] += 1
            if not last:
                self._tell_progress(manifest)

    def _tell_progress(self, manifest: dict[str, Any]) -> None:
        collected, life, batch = manifest.get(COLLECTED), manifest.get(LIFE, ""), manifest.get(BATCH, 0)
        steps = collected.get(self._node.get_fully_qualified_name(), 0) if isinstance(collected, dict) else None
        if isinstance(steps, int) and isinstance(life, str) and isinstance(batch, int):
            self.on_progress(steps, life, batch)

    def _refuse(self, error: VdPolicyError) -> None:
        self._diagnostics.counts["weights_refused"] += 1
        self._diagnostics.values["weights_refusal"] = str(error)
        self._node.get_logger().error(f"weights refused: {error}")
