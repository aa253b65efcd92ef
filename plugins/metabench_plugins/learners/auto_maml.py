"""Auto-MAML: one architecture for all tasks, the baseline of T-NAS (Lian et al., ICLR 2020).

Tasks adapt the weights alone. Half of the tasks of a meta-batch train the initial weights, by
first-order MAML on their query loss. The other half train the logits, which all tasks share: with
the gradient of the query loss at the adapted weights. When the search is over, the one network that
the logits decode to is trained anew, as T-NAS trains its networks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field

from metabench import Labelled
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
        first = _n_half(n_tasks)
        weights = {
            name: torch.cat([w[:-first].detach(), w[-first:]])
            if is_arch(name)
            else torch.cat([w[:first], w[first:].detach()])
            for name, w in start.weights.items()
        }
        return replace(start, weights=weights)

    def outer_factor(self, n_tasks: int) -> float:
        """The loss is a mean over all tasks, each gradient one over half of them."""
        return 1.0 if self.params.arch_tasks == "all" else n_tasks / _n_half(n_tasks)


def _n_half(n_tasks: int) -> int:
    """Tasks of each half; of an odd number the middle one is in both."""
    return (n_tasks + 1) // 2
