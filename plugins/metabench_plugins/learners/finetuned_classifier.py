"""Fine-tuned classifiers (Chen et al., ICLR 2019): ordinary training, then a new head per task.

Meta-training is ordinary classification of the meta-train classes. At meta-test the embedding
stays, and each task trains a classifier of its own on the embedded support set, by SGD with
momentum m, dampening m and weight decay:

    b <- m b + (1 - m) (grad CE(W) + decay W),    W <- W - lr b,    b_0 = the first gradient.

* ``baseline``: a linear classifier, ``W f(x) + bias``.
* ``baseline++``: a cosine classifier, ``scale cos(W_c, f(x))``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench import (
    SKIPPED,
    Adapted,
    EpisodeShape,
    Frozen,
    Labelled,
    LearnerContext,
    Params,
    Phase,
    TaskBatch,
    nn,
    predictor,
)
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam


class FinetunedParams(Frozen):
    """Parameters of fine-tuned classifiers."""

    head: Literal["linear", "cosine"] = Field(
        default="cosine",
        description="linear: a matrix and a bias; cosine: the scaled cosine with a vector of each "
        "class.",
    )
    scale: float = Field(
        default=2.0, gt=0, le=1000, description="Factor of the cosines; of head cosine alone."
    )
    batch: int = Field(default=16, ge=1, le=10_000, description="Labelled examples per meta-step.")
    outer_lr: float = Field(default=0.001, gt=0, le=1, description="Learning rate of Adam.")
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its gradient is not finite or more than "
        "this many times the median of the last 100; null for never.",
    )
    test_steps: int = Field(
        default=100, ge=1, le=10_000, description="Steps that train the head of a test task."
    )
    test_lr: float = Field(default=0.01, gt=0, le=100, description="Learning rate of these steps.")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Momentum and dampening of these steps."
    )
    weight_decay: float = Field(
        default=0.001, ge=0, le=1, description="Factor of the head that joins its gradient."
    )


def phases(params: FinetunedParams, shape: EpisodeShape) -> Sequence[Phase]:
    """Labelled examples alone; meta-training has no episodes."""
    return [Phase(name="classify", share=1.0, tasks=0, examples=params.batch)]


def steps_at_test(params: FinetunedParams) -> int:
    """Steps of the head, whatever the protocol says."""
    return params.test_steps


class FinetunedClassifier:
    """An embedding trained by classification, and a new head for each task.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self.params: FinetunedParams = context.params
        self._space = context.space
        *_, head = layered(context.space, "a fine-tuned classifier").layers()
        drawn = context.space.init_weights(rng=context.rng)
        embedding = {n: w for n, w in drawn.items() if not n.startswith(f"{head}.")}
        self._weights = leaves(embedding, context.device)
        x = torch.zeros(1, 2, *context.task.inputs, device=context.device)
        with torch.no_grad():
            self._features = self._embed(x).shape[-1]
        self._head = leaves(
            self._new_head(1, context.train_classes, rng=context.rng),
            context.device,
            prefix="classifier.",
        )
        group = Group(self._weights | self._head, self.params.outer_lr)
        self.outer = OuterAdam([group], skip_above=self.params.skip_above)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the mean cross-entropy of the labelled examples."""
        assert tasks.labelled is not None
        x, y = tasks.labelled.x, tasks.labelled.y
        head = {name.removeprefix("classifier."): w for name, w in self._head.items()}
        logits = self._logits(self._embed(x), head)
        loss = functional.cross_entropy(logits[0], y[0])
        skipped = self.outer.step(loss)
        return {"loss": loss.detach(), SKIPPED: skipped}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Train a new head for each task on its embedded support set."""
        context = self._context
        n_tasks = len(support.x)
        head = self._new_head(n_tasks, context.shape.ways, rng=rng)
        embedded = self._embed(support.x)
        head = {name: weight.to(embedded) for name, weight in head.items()}
        head = self._trained(head, embedded, support.y)
        embed = predictor(self._embed, support.x, transductive=context.queries_together)
        n_params = sum(w.numel() for w in self._weights.values())
        n_params += sum(w[0].numel() for w in head.values())
        return Adapted(
            predict=torch.no_grad()(lambda x: self._logits(embed(x), head)),
            n_params=[n_params] * n_tasks,
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights and Adam's moments."""
        return self.outer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        self.outer.load_state_dict(state)

    def _trained(self, head: Params, features: Tensor, y: Tensor) -> Params:
        """The head of each task after its steps on ``features [tasks, n, d]``."""
        p = self.params
        momenta: Params = {}
        for _ in range(p.test_steps):
            with torch.enable_grad():
                now = {name: weight.requires_grad_() for name, weight in head.items()}
                entropies = functional.cross_entropy(
                    self._logits(features, now).flatten(0, 1), y.flatten(), reduction="none"
                )
                # The sum over tasks of each task's mean: a task's gradient is its own.
                total = entropies.view(y.shape).mean(dim=1).sum()
                gradients = torch.autograd.grad(total, list(now.values()))
            for (name, weight), gradient in zip(now.items(), gradients, strict=True):
                gradient = gradient + p.weight_decay * weight
                before = momenta.get(name, gradient)
                momenta[name] = p.momentum * before + (1 - p.momentum) * gradient
            head = {n: (w - p.test_lr * momenta[n]).detach() for n, w in now.items()}
        return head

    def _new_head(self, n_tasks: int, classes: int, *, rng: torch.Generator) -> Params:
        """Uniform in +-1/sqrt(features), as a linear layer of PyTorch; on the CPU."""
        bound = self._features**-0.5
        shapes: dict[str, tuple[int, ...]] = {"weight": (n_tasks, self._features, classes)}
        if self.params.head == "linear":
            shapes["bias"] = (n_tasks, classes)
        return {
            name: torch.empty(shape).uniform_(-bound, bound, generator=rng)
            for name, shape in shapes.items()
        }

    def _logits(self, features: Tensor, head: Params) -> Tensor:
        """Map ``features [tasks, n, d]`` to ``[tasks, n, classes]``."""
        if self.params.head == "linear":
            return nn.linear(features, head["weight"], head["bias"])
        directions = functional.normalize(head["weight"], dim=1)
        return self.params.scale * nn.linear(functional.normalize(features, dim=2), directions)

    def _embed(self, x: Tensor) -> Tensor:
        """Embed ``[tasks, n, *inputs]``; all tasks share the weights."""
        shared = {name: weight[None] for name, weight in self._weights.items()}
        return self._space.forward(shared, {}, x)
