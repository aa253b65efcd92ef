"""A classifier of the meta-train classes, trained on labelled examples."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from metabench import ClassBatch, LearnerContext, Training
from metabench_plugins.learners.parts.classifier_head import ClassifierHead
from metabench_plugins.learners.parts.embedding import Embedding
from metabench_plugins.learners.parts.gradient_learner import leaves

_PREFIX = "classifier."


class LabelledClassifier:
    """A head on an embedding, with one output per meta-train class.

    Args:
        context: what the harness gives the learner.
        embed: the embedding.
        head: the form of the head.

    Attributes:
        weights: those of the head, leaves that require gradients.
    """

    def __init__(self, context: LearnerContext, embed: Embedding, head: ClassifierHead) -> None:
        self._embed, self._head = embed, head
        drawn = head.new(1, embed.features, context.train_classes, rng=context.rng)
        self.weights = leaves(drawn, context.device, prefix=_PREFIX)

    def loss(self, examples: ClassBatch, training: Training) -> Tensor:
        """The mean cross-entropy of labelled examples, a scalar with its graph."""
        weights = {name.removeprefix(_PREFIX): w for name, w in self.weights.items()}
        outputs = self._head.logits(self._embed(examples.x, training), weights)
        return functional.cross_entropy(outputs[0], examples.y[0])
