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
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    Adapted,
    EpisodeShape,
    Labelled,
    LearnerContext,
    Params,
    Phase,
    TaskBatch,
    predictor,
    task_losses,
)
from metabench_plugins.learners.parts.augmentation import (
    AugmentedParams,
    augmented,
    check_images,
)
from metabench_plugins.learners.parts.classifier_head import ClassifierHead, HeadKind
from metabench_plugins.learners.parts.pretrained_embedding import PretrainedEmbedding


class FinetunedParams(AugmentedParams):
    """Parameters of fine-tuned classifiers."""

    head: HeadKind = Field(
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
        self._context = context
        p: FinetunedParams = context.params
        self.params = p
        check_images(p.augmentation, context.task)
        self._head = ClassifierHead(p.head, p.scale)
        self.network = PretrainedEmbedding(
            context,
            self._head,
            learner="a fine-tuned classifier",
            lr=p.outer_lr,
            skip_above=p.skip_above,
        )

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the mean cross-entropy of the labelled examples."""
        assert tasks.labelled is not None
        examples = augmented(tasks.labelled, self.params.augmentation, rng=rng)
        return self.network.classify(examples, progress=progress, rng=rng)

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Train a new head for each task on its embedded support set."""
        context, network = self._context, self.network
        n_tasks = len(support.x)
        embedded = network.embed(support.x)
        drawn = self._head.new(n_tasks, network.embed.features, context.shape.ways, rng=rng)
        head = {name: weight.to(embedded) for name, weight in drawn.items()}
        head = self._trained(head, embedded, support.y)
        embed = predictor(network.embed, support.x, transductive=context.queries_together)
        n_params = network.n_params + sum(weight[0].numel() for weight in head.values())
        return Adapted(
            predict=torch.no_grad()(lambda x: self._head.logits(embed(x), head)),
            n_params=[n_params] * n_tasks,
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights and Adam's moments."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        self.network.load_state_dict(state)

    def _trained(self, head: Params, features: Tensor, y: Tensor) -> Params:
        """The head of each task after its steps on ``features [tasks, n, d]``."""
        p = self.params
        momenta: Params = {}
        for _ in range(p.test_steps):
            with torch.enable_grad():
                now = {name: weight.requires_grad_() for name, weight in head.items()}
                outputs = self._head.logits(features, now)
                losses = task_losses(outputs, y, kind="classification", reduction="mean", shots=1)
                # Summed over tasks: a task's gradient is its own.
                gradients = torch.autograd.grad(losses.sum(), list(now.values()))
            for (name, weight), gradient in zip(now.items(), gradients, strict=True):
                gradient = gradient + p.weight_decay * weight
                before = momenta.get(name, gradient)
                momenta[name] = p.momentum * before + (1 - p.momentum) * gradient
            head = {n: (w - p.test_lr * momenta[n]).detach() for n, w in now.items()}
        return head
