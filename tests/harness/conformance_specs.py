"""Descriptions of plugins to check, and what the checks say, by name."""

import dataclasses

from pydantic import BaseModel, ConfigDict, Field

from metabench import conformance
from metabench.catalog import Catalog
from metabench.specs import LearnerSpec, SearchSpaceSpec, Spec
from metabench_plugins.learners.maml import MamlParams
from metabench_plugins.spaces.mlp import MlpParams


def outcomes(spec: Spec, catalog: Catalog, *only: str) -> dict[str, conformance.Outcome]:
    return {
        check.name: conformance.run(check)
        for check in conformance.checks(spec, catalog=catalog)
        if not only or check.name in only
    }


def learner_spec(learner: type, **changes: object) -> LearnerSpec:
    spec = LearnerSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=MamlParams,
        factory=learner,
        kinds=("regression",),
    )
    return dataclasses.replace(spec, **changes)


class Demanding(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rate: float = Field(description="No default.")


def space_spec(factory: type, **changes: object) -> SearchSpaceSpec:
    spec = SearchSpaceSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=MlpParams,
        factory=factory,
        kinds=("regression",),
    )
    return dataclasses.replace(spec, **changes)
