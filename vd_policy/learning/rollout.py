"""One episode of an actor in an environment."""

from __future__ import annotations

import gymnasium
import numpy as np

from vd_policy.base.episode import OBS_KEYS, Episode
from vd_policy.base.seeds import POLICY, Seeds
from vd_policy.policy.actor import Actor


def rollout(
    env: gymnasium.Env,
    actor: Actor,
    *,
    seed: int,
    explore: bool = True,
    source: str = "env",
    sequence: int = 0,
    weight_version: int = 0,
    task: str = "",
) -> Episode:
    """Run one episode from reset to its end.

    The start is ``env.reset(seed=seed)`` and the actor's noise is drawn from a child of the same seed, so the episode
    depends on the seed and the weights alone. The actor sees a batch of one.

    Args:
        env: an `ArmEnv`, or anything that reports ``success``, ``failure``, ``applied`` and ``scene`` in its info.
        seed: the episode's own seed.
        explore: sample actions, or take the mean.
    """
    obs, info = env.reset(seed=seed)
    state = actor.begin(1, [Seeds(seed).rng(POLICY)])
    seen: list[dict[str, np.ndarray]] = [obs]
    actions, applied, rewards, log_probs = [], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        act, state = actor.act({key: obs[key][None] for key in OBS_KEYS}, state, explore=explore)
        action = act.action[0].numpy()
        obs, reward, terminated, truncated, info = env.step(action)
        seen.append(obs)
        actions.append(action)
        applied.append(info["applied"])
        rewards.append(reward)
        log_probs.append(float(act.log_prob[0]))
    return Episode(
        obs={key: np.stack([o[key] for o in seen]) for key in OBS_KEYS},
        action=np.array(actions, np.float32),
        applied=np.array(applied, np.float32),
        label=None,
        reward=np.array(rewards, np.float32),
        log_prob=np.array(log_probs, np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated),
        success=bool(info["success"]),
        failure=bool(info["failure"]),
        source=source,
        sequence=sequence,
        weight_version=weight_version,
        task=task,
        seed=seed,
        scene=np.asarray(info["scene"], np.float64),
    )
