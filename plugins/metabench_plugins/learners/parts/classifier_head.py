"""A linear or a cosine classifier on features, with a task axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metabench import Params, nn

HeadKind = Literal["linear", "cosine"]


@dataclass(frozen=True, slots=True)
class ClassifierHead:
    """The form of a classifier; its weights are ``weight`` and, if it is linear, ``bias``.

    Attributes:
        kind: linear: ``x W + bias``; cosine: ``scale cos(x, W_c)`` for each class c.
        scale: factor of the cosines.
    """

    kind: HeadKind = "linear"
    scale: float = 1.0

    def new(self, n_tasks: int, features: int, classes: int, *, rng: torch.Generator) -> Params:
        """Weights ``[tasks, features, classes]`` and biases ``[tasks, classes]``, on the CPU.

        Uniform in +-1/sqrt(features), as a linear layer of PyTorch.
        """
        bound = features**-0.5
        shapes: dict[str, tuple[int, ...]] = {"weight": (n_tasks, features, classes)}
        if self.kind == "linear":
            shapes["bias"] = (n_tasks, classes)
        return {
            name: torch.empty(shape).uniform_(-bound, bound, generator=rng)
            for name, shape in shapes.items()
        }

    def logits(self, features: Tensor, weights: Params) -> Tensor:
        """Map ``features [tasks, n, features]`` to ``[tasks, n, classes]``."""
        if self.kind == "linear":
            return nn.linear(features, weights["weight"], weights["bias"])
        directions = functional.normalize(weights["weight"], dim=1)
        return self.scale * nn.linear(functional.normalize(features, dim=2), directions)
