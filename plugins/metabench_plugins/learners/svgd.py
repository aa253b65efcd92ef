"""Stein variational gradient descent (Liu and Wang, NeurIPS 2016) on a few particles per task."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def svgd_direction(particles: Tensor, gradients: Tensor, *, repulsion: float = 1.0) -> Tensor:
    """Return the direction in which the particles of each task ascend.

    ``phi_m = 1/M sum_j [k_jm grad_j + repulsion * 2/h * k_jm (theta_m - theta_j)]``,
    ``k_jm = exp(-|theta_j - theta_m|^2 / h)``, h = median of all M x M squared distances / log M,
    a constant of differentiation. The released code of BMAML has 1/h in place of 2/h, which is not
    the derivative of this kernel. A single particle ascends its own gradient.

    Args:
        particles: ``[tasks, M, d]``.
        gradients: of the log posterior, ``[tasks, M, d]``.
        repulsion: factor of the second term, where gradients come multiplied by one.

    Returns:
        ``[tasks, M, d]``.
    """
    n = particles.shape[1]
    if n == 1:
        return gradients
    # Distances do not change with the origin; near the particles they lose the fewest digits.
    near = particles - particles.detach().mean(dim=1, keepdim=True)
    squares = near.square().sum(dim=-1)
    distances = squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * near @ near.mT
    h = torch.quantile(distances.detach().flatten(1), 0.5, dim=1) / math.log(n)
    # Particles that coincide have h = 0; they move together.
    h = h.clamp_min(torch.finfo(h.dtype).eps)[:, None, None]
    kernel = torch.exp(-distances / h)
    strength = 2 * repulsion / h
    pulled = kernel @ (gradients - strength * near)
    return (pulled + strength * kernel.sum(dim=2, keepdim=True) * near) / n
