"""Norms with running statistics: the state of a network's layers, and its use."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metabench import Params, Training, nn
from metabench_plugins.spaces.parts import layer_weights as extras


def fresh_state(units: Mapping[str, int]) -> Params:
    """``<layer>.norm.mean`` 0 and ``<layer>.norm.variance`` 1 of each layer, ``[units]``."""
    state: Params = {}
    for layer, size in units.items():
        state[f"{layer}.norm.mean"] = torch.zeros(size)
        state[f"{layer}.norm.variance"] = torch.ones(size)
    return state


def running_norm(
    x: Tensor,
    weights: Params,
    layer: str,
    training: Training | None,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalize the output of a layer, with FiLM if there are weights of it.

    Args:
        x: ``[tasks, n, units, height, width]``.
        weights: all weights of the network, its state among them.
        layer: the layer whose output this is.
        training: None to predict.
        momentum: the share of a batch in the running statistics.
        eps: added to the variance.
    """
    scale, shift = extras.norm_affine(weights, layer)
    return nn.running_batch_norm(
        x,
        weights,
        f"{layer}.norm",
        scale=scale,
        shift=shift,
        training=training,
        momentum=momentum,
        eps=eps,
    )
