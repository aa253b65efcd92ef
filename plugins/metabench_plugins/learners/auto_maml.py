"""Auto-MAML: one architecture for all tasks, the baseline of T-NAS (Lian et al., ICLR 2020).

Tasks adapt the weights alone. Half of the tasks of a meta-batch train the initial weights, by
first-order MAML on their query loss. The other half train the logits, which all tasks share: with
the gradient of the query loss at the adapted weights. When the search is over, the one network that
the logits decode to is trained anew, as T-NAS trains its networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import SKIPPED, Labelled, TaskBatch
from metabench_plugins.learners.parts.gradient_learner import Start
from metabench_plugins.learners.parts.searched_space import is_arch
from metabench_plugins.learners.tnas import Tnas, TnasParams


class AutoMamlParams(TnasParams):
    """Parameters of Auto-MAML."""

    arch_tasks: Literal["half", "all"] = Field(
        default="half",
        description="Which tasks train the logits. half: half of each meta-batch, and the other "
        "half trains the weights; all: all tasks train both.",
    )


class AutoMaml(Tnas):
    """T-NAS with shared logits, and tasks of their own that train them."""

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """The shared start; in meta-training each task trains the weights or the logits."""
        start = super().begin(support, rng=rng, progress=progress)
        if progress is None or self.params.arch_tasks == "all":
            return start
        n_tasks = len(support.x)
        first = _half(n_tasks)
        weights = {
            name: torch.cat([w[:-first].detach(), w[-first:]])
            if is_arch(name)
            else torch.cat([w[:first], w[first:].detach()])
            for name, w in start.weights.items()
        }
        return replace(start, weights=weights)

    def _search_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update: weights and logits descend the mean query losses of their halves."""
        if self.params.arch_tasks == "all":
            return super()._search_step(tasks, progress=progress, rng=rng)
        start = self.begin(tasks.support, rng=rng, progress=progress)
        loss, penalty = self.outer_losses(start, tasks)
        descended = loss if penalty is None else loss + penalty
        # The loss is a mean over all tasks, each gradient one over half of them.
        skipped = self.outer.step(descended * (len(tasks) / _half(len(tasks))))
        logged = {"loss": loss.detach(), SKIPPED: skipped}
        return logged if penalty is None else {**logged, "penalty": penalty.detach()}


def _half(n_tasks: int) -> int:
    """Tasks of each half; of an odd number the middle one is in both."""
    return (n_tasks + 1) // 2
