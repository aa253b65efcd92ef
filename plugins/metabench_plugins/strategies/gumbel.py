"""Operations sampled with the Gumbel-softmax (SNAS, ICLR 2019; GDAS, CVPR 2019).

``h = argmax(alpha + g)``, ``g = -log(-log u)`` (Maddison, Mnih and Teh 2017), with the gradient of
``softmax((alpha + g) / tau)``: the straight-through estimator. tau falls with the sharpness.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, model_validator

from metabench import Arch, Frozen, Genotype, Mixture, SearchSpace
from metabench_plugins.strategies.parts.decoding import decode, straight_through
from metabench_plugins.strategies.parts.logits import draw_logits, soften


class GumbelParams(Frozen):
    """Parameters of :class:`Gumbel`."""

    t_max: float = Field(
        default=1.0, gt=0, le=100, description="Temperature at the start of the annealing."
    )
    t_min: float = Field(
        default=0.1,
        gt=0,
        le=100,
        description="Temperature at the end of the annealing, at most t_max.",
    )
    hard: bool = Field(
        default=True,
        description="true: one operation per edge, with straight-through gradients (GDAS); "
        "false: a relaxed sample (SNAS).",
    )
    init_std: float = Field(
        default=1e-3,
        ge=0,
        le=10,
        description="Standard deviation of the initial architecture logits.",
    )

    @model_validator(mode="after")
    def _cools_down(self) -> GumbelParams:
        if self.t_min > self.t_max:
            raise ValueError("t_min must not be above t_max")
        return self


class Gumbel:
    """Samples operations in proportion to the softmax of their logits."""

    def __init__(self, params: GumbelParams) -> None:
        self._params = params

    def temperature(self, sharpness: float) -> float:
        """The temperature at a sharpness in [0, 1]."""
        p = self._params
        return p.t_max - sharpness * (p.t_max - p.t_min)

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits from N(0, init_std^2)."""
        return draw_logits(space.choices(), std=self._params.init_std, rng=rng)

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Draw a sample of each task's logits, or one for all where the logits are shared."""
        p, noisy = self._params, arch
        if rng is not None:
            noisy = {cell: logits + gumbel_noise(logits, rng=rng) for cell, logits in arch.items()}
        soft = soften(noisy, space.choices(), temperature=self.temperature(sharpness))
        if not p.hard:
            return soft
        one_per_edge = {
            cell: F.one_hot(weights.argmax(dim=-1), weights.shape[-1]).to(weights.dtype)
            for cell, weights in soft.items()
        }
        return straight_through(soft, one_per_edge)

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Decode the logits without noise."""
        choices = space.choices()
        return decode(soften(arch, choices, temperature=1.0), choices)


def gumbel_noise(like: torch.Tensor, *, rng: torch.Generator) -> torch.Tensor:
    """Draw standard Gumbel noise on the CPU and move it to where ``like`` lives."""
    # -log of an exponential variable is a Gumbel variable; the bound keeps it finite.
    exponential = torch.empty(like.shape).exponential_(generator=rng).clamp(min=1e-30)
    return -exponential.log().to(like, non_blocking=True)
