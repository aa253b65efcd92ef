"""ANIL and NIL (Raghu et al., ICLR 2020).

ANIL is MAML whose inner loop moves the last layer alone. NIL trains as ANIL does, and has no inner
loop at meta-test: the network without its last layer embeds examples, and a query's classes are
weighted by its cosines to the support examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench import Adapted, Labelled, predictor, share
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.attention import log_attention
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.outer_adam import Group


class AnilParams(MamlParams):
    """Parameters of ANIL."""

    adapted: Literal["head", "all"] = Field(
        default="head",
        description="What the inner loop adapts. head: the last layer; all: every layer, which is "
        "MAML.",
    )


class Anil(Maml):
    """MAML that adapts the head in the inner loop, in meta-training and at meta-test."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """MAML's weights; the names of those that adapt are the head's."""
        groups = super().groups(rng)
        if self.params.adapted == "head":
            self._adapted = self._head()
        return groups

    def _head(self) -> frozenset[str]:
        """The names of the weights of the last layer."""
        *_, head = layered(self.space, type(self).__name__.lower()).layers()
        return frozenset((f"{head}.weight", f"{head}.bias"))


class Nil(Anil):
    """ANIL in meta-training; attention on the embedded support examples at meta-test."""

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Embed the support sets by the network without its head."""
        context, head = self.context, self._head()
        body = {name: w for name, w in self._weights.items() if name not in head}
        weights = share(body, len(support.x))
        embed = predictor(
            lambda x: self.space.forward(weights, {}, x),
            support.x,
            transductive=context.queries_together,
        )
        embedded = self.space.forward(weights, {}, support.x)
        members = functional.one_hot(support.y, context.shape.ways).to(embedded.dtype)

        def predict(x: Tensor) -> Tensor:
            with torch.no_grad():
                return log_attention(embed(x), embedded, members)

        return Adapted(
            predict=predict, n_params=[sum(w.numel() for w in body.values())] * len(support.x)
        )
