"""Stein variational gradient descent (Liu and Wang, NeurIPS 2016) on a few particles per task."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def svgd_matrices(products: Tensor, *, repulsion: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return A and B, with which particles ascend in the direction ``A grad + B theta``.

    ``phi_m = 1/M sum_j [k_jm grad_j + repulsion * 2/h * k_jm (theta_m - theta_j)]``,
    ``k_jm = exp(-|theta_j - theta_m|^2 / h)``, h = median of all M x M squared distances / log M,
    a constant of differentiation. The released code of BMAML has 1/h in place of 2/h, which is not
    the derivative of this kernel. A single particle ascends its own gradient.

    Both sums are products with M x M matrices, so that few operations touch whole networks.

    Args:
        products: inner products of the particles of each task, ``[tasks, M, M]``.
        repulsion: factor of the second term, where gradients come multiplied by one.

    Returns:
        ``[tasks, M, M]`` each.
    """
    n = products.shape[1]
    if n == 1:
        return torch.ones_like(products), torch.zeros_like(products)
    squares = products.diagonal(dim1=1, dim2=2)
    distances = squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * products
    with torch.no_grad():
        h = torch.quantile(distances.flatten(1), 0.5, dim=1) / math.log(n)
        # Distances below the rounding of the squares are not known; such particles coincide.
        h = h.maximum(100 * torch.finfo(h.dtype).eps * squares.amax(dim=1))[:, None, None]
    kernel = torch.exp(-distances / h)
    apart = torch.diag_embed(kernel.sum(dim=2)) - kernel
    return kernel / n, apart * (2 * repulsion / n / h)
