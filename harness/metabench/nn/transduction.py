"""Predictors for the transductive and the inductive protocol."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metabench.plugin.contracts.episode import Predictor


def predictor(
    forward: Callable[[Tensor], Tensor], support_x: Tensor, *, transductive: bool
) -> Predictor:
    """Turn a network with batch statistics into a predictor.

    Args:
        forward: the adapted network, ``[tasks, n, *inputs] -> [tasks, n, outputs]``.
        support_x: inputs of the support set, ``[tasks, n, *inputs]``.
        transductive: if True, the query set is normalized by its own statistics. Otherwise each
            query example goes through the network together with the support set alone, so that no
            prediction depends on another query example (Reptile, Nichol et al. 2018).
    """
    if transductive:
        return forward

    def predict(query_x: Tensor) -> Tensor:
        rows = [
            forward(torch.cat([support_x, example], dim=1))[:, -1]
            for example in query_x.unsqueeze(2).unbind(1)
        ]
        return torch.stack(rows, dim=1)

    return predict
