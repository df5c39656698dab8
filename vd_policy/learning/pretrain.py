"""Supervised pre-training: from demonstrations to the run directory of a cloned policy, resumable to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vd_policy.arm.spec import load_robot
from vd_policy.base.episode import Obs
from vd_policy.base.errors import BadInput
from vd_policy.base.seeds import EPISODE, NETWORK, Seeds
from vd_policy.base.settings import as_dict, setting
from vd_policy.demos.dataset import Dataset
from vd_policy.learning.cloning import Cloning, CloningSettings
from vd_policy.learning.metrics import Metrics
from vd_policy.learning.resume import check_free, check_unchanged
from vd_policy.learning.rollout import rollout
from vd_policy.learning.states import prefixed, under
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import load_metrics, load_training, save_run
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.observation import ObservationSpec
from vd_policy.policy.prune import threshold_masks
from vd_policy.sim.env import ArmEnv
from vd_policy.sim.tasks import load_task

JOINT_SCALE_FLOOR_RAD = 0.1
DEPTH_SAMPLE = 200
"""Images that the depth scale is read from."""
VALIDATION_BATCH = 250
SELECTION_SEED = 0x5E1EC7
"""Root of the selection's starts, apart from every training seed a person would choose."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with the Adam steps done, all of them, and the newest figures."""


