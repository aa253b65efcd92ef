"""ANIL: MAML whose inner loop moves the last layer alone (Raghu et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from metabench_plugins.learners.maml import Maml, MamlParams
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
            *_, head = layered(self.space, "anil").layers()
            self._adapted = frozenset((f"{head}.weight", f"{head}.bias"))
        return groups
