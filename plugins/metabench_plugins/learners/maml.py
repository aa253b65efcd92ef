"""MAML, second and first order (Finn, Abbeel and Levine, ICML 2017).

On a searched network the inner loop adapts the architecture logits with the weights, the outer
loop learns both, and the strategy anneals over the inner steps (MetaNAS with MAML as its
meta-learner, Elsken et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from metabench import Labelled, Params, is_norm, share
from metabench_plugins.learners.parts.gradient_learner import (
    GradientLearner,
    GradientParams,
    Start,
    leaves,
)
from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.searched_space import (
    SearchedSpace,
    SearchParams,
    operations_of,
)


class MamlParams(GradientParams):
    """Parameters of MAML."""


class MamlSearchParams(SearchParams, MamlParams):
    """Parameters of MAML on a searched network."""


class Maml(GradientLearner):
    """The inner loop of every task begins at the same meta-learned weights."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """The start weights, and the logits where the network is searched."""
        p, device = self.params, self.context.device
        self._weights = leaves(self.space.init_weights(rng=rng), device)
        self._adapted = frozenset(
            name for name in self._weights if p.adapt_norm or not is_norm(name)
        )
        weights = Group(self._weights, p.outer_lr, p.max_norm)
        if self.context.strategy is None:
            self._search = None
            return [weights]
        self._search = SearchedSpace(self.space, self.context.strategy)
        self._logits = leaves(self._search.init_logits(rng=rng), device)
        logits = Group(self._logits, p.arch_lr, p.max_norm, p.arch_beta1, p.arch_decay)
        return [weights, logits]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Shared weights, and shared logits where the network is searched."""
        n_tasks = len(support.x)
        if self._search is None:
            return Start(weights=share(self._weights, n_tasks), adapted=self._adapted)
        weights = share(self._weights | self._logits, n_tasks)
        return self._begin_search(self._search, weights, rng=rng, progress=progress)

    def _begin_search(
        self,
        search: SearchedSpace,
        weights: Params,
        *,
        rng: torch.Generator,
        progress: float | None,
    ) -> Start:
        p, at_test = self.params, progress is None
        if at_test:
            (like, *_) = weights.values()
            if proposed := search.candidates(len(like), rng=rng, like=like):
                return Start(
                    weights=operations_of(weights), adapted=self._adapted, candidates=proposed
                )
        threshold = p.threshold_at_test if at_test else p.threshold
        mixing = search.mixing(rng=rng, at_test=at_test, threshold=threshold)
        moving, masks = self._adapted, None
        if p.arch_inner_lr is None or p.arch_inner_lr > 0:
            moving |= self._logits.keys()
        if p.arch_inner_lr:
            # A number in float64 is one of the logits' own type beside them.
            rate = torch.tensor(p.arch_inner_lr / p.inner_lr, dtype=torch.float64)
            masks = dict.fromkeys(self._logits, rate)
        soft = p.arch_at_test == "soft"
        return Start(
            weights=weights,
            adapted=moving,
            masks=masks,
            mixture=mixing,
            loss_term=search.loss_term(),
            decode=partial(search.relaxed, mixing=mixing) if soft else search.decode,
        )