@dataclass(frozen=True)
class PretrainSettings(CloningSettings):
    """Cloning, what is measured beside it, and the network."""

    validation_fraction: float = setting(0.1, "share of the episodes held out", minimum=0.0, maximum=0.9)
    checkpoint_epochs: int = setting(20, "epochs from one durable checkpoint to the next", minimum=1)
    select_epochs: int = setting(0, "epochs between measurements of success; 0: none, keep the last policy", minimum=0)
    select_episodes: int = setting(20, "episodes of one measurement of success", minimum=1)
    policy: PolicySettings = setting(help="shape of the networks", factory=PolicySettings)

    def steps_per_epoch(self, samples: int) -> int:
        """Adam steps of a pass over so many training samples, without the last, smaller batch."""
        return max(1, samples // self.batch)

    @property
    def cloned(self) -> PolicySettings:
        """`policy` with means of the layers that the method needs."""
        return replace(self.policy, mean=replace(self.policy.mean, layers=self.layers))


def pretrain(
    dataset: Dataset,
    settings: PretrainSettings,
    out: str | Path,
    *,
    seed: int = 0,
    resume: bool = False,
    allow_changed: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Clone the demonstrations and write a run directory, with a durable checkpoint every few epochs.

    Args:
        dataset: state-label pairs; whole episodes go either to training or to validation.
        out: the run directory.
        seed: of the network's start, the order of the samples, the split and the dropout noise.
        resume: go on from the checkpoint in `out`; the result is that of an uninterrupted training, bit for bit.
        allow_changed: resume although the data or the settings are others.

    Returns:
        `out`, and figures: losses, both sparsities' weights, and success where it was measured.

    Raises:
        BadInput: `out` holds a run and `resume` is not given, or the other way round, or something changed.
        VdPolicyError: the loss is NaN or infinite; the last checkpoint is intact.
    """
    training = _Pretraining(dataset, settings, Path(out), seed)
    check_free(training.out, resume)
    if resume:
        training.restore(allow_changed)
    training.run(progress)
    return training.out, training.figures()


class _Pretraining:
    """One training from its first step or from a checkpoint to its last step."""

    def __init__(self, dataset: Dataset, settings: PretrainSettings, out: Path, seed: int) -> None:
        self.dataset, self.settings, self.out, self.seed = dataset, settings, out, seed
        self.train, self.held_out = dataset.split(settings.validation_fraction, seed)
        self.steps_per_epoch = settings.steps_per_epoch(len(self.train))
        self.steps = settings.epochs * self.steps_per_epoch
        policy = new_policy(observation_spec(dataset, self.train), settings.cloned, seed=Seeds(seed).integer(NETWORK))
        self.cloning = Cloning(policy, settings, samples=len(self.train), steps=self.steps, seed=seed)
        self.metrics = Metrics()
        self.best: dict[str, Tensor] = {}
        self.best_success = -1.0
        if settings.select_epochs:
            self._check_selection()

    def _check_selection(self) -> None:
        """Success can be measured only in a world like that of the demonstrations: say so before the first epoch."""
        shape = self.dataset.shape
        load_robot(shape.robot)
        if shape.task_changes:
            allowed = f"0 for a task file of your own, {shape.task} with {shape.task_changes}"
            raise BadInput("select_epochs", self.settings.select_epochs, allowed,
                           "measure with `vd_policy evaluate RUN --task FILE`")  # fmt: skip
        load_task(shape.task)

    def begun_with(self) -> dict[str, Any]:
        """Data and settings, as a resumed training must find them again."""
        return {"data": self.dataset.content_hash, "seed": self.seed, **as_dict(self.settings)}

    def restore(self, allow_changed: bool) -> None:
        """Go on from the checkpoint in `out`."""
        state = load_training(self.out)
        check_unchanged(state["begun_with"], self.begun_with(), allow_changed)
        self.cloning.load_state_dict(under("cloning", state))
        self.best, self.best_success = under("best", state), state["best_success"]
        self.metrics = Metrics(load_metrics(self.out))

    def run(self, progress: Progress | None) -> None:
        """Step to the end, with figures after each epoch and a checkpoint every few epochs."""
        recent: list[dict[str, float]] = []
        for obs, labels in self._batches():
            recent.append(self.cloning.step(obs, labels))
            done = self.cloning.step_count
            if done % self.steps_per_epoch == 0:
                self._end_epoch(done // self.steps_per_epoch, recent)
                recent = []
            if progress is not None:
                progress(done, self.steps, self.metrics.rows[-1] if self.metrics.rows else {})

    def _batches(self) -> Iterator[tuple[Obs, np.ndarray]]:
        """The batches from the present step on, the next one read by a thread while the present one is learned."""
        with ThreadPoolExecutor(1, "batches") as reader:
            following = reader.submit(self._batch, self.cloning.step_count)
            for step in range(self.cloning.step_count, self.steps):
                batch = following.result()
                if step + 1 < self.steps:
                    following = reader.submit(self._batch, step + 1)
                yield batch

    def _batch(self, step: int) -> tuple[Obs, np.ndarray]:
        epoch, position = divmod(step, self.steps_per_epoch)
        order = Seeds(self.seed).rng("order", epoch).permutation(len(self.train))
        size = self.settings.batch
        return self.dataset.batch(np.sort(self.train[order[position * size : (position + 1) * size]]))

    def _end_epoch(self, epoch: int, recent: list[dict[str, float]]) -> None:
        last = epoch == self.settings.epochs
        due = epoch % self.settings.checkpoint_epochs == 0 or last
        figures = {f"train/clone/{name}": float(np.mean([f[name] for f in recent])) for name in recent[0]}
        figures["train/clone/kl_weight"] = self.cloning.kl_weight
        if self.settings.filter_kl:
            figures["train/clone/filter_kl_weight"] = self.cloning.filter_kl_weight
        if due:
            figures |= self._validation(self.cloning.policy.eval())
        if self.settings.select_epochs and (epoch % self.settings.select_epochs == 0 or last):
            figures["eval/success_rate"] = self._select()
        self.metrics.log(self.cloning.step_count, figures)
        if due:
            self._save()

    def _validation(self, policy: GaussianPolicy) -> dict[str, float]:
        """Error of the thresholded mean on the episodes held out, and how much the threshold would drop."""
        kept = torch.cat([mask.flatten() for mask in threshold_masks(policy.mean).values()])
        figures = {"diag/weight_sparsity": 1.0 - float(kept.to(torch.float32).mean())}
        if len(self.held_out):
            figures |= self._held_out_error(policy)
        return figures

    @torch.no_grad()
    def _held_out_error(self, policy: GaussianPolicy) -> dict[str, float]:
        nll = mse = 0.0
        for start in range(0, len(self.held_out), VALIDATION_BATCH):
            obs, labels = self.dataset.batch(self.held_out[start : start + VALIDATION_BATCH])
            mean, share = policy.mean(obs), len(labels) / len(self.held_out)
            nll += share * float(self.cloning.nll(mean, labels))
            mse += share * float((mean - torch.from_numpy(labels)).square().mean())
        return {"eval/validation_nll": nll, "eval/validation_mse": mse}

    def _select(self) -> float:
        """Success rate of the present policy's means over a fixed list of starts; remembers the best policy so far.

        Validation error does not rank policies: the expert's choice among several goals puts a floor under it.
        """
        policy, shape = self.cloning.policy.eval(), self.dataset.shape
        env = ArmEnv(shape.task, shape.robot, image_height=shape.image_height, image_width=shape.image_width)
        starts = [Seeds(SELECTION_SEED).integer(EPISODE, i) for i in range(self.settings.select_episodes)]
        actor = GaussianActor(policy)
        successes = sum(rollout(env, actor, seed=start, explore=False).success for start in starts)
        env.close()
        rate = successes / len(starts)
        if rate >= self.best_success:
            self.best_success = rate
            self.best = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        return rate

    def _save(self) -> None:
        """Write the run, with all that resuming needs."""
        state = {
            **prefixed("cloning", self.cloning.state_dict()),
            **prefixed("best", self.best),
            "begun_with": self.begun_with(),
            "best_success": self.best_success,
        }
        save_run(
            self.out,
            self._chosen(),
            config={
                "task": self.dataset.shape.task,
                "robot": self.dataset.shape.robot,
                **({"task_changes": changes} if (changes := self.dataset.shape.task_changes) else {}),
                "pretrain": as_dict(self.settings),
            },
            manifest_extra={
                "env_steps": {"pretraining": len(self.train), "rl": 0},
                "parents": {"demos": {"name": self.dataset.directory.name, "sha256": self.dataset.content_hash}},
                "seeds": {"pretrain": self.seed},
            },
            training=state,
            metrics_csv=self.metrics.csv(),
        )
        self.metrics.write_events(self.out)

    @property
    def _selects(self) -> bool:
        """Whether the policy that did best is kept; a resumed training may have stopped asking for it."""
        return bool(self.settings.select_epochs and self.best)

    def _chosen(self) -> GaussianPolicy:
        """The policy that did best where success was measured, else the present one."""
        if not self._selects:
            return self.cloning.policy
        chosen = GaussianPolicy(self.cloning.policy.spec, self.cloning.policy.settings)
        chosen.load_state_dict(self.best)
        return chosen

    def figures(self) -> dict[str, Any]:
        """The last row's figures under the names of a result, and those of the policy that was kept."""
        row = self.metrics.rows[-1] | (self._validation(self._chosen().eval()) if self._selects else {})
        last = {name.split("/")[-1]: value for name, value in row.items() if "/" in name}
        measured = {"best_success_rate": self.best_success} if self._selects else {}
        sizes = {"training_samples": len(self.train), "validation_samples": len(self.held_out)}
        return {"method": self.settings.method, "steps": self.cloning.step_count, **sizes, **last, **measured}


def observation_spec(dataset: Dataset, rows: np.ndarray) -> ObservationSpec:
    """How raw observations are scaled, from the training samples alone.

    Joint angles are centred on their mean and divided by their spread; depth is divided by the farthest valid one.
    """
    shape = dataset.shape
    q = dataset.q[rows].astype(np.float64)
    depth = dataset.depth[np.sort(Seeds(0).rng("depth scale").permutation(rows)[:DEPTH_SAMPLE])]
    return ObservationSpec(
        joints=tuple(shape.joints),
        image_height=shape.image_height,
        image_width=shape.image_width,
        q_offset_rad=tuple(float(v) for v in q.mean(0)),
        q_scale_rad=tuple(float(v) for v in np.maximum(q.std(0), JOINT_SCALE_FLOOR_RAD)),
        depth_max_m=max(0.1, math.ceil(10 * float(depth.max(initial=0)) / 1000.0) / 10),
        max_step_rad=shape.max_step_rad,
        rate_hz=1.0 / shape.period_s,
    )
