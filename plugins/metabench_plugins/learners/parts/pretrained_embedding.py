"""An embedding that is trained as a classifier of the meta-train classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metabench import SKIPPED, ClassBatch, LearnerContext, Training
from metabench_plugins.learners.parts.classifier_head import ClassifierHead
from metabench_plugins.learners.parts.embedding import Embedding
from metabench_plugins.learners.parts.labelled_classifier import LabelledClassifier
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam


class PretrainedEmbedding:
    """An embedding, the classifier on it, and the optimizer that trains both.

    Args:
        context: what the harness gives the learner.
        head: the form of the classifier.
        learner: what messages call the learner.
        lr: learning rate of Adam.
        skip_above: see :class:`OuterAdam`.

    Attributes:
        embed: the embedding.
    """

    def __init__(
        self,
        context: LearnerContext,
        head: ClassifierHead,
        *,
        learner: str,
        lr: float,
        skip_above: float | None,
    ) -> None:
        self.embed = Embedding(context, learner)
        self._classifier = LabelledClassifier(context, self.embed, head)
        trained = Group(self.embed.weights | self._classifier.weights, lr)
        self.outer = OuterAdam([trained], skip_above=skip_above)

    @property
    def n_params(self) -> int:
        """Weights of the embedding."""
        return sum(weight.numel() for weight in self.embed.weights.values())

    def classify(
        self, examples: ClassBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the mean cross-entropy of labelled examples; returns scalars to log."""
        training = Training(rng=rng, progress=progress)
        loss = self._classifier.loss(examples, training)
        skipped = self.outer.step(loss)
        self.embed.network.keep(training, skipped=skipped)
        return {"loss": loss.detach(), SKIPPED: skipped}

    def state_dict(self) -> dict[str, Any]:
        """Weights, Adam's moments, and the state of the network where it has one."""
        return self.outer.state_dict() | self.embed.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights, moments and the state of the network."""
        self.outer.load_state_dict(state)
        self.embed.network.load_state_dict(state)
