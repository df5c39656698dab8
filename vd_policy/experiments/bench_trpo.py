"""What an iteration of TRPO costs: dense and pruned, at two image sizes; and one update beside sb3-contrib's.

Both implementations get the same rollouts and the same two networks. CPU time is compared, not wall time, so that the
ratios survive a busy machine. sb3-contrib's figures are there where the extra ``bench`` is installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from functools import partial

from vd_policy.base.episode import Episode
from vd_policy.experiments.subject import spec_of
from vd_policy.experiments.timed_networks import dense_and_pruned
from vd_policy.learning.collector import ProcessCollector
from vd_policy.learning.critic import CriticSettings
from vd_policy.learning.trpo import TRPO, TRPOSettings
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import load_run
from vd_policy.policy.gaussian import GaussianPolicy, new_policy
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

STEPS = 200
"""Environment steps of an iteration (section V-A)."""
AT_ONCE = TRPOSettings(batch_steps=STEPS, critic=CriticSettings(warmup_batches=0))
"""The defaults, but for the warm-up, so that the first update already moves the policy."""


def bench_trpo(
    sizes: tuple[int, ...] = (64, 128), *, run: str = "", rounds: int = 3, seed: int = 0
) -> dict[str, float]:
    """Time iterations of 200 environment steps, one thread.

    Args:
        sizes: rows and columns of the images; the last one is compared with sb3-contrib.
        run: directory of a pruned run to time, at its own size; without one, networks of which a random third of the
            units is left.
        rounds: repetitions of an iteration, of which the median is reported; the updates side by side take a minute of
            CPU time, and are made once.
        seed: of networks, masks and rollouts.

    Returns:
        ``collect``, ``update`` and ``iteration`` CPU seconds of a dense and a pruned policy at each size, their ratio,
        the time that the robot needs for the steps, and the ratios to sb3-contrib.
    """
    figures: dict[str, float] = {}
    if run:
        sizes = (_size_of(run),)
    for size in sizes:
        figures |= _iterations(size, run, rounds, seed)
    if not run and importlib.util.find_spec("sb3_contrib"):
        figures |= _side_by_side(sizes[-1], seed)
    return figures


def _size_of(run: str) -> int:
    """Rows of the images of a run that can act in the benchmark's environment."""
    spec, env = load_run(run).policy.spec, ArmEnv()
    env.close()
    spec.check_arm(env.robot.name, env.robot.joints, env.settings.max_step_rad, run)
    spec.check_image(spec.image_height, spec.image_height, run)
    return spec.image_height


def _iterations(size: int, run: str, rounds: int, seed: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    make_env = partial(ArmEnv, image_height=size, image_width=size)
    policies = dense_and_pruned(_spec(size), run, seed)
    with ProcessCollector(make_env, seed=seed) as collector:
        for name in ("dense", "pruned"):
            times = [_iteration(policies[name], collector) for _ in range(rounds)]
            for part, values in zip(("collect", "update", "iteration"), zip(*times)):
                figures[f"{part}_{name}_{size}px_s"] = statistics.median(values)
    pair = (figures[f"iteration_{name}_{size}px_s"] for name in ("dense", "pruned"))
    return figures | {f"iteration_{size}px_speedup": next(pair) / next(pair)}


def _iteration(policy: GaussianPolicy, collector: ProcessCollector) -> tuple[float, float, float]:
    """CPU seconds of collecting, of updating and of both, always from the same weights."""
    learner = TRPO(_copy(policy), AT_ONCE)
    began = time.process_time()
    episodes = collector.collect(learner.actor(), STEPS)
    collected = time.process_time()
    learner.observe(episodes)
    learner.update()
    ended = time.process_time()
    return collected - began, ended - collected, ended - began


def _side_by_side(size: int, seed: int) -> dict[str, float]:
    """One update on the same rollouts: ours and theirs at their defaults, then with as many Fisher samples."""
    from vd_policy.experiments.sb3_peer import CG_STEPS, peer_update

    policy = new_policy(_spec(size), seed=seed)
    with ProcessCollector(partial(ArmEnv, image_height=size, image_width=size), seed=seed) as collector:
        episodes = collector.collect(GaussianActor(policy), STEPS)
    equal = TRPOSettings(batch_steps=STEPS, fisher_fraction=1.0, cg_steps=CG_STEPS, critic=AT_ONCE.critic)
    seconds = {
        "ours": _update_s(policy, AT_ONCE, episodes),
        "ours_equal_fisher": _update_s(policy, equal, episodes),
        "sb3": peer_update(_copy(policy), episodes),
    }
    return {
        **{f"update_{name}_cpu_s": value for name, value in seconds.items()},
        "update_sb3_to_ours": seconds["sb3"] / seconds["ours"],
        "update_sb3_to_ours_equal_fisher": seconds["sb3"] / seconds["ours_equal_fisher"],
    }


def _update_s(policy: GaussianPolicy, settings: TRPOSettings, episodes: list[Episode]) -> float:
    learner = TRPO(_copy(policy), settings)
    learner.observe(episodes)
    began = time.process_time()
    learner.update()
    return time.process_time() - began


def _copy(policy: GaussianPolicy) -> GaussianPolicy:
    copy = GaussianPolicy(policy.spec, policy.settings)
    copy.load_state_dict(policy.state_dict())
    return copy


def _spec(size: int) -> ObservationSpec:
    env = ArmEnv(image_height=size, image_width=size)
    env.close()
    return spec_of(env)
