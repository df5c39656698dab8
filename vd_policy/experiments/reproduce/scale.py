"""How large the paper's experiments are run: as printed, or small enough for an afternoon."""

from __future__ import annotations

from dataclasses import dataclass

from vd_policy.base.settings import setting
from vd_policy.experiments.reproduce.jobs import GRASP, REACH


@dataclass(frozen=True)
class Scale:
    """Every number that makes a figure cheap or dear, and what goes with a task."""

    image_size: int = setting(help="rows of the images", minimum=8, maximum=1024)
    samples: int = setting(help="demonstrated pairs in place of the paper's 8000", minimum=40)
    steps: int = setting(help="environment steps of RL", minimum=1)
    vd_epochs: int = setting(help="epochs of cloning with variational dropout", minimum=1)
    epochs: int = setting(help="epochs of cloning with L2 or without a regulariser", minimum=1)
    evaluate_every: int = setting(help="environment steps between evaluations of the mean policy", minimum=1)
    episodes: int = setting(help="starts of one evaluation", minimum=1)
    expert_episodes: int = setting(400, "starts of the experts' lines", minimum=1)
    steps_beside: int = setting(0, "environment steps of what the figures recipes and ours have beside the paper's; 0: "
                                "as many", minimum=0)  # fmt: skip
    rule: str = setting("literal", "the demonstrating expert's eq. 10; the paper's is literal",
                        choices=("literal", "clipped"))  # fmt: skip
    noise_rad: float | None = setting(None, "noise on the expert [rad], in a figure that holds it and shows nothing of "
                                            "ours; none: the paper's", minimum=0.0)  # fmt: skip
    hold: str = setting("epochs", "what fewer demonstrations leave as it is: the epochs of cloning, or its Adam steps",
                        choices=("epochs", "steps"))  # fmt: skip
    task: str = setting("", "a task of the figure's rules for all of it: a name in config/tasks or a YAML file; empty: "
                            "the paper's, and reach_free for our demonstrations")  # fmt: skip
    smoothing: int = setting(10, "iterations that a curve is averaged over", minimum=1)
    initial_std: float = setting(0.1, "exploration that RL starts from [action units]", minimum=1e-3, maximum=1.0)


SCALES = {
    REACH: {
        "small": Scale(image_size=64, samples=2000, steps=60_000, vd_epochs=60, epochs=30, evaluate_every=6_000,
                       episodes=100),
        "paper": Scale(image_size=128, samples=8000, steps=500_000, vd_epochs=200, epochs=100, evaluate_every=50_000,
                       episodes=100),
    },
    GRASP: {
        "small": Scale(image_size=96, samples=4000, steps=30_000, vd_epochs=60, epochs=40, evaluate_every=5_000,
                       episodes=200, rule="clipped", initial_std=0.02),
        "paper": Scale(image_size=256, samples=8000, steps=300_000, vd_epochs=200, epochs=100, evaluate_every=30_000,
                       episodes=200, rule="clipped", initial_std=0.02),
    },
}  # fmt: skip
"""By the task and the scale's name. For grasping eq. 10 is not as printed, which circles the goal and grasps nothing in
41 of 100 starts; and exploration is narrower, since 0.1 action units are 0.063 rad at each joint: too much here."""
