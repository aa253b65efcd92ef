"""Optional extra weights of a layer, see :class:`metabench.LayeredSpace`."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench import Params, nn


def transform(y: Tensor, weights: Params, layer: str) -> Tensor:
    """Multiply the output of a layer by ``<layer>.transform [tasks or 1, units, units]``.

    Args:
        y: ``[tasks, n, units]``, or ``[tasks, n, units, height, width]``: a 1x1 convolution.
        weights: all weights of the network.
        layer: the layer whose output this is.
    """
    matrix = weights.get(f"{layer}.transform")
    if matrix is None:
        return y
    if y.dim() == 3:
        return nn.linear(y, matrix)
    return nn.conv2d(y, matrix.transpose(1, 2)[..., None, None])


def film(y: Tensor, weights: Params, layer: str) -> Tensor:
    """Return ``y * (1 + scale) + shift`` for ``y [tasks, n, units]``.

    The weights are ``<layer>.film.scale`` and ``<layer>.film.shift``, ``[tasks or 1, units]``
    (Perez et al., FiLM, AAAI 2018).
    """
    scale, shift = weights.get(f"{layer}.film.scale"), weights.get(f"{layer}.film.shift")
    if scale is None or shift is None:
        return y
    return torch.addcmul(shift.unsqueeze(1), y, 1 + scale.unsqueeze(1))


def norm_affine(weights: Params, layer: str) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a layer's norm, ``[tasks or 1, units]``, with FiLM's merged in."""
    scale, shift = weights[f"{layer}.norm.scale"], weights[f"{layer}.norm.shift"]
    film_scale, film_shift = weights.get(f"{layer}.film.scale"), weights.get(f"{layer}.film.shift")
    if film_scale is None or film_shift is None:
        return scale, shift
    return scale * (1 + film_scale), torch.addcmul(film_shift, shift, 1 + film_scale)
