"""HSML, with and without its tree (Yao et al., ICML 2019).

A task embedding of the support set and the output of a tree of soft clusters gate the initial
weights, from which MAML's inner loop starts. M-NAS's tables call ``hsml-notree`` HSML.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from metabench import Labelled, is_norm, share
from metabench_plugins.learners.parts.gates import Gates
from metabench_plugins.learners.parts.gradient_learner import GradientLearner, Start, leaves
from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.seeded_modules import parameters, seeded
from metabench_plugins.learners.parts.task_encoder import EncoderParams, TaskEncoder

TREE_SCALES = {"regression": 2.0, "classification": 10.0}


class HsmlParams(EncoderParams):
    """Parameters of HSML."""

    tree: bool = Field(
        default=True,
        description="Whether the gates also read the output of the tree of task clusters, not "
        "the task embedding alone.",
    )
    leaves: int = Field(
        default=4, ge=1, le=64, description="Number of clusters in the first layer of the tree."
    )
    nodes: int = Field(
        default=2, ge=1, le=64, description="Number of clusters in the second layer of the tree."
    )
    tree_scale: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Scale s of the first layer's soft assignment, softmax(-distance^2 / (2 "
        "s)); null is 2 in regression and 10 in classification.",
    )


class Hsml(GradientLearner):
    """Gated start weights."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """Start weights, encoder, tree and gates, all at one rate."""
        p, device, task = self.params, self.context.device, self.context.task
        weights = self.space.init_weights(rng=rng)
        with seeded(rng):
            self._encoder = TaskEncoder(p, task).to(device)
            width = self._encoder.width
            self._tree = None
            if p.tree:
                scale = p.tree_scale or TREE_SCALES[task.kind]
                self._tree = Tree(width, n_leaves=p.leaves, n_nodes=p.nodes, scale=scale).to(device)
            shapes = {name: weight.shape for name, weight in weights.items()}
            self._gates = Gates(shapes, width=width * (2 if p.tree else 1)).to(device)
        self._weights = leaves(weights, device)
        self._adapted = frozenset(n for n in weights if p.adapt_norm or not is_norm(n))
        parts = parameters(encoder=self._encoder, tree=self._tree, gates=self._gates)
        return [Group(self._weights | parts, p.outer_lr, p.max_norm)]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Embed the tasks and gate the start weights."""
        z, error = self._encoder(support)
        representation = z if self._tree is None else torch.cat([z, self._tree(z)], dim=1)
        return Start(
            weights=self._gates(representation, share(self._weights, len(z))),
            adapted=self._adapted,
            penalty=self.params.penalty * error,
            embedding=z,
        )


class Tree(nn.Module):
    """Soft hierarchical clustering of task vectors, leaves - nodes - root.

    Args:
        width: d, of task vectors and of all values in the tree.
        n_leaves: clusters of the first layer.
        n_nodes: clusters of the second layer.
        scale: s; a leaf's weight falls as exp(-distance^2 / (2 s)).
    """

    def __init__(self, width: int, *, n_leaves: int, n_nodes: int, scale: float) -> None:
        super().__init__()
        self._scale = scale
        self.centers = nn.Parameter(torch.empty(n_leaves, width))
        self.leaf = nn.ModuleList(nn.Linear(width, width) for _ in range(n_leaves))
        self.assign = nn.Linear(width, n_nodes)
        self.node = nn.ModuleList(nn.Linear(width, width) for _ in range(n_nodes))
        self.root = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.centers)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Map task vectors ``[tasks, d]`` to the root's value ``[tasks, d]``."""
        distances = (z[:, None] - self.centers).square().sum(dim=-1)
        p = torch.softmax(-distances / (2 * self._scale), dim=1)  # [tasks, leaves]
        values = torch.stack([torch.tanh(layer(z)) for layer in self.leaf], dim=1)
        h = p[..., None] * values  # [tasks, leaves, d]
        g = torch.softmax(self.assign(h), dim=-1)  # [tasks, leaves, nodes]
        n = torch.stack(
            [
                (g[..., m, None] * torch.tanh(layer(h))).sum(dim=1)
                for m, layer in enumerate(self.node)
            ],
            dim=1,
        )  # [tasks, nodes, d]
        return torch.tanh(self.root(n)).sum(dim=1)
