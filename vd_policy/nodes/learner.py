"""The learner node: rollouts in, better weights out, everything saved."""

from __future__ import annotations

import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rclpy.node import Node

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.seeds import MAX_SEED
from vd_policy.base.settings import setting
from vd_policy.graph.options import RECIPE_HELP
from vd_policy.graph.trained import task_and_robot, world
from vd_policy.learning.recipe import build_learner, load_recipe, recipe_of_rl
from vd_policy.learning.resume import check_free
from vd_policy.learning.train import Training
from vd_policy.messages.blobs import decode_blob, encode_blob, pack_weights, unpack_episode
from vd_policy.messages.topics import ROLLOUT, WEIGHTS
from vd_policy.nodes.diagnostics import OK, WARN, Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.rollouts import GraphCollector, Sessions, Stopped
from vd_policy.nodes.ros import Finished, RclpyFactory, advertise, deliver, run, serve, steady_timer, subscribe
from vd_policy.nodes.weights import BATCH, COLLECTED, LAST, LIFE
from vd_policy.nodes.worker import Worker
from vd_policy.policy.checkpoint import Run, load_run
from vd_policy.policy.manifest import policy_manifest, policy_tensors

SAVE_PATIENCE_S = 30.0
"""`learner/save` waits this long for the update that is going on."""


@dataclass(frozen=True)
class LearnerSettings:
    """Parameters of the learner node."""

    run: str = setting("", "directory of the run to start from")
    out: str = setting("trained", "directory for the improved run")
    task: str = setting("", "task: a name in config/tasks, or a YAML file; empty: the run's")
    robot: str = setting("", "robot: a name in config/robots, or a YAML file; empty: the run's")
    recipe: str = setting("", RECIPE_HELP)
    seed: int = setting(0, "seed of the learner's own random numbers", minimum=0, maximum=MAX_SEED)
    updates: int = setting(0, "end after so many updates, those before a resume counted in; 0: never", minimum=0)
    save_every: int = setting(10, "save the run every so many updates", minimum=1)
    resume: bool = setting(False, "go on from what out holds")
    threads: int = setting(1, "threads of the network", minimum=1, maximum=64)
    lease_s: float = setting(0.5, "policies may take the learner for dead when it is silent this long", minimum=0.05)


class LearnerNode(Node):
    """Topics and the save service around the one training loop, which has a thread of its own."""

    def __init__(self) -> None:
        super().__init__("learner", automatically_declare_parameters_from_overrides=True)
        self.settings = s = declare(self, LearnerSettings)
        torch.set_num_threads(s.threads)
        self._diagnostics = Diagnostics(self)
        self._factory = RclpyFactory()
        self._life, self._working = uuid.uuid4().hex, threading.Lock()
        self._collector = GraphCollector(lambda _, version: self._publish(version), self._working)
        self._training = self._prepared(self._start())
        self._sessions = Sessions(self.updates)
        subscribe(self, ROLLOUT, self._take)
        # last: whoever sees that it publishes sends rollouts
        self._weights = advertise(self, WEIGHTS, lease_s=s.lease_s)
        self._worker = Worker("training", self._train)
        serve(self, "learner/save", self._save_now)
        steady_timer(self, 0.1, self._look)
        self._diagnostics.state(OK, f"learning to {s.out}")

    @property
    def updates(self) -> int:
        """Updates of the run, those before a resume counted in."""
        return len(self._training.metrics.rows)

    def _start(self) -> Run:
        if not self.settings.run:
            raise BadInput("run", "", "the directory of a trained run", "set the parameter run")
        return load_run(self.settings.run)

    def _prepared(self, start: Run) -> Training:
        s = self.settings
        out = Path(s.out)
        check_free(out, s.resume)
        task, robot = task_and_robot(s.run, s.task, s.robot)
        recipe = load_recipe(s.recipe or recipe_of_rl(task))
        learner = build_learner(recipe, start.policy, seed=s.seed, version=start.manifest["weight_version"])
        begun_with = {"method": recipe.method, "settings": recipe.settings, "seed": s.seed, **world(task, robot)}
        training = Training(learner, self._collector, start, out, begun_with=begun_with,
                            manifest_extra={"seeds": {"train": s.seed}}, checkpoint_every=s.save_every)  # fmt: skip
        if s.resume:
            training.restore()
        return training

    def _take(self, msg: Any) -> None:
        counts = self._diagnostics.counts
        counts["received"] += 1
        try:
            self._collector.put(self._sessions.named(unpack_episode(decode_blob(msg))))
        except BadInput as error:
            counts["unreadable"] += 1
            self.get_logger().warning(f"rollout dropped: {error}", throttle_duration_sec=1.0)

    def _publish(self, version: int, *, last: bool = False) -> None:
        policy = self._training.learner.policy
        told = {COLLECTED: dict(self._collector.collected), LIFE: self._life,
                BATCH: self._training.learner.collect_steps, LAST: last}  # fmt: skip
        manifest = policy_manifest(policy, {"weight_version": version, **told})
        self._weights.publish(encode_blob(self._factory, pack_weights(policy_tensors(policy), manifest)))

    def _train(self) -> None:
        """The training thread: iterate until told to stop, then save what has been learned."""
        with self._working:
            try:
                if not self._target_reached:  # a finished run that is resumed
                    self._training.run(sys.maxsize, self._iterated)
            except Stopped:
                if self._training.unsaved:
                    self._training.save()

    def _iterated(self, _steps: int, figures: dict[str, float]) -> None:
        """After each iteration."""
        shown = {name.split("/")[-1]: f"{value:.6g}" for name, value in figures.items()}
        self._diagnostics.values |= {"updates": self.updates, **shown}
        self.get_logger().info(f"update {self.updates}: success {figures['rollout/success_rate']:.2f}, "
                               f"{figures['rollout/successes_per_200_steps']:.1f} successes per 200 steps, "
                               f"weights {self._training.learner.version}")  # fmt: skip
        if self._target_reached:
            raise Stopped

    @property
    def _target_reached(self) -> bool:
        return 0 < self.settings.updates <= self.updates

    def _save_now(self) -> str:
        if not self._working.acquire(timeout=SAVE_PATIENCE_S):
            raise VdPolicyError(f"the update takes more than {SAVE_PATIENCE_S:g} s; ask again")
        try:
            self._training.save()
        finally:
            self._working.release()
        return f"{self.updates} updates saved in {self._training.out}"

    def _look(self) -> None:
        self._worker.check()
        if not self._worker.is_alive:
            raise Finished
        self._diagnostics.values["waiting_rollouts"] = self._collector.waiting
        learners = self.count_publishers(WEIGHTS)  # one that was killed counts until its discovery lease ends
        if learners > 1:
            self._diagnostics.state(WARN, f"{learners} learners publish {WEIGHTS}, and policies follow now one, now "
                                          "another; end all but one")  # fmt: skip
        elif self.count_publishers(ROLLOUT):
            self._diagnostics.state(OK, f"learning to {self.settings.out}")
        else:
            self._diagnostics.state(WARN, "no policy sends rollouts")

    def close(self) -> None:
        """Finish the update that is going on, save, and tell the policies that this was all."""
        self._collector.close()
        self._worker.join()
        saved = self.updates - self._training.unsaved
        self.get_logger().info(f"{saved} updates saved in {self._training.out}")
        self._worker.check()
        self._publish(self._training.learner.version, last=True)
        deliver(self._weights)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(LearnerNode, args)


if __name__ == "__main__":
    sys.exit(main())
