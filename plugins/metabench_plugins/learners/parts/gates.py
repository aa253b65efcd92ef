"""Gates multiply each initial weight by a number between 0 and 1 that depends on the task.

``w_i = w * sigmoid(A z_i + a)`` element-wise, one linear layer per tensor (HSML, Yao et al. 2019;
M-NAS). At first every gate is near one half.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metabench import Params, is_norm


class Gates(nn.Module):
    """One gate for each weight of each tensor; norm layers are not gated.

    Args:
        shapes: ``[*shape]`` of each weight by name.
        width: of the task representation.
        rank: of the matrix A, which then is a product of two; None for a full one, as the papers'.
    """

    def __init__(
        self, shapes: Mapping[str, torch.Size], *, width: int, rank: int | None = None
    ) -> None:
        super().__init__()
        self.bottleneck = None if rank is None else nn.Linear(width, rank, bias=False)
        self._shapes = {name: shape for name, shape in shapes.items() if not is_norm(name)}
        sizes = [shape.numel() for shape in self._shapes.values()]
        # One matrix for all tensors, initialized as if each had its own (Glorot uniform).
        self.weight = nn.Parameter(torch.empty(sum(sizes), rank or width))
        self.bias = nn.Parameter(torch.zeros(sum(sizes)))
        with torch.no_grad():
            for part in torch.split(self.weight, sizes):
                nn.init.xavier_uniform_(part)

    def forward(self, representation: Tensor, weights: Params) -> Params:
        """Gate weights ``[tasks, *shape]`` by ``representation [tasks, width]``."""
        if self.bottleneck is not None:
            representation = self.bottleneck(representation)
        gates = torch.sigmoid(nn.functional.linear(representation, self.weight, self.bias))
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = zip(self._shapes, torch.split(gates, sizes, dim=1), strict=True)
        gated = {name: weights[name] * gate.view(-1, *self._shapes[name]) for name, gate in parts}
        return weights | gated
