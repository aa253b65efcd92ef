"""Reptile as MetaNAS trains networks of searched cells (Elsken et al., CVPR 2020, section 5.2).

This is Reptile with DropPath, weight decay in the inner loop and a cosine schedule for eps. After
the search it trains a network of the found cells, with more channels and cells. As in the released
code, the decay is L2 of each task's Adam, at meta-test too; the outer loop has none.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from metabench import Labelled, Mixture
from metabench_plugins.learners.parts.drop_path import draw_masks
from metabench_plugins.learners.parts.mini_batches import Sampling
from metabench_plugins.learners.parts.schedules import cos, towards
from metabench_plugins.learners.reptile import Reptile, ReptileParams


class RetrainParams(ReptileParams):
    """Parameters of the training of found cells."""

    schedule: ClassVar[str] = "cosine"

    sampling: Sampling = Field(
        default="replacement", description="Takes the same values as `sampling` of `reptile`."
    )
    meta_lr: float = Field(
        default=1.0, gt=0, le=10, description="Outer step size eps at the start of meta-training."
    )
    meta_lr_end: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Outer step size eps at the end of meta-training; it changes along half a "
        "cosine.",
    )
    weight_decay: float = Field(
        default=1e-4,
        ge=0,
        le=1,
        description="Weight decay: L2 in the inner loop, whose gradient Adam normalizes.",
    )
    drop_path: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Probability of DropPath in meta-training, on networks that can drop paths.",
    )


class AutoMetaParams(RetrainParams):
    """Parameters for the published cell of Auto-Meta: no regularization (section 5.1)."""

    meta_lr_end: float = Field(
        default=1.0, ge=0, le=10, description="Takes the same values as that of `metanas-retrain`."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="Takes the same values as that of `metanas-retrain`."
    )
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="Takes the same values as that of `metanas-retrain`."
    )


class Retrain(Reptile):
    """The learner; without DropPath, decay and cosine it is Reptile."""

    _params: RetrainParams

    def noise(self, batch: Labelled, *, rng: torch.Generator) -> Mixture:
        """Draw masks of DropPath."""
        rate, device = self._params.drop_path, self._context.device
        return draw_masks(self._space, *batch.y.shape[:2], rate=rate, rng=rng, device=device)

    def decay(self) -> float:
        """L2 penalty of the weights in the inner loop."""
        return self._params.weight_decay

    def towards(self, start: Tensor, end: Tensor, *, progress: float) -> Tensor:
        """``w <- w + eps (mean(w_T) - w)``, with eps on half a cosine."""
        p = self._params
        eps = p.meta_lr_end + (p.meta_lr - p.meta_lr_end) * (1 + cos(math.pi * progress)) / 2
        return towards(start, end, eps)
