"""A plugin in one file, as a stranger would write it: a learner on GradientLearner, and a network.

``mypy --strict`` of it must be clean beside an installed metabench, and it must pass the kit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    CellChoices,
    Frozen,
    Genotype,
    Labelled,
    LearnerSpec,
    Mixture,
    Params,
    SearchSpace,
    SearchSpaceSpec,
    TaskShape,
    hookimpl,
    nn,
    share,
)
from metabench_plugins.learners.parts.gradient_learner import (
    GradientLearner,
    GradientParams,
    Start,
    leaves,
)
from metabench_plugins.learners.parts.outer_adam import Group


class HeadOnly(GradientLearner):
    """MAML of which only the last layer moves in the inner loop."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """All weights are meta-learned."""
        self._weights = leaves(self.space.init_weights(rng=rng), self.context.device)
        return [Group(self._weights, self.params.outer_lr)]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Every task starts at the meta-learned weights."""
        last = list(self._weights)[-2:]
        return Start(weights=share(self._weights, len(support.x)), adapted=last)


class SmallParams(Frozen):
    """Parameters of :class:`Small`."""

    width: int = Field(default=8, ge=1, description="Units of the hidden layer.")


class Small:
    """A perceptron with one hidden layer."""

    batch_statistics = False

    def __init__(self, params: SmallParams, task: TaskShape) -> None:
        self._sizes = (torch.Size(task.inputs).numel(), params.width, task.outputs)

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Normal weights and zero biases."""
        weights: Params = {}
        for layer, (inputs, outputs) in enumerate(zip(self._sizes, self._sizes[1:], strict=False)):
            weights[f"{layer}.weight"] = torch.randn(inputs, outputs, generator=rng) / inputs**0.5
            weights[f"{layer}.bias"] = torch.zeros(outputs)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """``[tasks, n, *inputs]`` to ``[tasks, n, outputs]``."""
        hidden = nn.linear(x.flatten(2), weights["0.weight"], weights["0.bias"]).relu()
        return nn.linear(hidden, weights["1.weight"], weights["1.bias"])

    def choices(self) -> Mapping[str, CellChoices]:
        """None: the network is fixed."""
        return {}

    def child(self, genotype: Genotype) -> SearchSpace:
        """A fixed network has no children."""
        raise NotImplementedError


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """The learner."""
    yield LearnerSpec(
        name="head-only",
        version=1,
        summary="MAML whose inner loop moves the last layer alone.",
        params=GradientParams,
        kinds=("classification", "regression"),
        factory=HeadOnly,
    )


@hookimpl
def metabench_search_spaces() -> Iterable[SearchSpaceSpec]:
    """The network."""
    yield SearchSpaceSpec(
        name="small",
        version=1,
        summary="A perceptron with one hidden layer.",
        params=SmallParams,
        kinds=("classification", "regression"),
        factory=Small,
    )


SMALL: SearchSpace = Small(SmallParams(), TaskShape("regression", (1,), 1))
"""Assigned to the contract, so that a type checker compares them."""
