"""T-NAS++: the search of T-NAS; MAML++ trains the decoded networks (Lian et al., ICLR 2020).

The paper says no more than that. Each network has the schedules of MAML++ over the share of
meta-training that trains networks, in which all of them take turns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field

from metabench import Genotype
from metabench_plugins.learners.maml import Maml
from metabench_plugins.learners.maml_plus import MamlPlus, MamlPlusParams, StepwiseParams
from metabench_plugins.learners.tnas import Tnas, TnasParams


class TnasPlusParams(StepwiseParams, TnasParams):
    """Parameters of T-NAS++: those of T-NAS for the search, and of MAML++ for the networks."""

    network_order: Literal["second", "first"] = Field(
        default="second", description="The order with which decoded networks are trained."
    )
    network_adapt_norm: bool = Field(
        default=False,
        description="Whether the inner loop adapts scale and shift of the norms of decoded "
        "networks.",
    )

    @property
    def of_networks(self) -> MamlPlusParams:
        """The parameters of MAML++ that trains the decoded networks."""
        own = {name: getattr(self, name) for name in MamlPlusParams.model_fields}
        changed = {"order": self.network_order, "adapt_norm": self.network_adapt_norm}
        return MamlPlusParams(**own | changed)


class TnasPlus(Tnas):
    """T-NAS whose decoded networks are trained by MAML++."""

    def _network(self, genotype: Genotype, *, rng: torch.Generator) -> Maml:
        space, params = self.space.child(genotype), self.params.of_networks
        return MamlPlus(replace(self.context, params=params, space=space, strategy=None, rng=rng))
