"""Soft pruning (MetaNAS, Elsken et al., CVPR 2020): a softmax whose temperature falls.

Operations: ``exp(alpha / tau) / sum exp(alpha' / tau)`` per edge (equation 5); the softmax over
pairs of inputs is per node (equation 7). tau falls linearly from ``t_max`` to ``t_min`` with the
sharpness. At the end a lead of 0.3 among seven logits is a weight of 0.77, and pruning the rest
changes little.

The learner leaves out what is below a threshold, which differs between meta-training and meta-test;
see :mod:`~metabench_plugins.strategies.parts.pruning`.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator

from metabench import Arch, Frozen, Genotype, Mixture, SearchSpace, UsageError
from metabench_plugins.strategies.parts.decoding import decode
from metabench_plugins.strategies.parts.logits import draw_logits, log_odds, soften

Prune = Literal["none", "operations", "operations-and-inputs"]


class SoftPruningParams(Frozen):
    """Parameters of :class:`SoftPruning`."""

    prune: Prune = Field(
        default="operations",
        description="Whose softmax the falling temperature sharpens; with none it stays at t_max.",
    )
    t_max: float = Field(
        default=1.0, gt=0, le=100, description="Temperature at the start of the annealing."
    )
    t_min: float = Field(
        default=0.1,
        gt=0,
        le=100,
        description="Temperature at the end of the annealing, at most t_max.",
    )
    init_std: float = Field(
        default=1e-3,
        ge=0,
        le=10,
        description="Standard deviation of the initial architecture logits.",
    )

    @model_validator(mode="after")
    def _cools_down(self) -> SoftPruningParams:
        if self.t_min > self.t_max:
            raise ValueError("t_min must not be above t_max")
        return self


class SoftPruning:
    """A softmax with a temperature; with ``prune: none`` and ``t_max: 1`` it is DARTS."""

    def __init__(self, params: SoftPruningParams) -> None:
        self._params = params

    def temperature(self, sharpness: float) -> float:
        """The temperature at a sharpness in [0, 1]."""
        p = self._params
        return p.t_max if p.prune == "none" else p.t_max - sharpness * (p.t_max - p.t_min)

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits from N(0, init_std^2), of input pairs too where they are pruned.

        Raises:
            UsageError: when input pairs are to be pruned and the space has none.
        """
        choices = space.choices()
        inputs = self._params.prune == "operations-and-inputs"
        without = [cell for cell, found in choices.items() if not found.input_pairs]
        if inputs and without:
            raise UsageError(
                f"Strategy soft-pruning cannot prune inputs here: cell {without[0]!r} of this "
                "network has no weights for pairs of inputs.",
                hint="Choose another network with --network, or --set strategy.prune=operations.",
            )
        return draw_logits(choices, std=self._params.init_std, rng=rng, input_pairs=inputs)

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Softmax at the temperature of this sharpness."""
        return soften(arch, space.choices(), temperature=self.temperature(sharpness))

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Keep the best pair of inputs of each node, or its strongest edges without pairs."""
        choices = space.choices()
        return decode(log_odds(arch, choices, temperature=self.temperature(1.0)), choices)
