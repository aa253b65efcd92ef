"""An embedding that is trained as a classifier of the meta-train classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metabench import SKIPPED, ClassBatch, LearnerContext, Training
from metabench_plugins.learners.parts.classifier_head import ClassifierHead
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.network_state import NetworkState
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam

_PREFIX = "classifier."


class PretrainedEmbedding:
    """The network without its last layer, and a classifier of the meta-train classes on it.

    Args:
        context: what the harness gives the learner.
        head: the form of the classifier.
        learner: the learner's name, for messages.
        lr: learning rate of Adam.
        skip_above: see :class:`OuterAdam`.

    Attributes:
        features: how many numbers embed an example.
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
        assert context.space is not None
        self._head = head
        self._network = NetworkState(context.space, context.device)
        *_, last = layered(context.space, learner).layers()
        drawn = context.space.init_weights(rng=context.rng)
        embedding = {n: w for n, w in drawn.items() if not n.startswith(f"{last}.")}
        self._weights = leaves(embedding, context.device)
        x = torch.zeros(1, 2, *context.task.inputs, device=context.device)
        with torch.no_grad():
            self.features = self.embed(x).shape[-1]
        classifier = head.new(1, self.features, context.train_classes, rng=context.rng)
        self._classifier = leaves(classifier, context.device, prefix=_PREFIX)
        self.outer = OuterAdam([Group(self._weights | self._classifier, lr)], skip_above=skip_above)

    @property
    def n_params(self) -> int:
        """Weights of the embedding."""
        return sum(weight.numel() for weight in self._weights.values())

    def embed(self, x: Tensor, training: Training | None = None) -> Tensor:
        """Embed ``[tasks, n, *inputs]`` as ``[tasks, n, features]``; tasks share the weights."""
        shared = {name: weight[None] for name, weight in self._weights.items()}
        return self._network.forward(shared, {}, x, training=training)

    def classify(
        self, examples: ClassBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the mean cross-entropy of labelled examples; returns scalars to log."""
        training = Training(rng=rng, progress=progress)
        head = {name.removeprefix(_PREFIX): w for name, w in self._classifier.items()}
        outputs = self._head.logits(self.embed(examples.x, training), head)
        loss = functional.cross_entropy(outputs[0], examples.y[0])
        skipped = self.outer.step(loss)
        self._network.keep(training, skipped=skipped)
        return {"loss": loss.detach(), SKIPPED: skipped}

    def state_dict(self) -> dict[str, Any]:
        """Weights, Adam's moments, and the state of the network where it has one."""
        return self.outer.state_dict() | self._network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights, moments and the state of the network."""
        self.outer.load_state_dict(state)
        self._network.load_state_dict(state)
