"""Prototypical networks (Snell, Swersky and Zemel, NeurIPS 2017), equations 1 and 2.

A class is the mean of its support embeddings; the logit of a query example for a class is minus
the squared distance. The embedding is the output layer of the suite's network, so it has as many
dimensions as the task has classes; the paper takes the layer before.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import torch
from metabench import (
    Adapted,
    FileParam,
    Labelled,
    LearnerContext,
    Predictor,
    TaskBatch,
    UsageError,
    predictor,
)
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional


class ProtoParams(BaseModel):
    """What a user can set with ``--set learner.NAME=VALUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outer_lr: float = Field(default=0.001, gt=0, le=1, description="Adam's learning rate.")
    start: FileParam | None = Field(
        default=None,
        description="Start weights of the network, written by torch.save; null draws them.",
    )


class Proto:
    """The learner: one embedding for all tasks, and no inner loop."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self._space = context.space
        weights = context.space.init_weights(rng=context.rng)
        if context.params.start is not None:
            weights = weights_in(context.params.start, like=weights)
        self._weights = {
            name: weight.to(context.device).requires_grad_() for name, weight in weights.items()
        }
        self._adam = torch.optim.Adam(list(self._weights.values()), lr=context.params.outer_lr)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the cross-entropy of the query sets."""
        logits = self._classifier(tasks.support)(tasks.query.x)
        loss = functional.cross_entropy(logits.flatten(0, 1), tasks.query.y.flatten())
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return {"loss": loss.detach()}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the class means of the support sets."""
        with torch.no_grad():
            classify = self._classifier(support)
        return Adapted(predict=torch.no_grad()(classify))

    def state_dict(self) -> dict[str, Any]:
        """Weights and Adam's moments."""
        return {"weights": dict(self._weights), "adam": self._adam.state_dict()["state"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state["adam"], "param_groups": groups})

    def _classifier(self, support: Labelled) -> Predictor:
        """From query inputs ``[tasks, q, *inputs]`` to logits ``[tasks, q, ways]``."""
        means = class_means(self._embed(support.x), support.y, ways=self._context.task.outputs)
        embed = predictor(self._embed, support.x, transductive=self._context.transductive)
        return lambda x: -squared_distances(embed(x), means)

    def _embed(self, x: Tensor) -> Tensor:
        """Embed examples ``[tasks, n, *inputs]``; all tasks share the weights ``[1, *shape]``."""
        shared = {name: weight.unsqueeze(0) for name, weight in self._weights.items()}
        return self._space.forward(shared, {}, x)


def weights_in(file: FileParam, *, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read weights by name from a file of ``torch.save``, for the network that has ``like``."""
    weights: dict[str, Tensor] = torch.load(BytesIO(file.read_bytes()), weights_only=True)
    if {k: w.shape for k, w in weights.items()} != {k: w.shape for k, w in like.items()}:
        raise UsageError(
            f"The weights in {file.name} are not those of this network.",
            hint="Choose the network that they were trained in with --network.",
        )
    return weights


def class_means(embeddings: Tensor, y: Tensor, *, ways: int) -> Tensor:
    """Average ``embeddings [tasks, n, d]`` by class ``y [tasks, n]``: ``[tasks, ways, d]``."""
    members = functional.one_hot(y, ways).to(embeddings.dtype).transpose(1, 2)
    return members @ embeddings / members.sum(dim=2, keepdim=True)


def squared_distances(points: Tensor, means: Tensor) -> Tensor:
    """From ``[tasks, q, d]`` and ``[tasks, ways, d]`` to ``[tasks, q, ways]``."""
    return (points.unsqueeze(2) - means.unsqueeze(1)).square().sum(dim=3)
