"""Descriptions of plugins to check, and what the checks say, by name."""

import dataclasses
from importlib.resources.abc import Traversable

from pydantic import BaseModel, ConfigDict, Field

from metabench import conformance
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import TEST_FACTS, LearnerSpec, SearchSpaceSpec, Spec
from metabench_plugins.learners.maml import MamlParams
from metabench_plugins.spaces.mlp import MlpParams

CLAIMS = """
paper: Doe, 2020
claims:
  - id: ours-wins
    sentence: Ours wins.
    citation: Section 1
    suite: toy-regression
    setting: 10-shot
    left: [maml]
    relation: better
    right: [reptile]
"""
"""A sound file of claims."""


def outcomes(
    thing: Spec | Traversable,
    catalog: Catalog,
    *only: str,
    file: conformance.FileKind = "suite",
) -> dict[str, conformance.Outcome]:
    return {
        check.name: conformance.run_check(check)
        for check in conformance.checks(thing, catalog=catalog, file=file)
        if not only or check.name in only
    }


def assert_fails(
    thing: Spec | Traversable,
    catalog: Catalog,
    name: str,
    said: str,
    *,
    file: conformance.FileKind = "suite",
) -> None:
    """Assert that one check fails, and says this in its reason."""
    outcome = outcomes(thing, catalog, name, file=file)[name]
    assert outcome.status == "FAILED"
    assert said in outcome.reason


def learner_spec(learner: type, **changes: object) -> LearnerSpec:
    spec = LearnerSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=MamlParams,
        factory=learner,
        kinds=("regression",),
        test_only=TEST_FACTS,
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
