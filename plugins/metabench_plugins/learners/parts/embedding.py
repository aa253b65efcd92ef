"""A network without its last layer: what embeds examples."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from metabench import LearnerContext, Params, Training
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.network_state import NetworkState


class Embedding:
    """Weights that all tasks share, and the state of the network where it has one.

    Args:
        context: what the harness gives the learner.
        learner: what messages call the learner.

    Attributes:
        network: the network with its state.
        hidden: the units of each layer but the last.
        weights: leaves that require gradients.
    """

    def __init__(self, context: LearnerContext, learner: str) -> None:
        assert context.space is not None
        self.network = NetworkState(context.space, context.device)
        *hidden, (last, _) = layered(context.space, learner).layers().items()
        self.hidden = dict(hidden)
        drawn = context.space.init_weights(rng=context.rng)
        kept = {name: w for name, w in drawn.items() if not name.startswith(f"{last}.")}
        self.weights = leaves(kept, context.device)
        self._two_examples = torch.zeros(1, 2, *context.task.inputs, device=context.device)

    @cached_property
    def features(self) -> int:
        """How many numbers embed an example."""
        with torch.no_grad():
            return self(self._two_examples).shape[2]

    def __call__(
        self, x: Tensor, training: Training | None = None, extra: Params | None = None
    ) -> Tensor:
        """Embed ``x [tasks, n, *inputs]`` as ``[tasks, n, features]``.

        Args:
            x: examples of each task.
            training: of the meta-step; None to predict.
            extra: further weights, such as those of FiLM, ``[tasks or 1, *shape]``.
        """
        shared = {name: weight[None] for name, weight in self.weights.items()}
        return self.network.forward(shared | (extra or {}), {}, x, training=training)
