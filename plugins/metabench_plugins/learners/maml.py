"""MAML, second and first order (Finn, Abbeel and Levine, ICML 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from metabench.episodes import Labelled
from metabench.functional import is_norm, share
from metabench_plugins.learners.gradient import GradientLearner, GradientParams, Start, leaves
from metabench_plugins.learners.outer import Group


class MamlParams(GradientParams):
    """Parameters of MAML."""


class Maml(GradientLearner):
    """The inner loop of every task begins at the same meta-learned weights."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """The start weights."""
        self._weights = leaves(self.space.init_weights(rng=rng), self.context.device)
        self._adapted = frozenset(
            name for name in self._weights if self.params.adapt_norm or not is_norm(name)
        )
        return [Group(self._weights, self.params.outer_lr)]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Shared weights."""
        return Start(weights=share(self._weights, len(support.x)), adapted=self._adapted)
