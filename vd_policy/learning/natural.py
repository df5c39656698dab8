"""The natural gradient: Fisher-vector products, conjugate gradients and the trust-region line search.

Source: Schulman et al., Trust Region Policy Optimization (2015), appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Outputs = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps the flat parameters (P,) to mean and log standard deviation, (N, A) each."""


def fisher_product(
    outputs: Outputs, at: Tensor, damping: float, push: Outputs | None = None
) -> Callable[[Tensor], Tensor]:
    """The function ``v -> (F + damping I) v`` at the parameters `at`, without forming F.

    F is the mean over the N samples of ``J' M J``, where J is the Jacobian of mean and log standard deviation and
    M = diag(1 / std^2, 2) the Fisher information of a diagonal Gaussian in those two. This Gauss-Newton form equals the
    Hessian of the KL divergence at `at`, and costs one forward-mode and one reverse-mode pass a product.

    Args:
        push: the product of J with a vector (P,), where there is a quicker one than `torch.func.jvp`.
    """
    (_, log_std), pull_back = torch.func.vjp(outputs, at)  # type: ignore[misc]
    precision = torch.exp(-2.0 * log_std)
    count = log_std.shape[0]

    def general(vector: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(outputs, (at,), (vector,))[1]

    def product(vector: Tensor) -> Tensor:
        mean_change, log_std_change = (push or general)(vector)
        (result,) = pull_back((precision * mean_change / count, 2.0 * log_std_change / count))
        return result + damping * vector

    return product


def conjugate_gradients(product: Callable[[Tensor], Tensor], target: Tensor, steps: int) -> Tensor:
    """Approximate solution x of ``product(x) = target``, at most `steps` iterations from zero, (P,)."""
    solution = torch.zeros_like(target)
    residual = target.clone()
    direction = target.clone()
    norm = residual.dot(residual)
    stop = 1e-10 * norm
    for _ in range(steps):
        if not norm > stop:
            break
        image = product(direction)
        rate = norm / direction.dot(image)
        solution += rate * direction
        residual -= rate * image
        new_norm = residual.dot(residual)
        direction = residual + (new_norm / norm) * direction
        norm = new_norm
    return solution


@dataclass(frozen=True)
class Accepted:
    """A point that the line search accepted."""

    parameters: Tensor
    surrogate: float
    kl: float
    backtracks: int


def line_search(
    evaluate: Callable[[Tensor], tuple[float, float]],
    start: Tensor,
    step: Tensor,
    *,
    surrogate_start: float,
    max_kl: float,
    ratio: float,
    tries: int,
) -> Accepted | None:
    """The longest of the steps ``ratio^k * step`` that raises the surrogate and keeps the KL within `max_kl`.

    Args:
        evaluate: maps parameters (P,) to the surrogate (to be raised) and the mean KL from `start`.

    Returns:
        None where no try is good; NaN and Inf are never good.
    """
    for k in range(tries):
        candidate = start + ratio**k * step
        surrogate, kl = evaluate(candidate)
        if surrogate > surrogate_start and kl <= max_kl:
            return Accepted(candidate, surrogate, kl, k)
    return None
