"""A description that cannot stand by its parameters fails."""

import pytest
from conformance_specs import Demanding, assert_fails, learner_spec, outcomes
from pydantic import BaseModel, ConfigDict

from metabench import Frozen, SourceDeviation
from metabench.plugin.catalog import Catalog
from metabench_plugins.learners.maml import Maml


class Loose(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Lenient(BaseModel):
    model_config = ConfigDict(frozen=True)


class Silent(Frozen):
    rate: float = 1.0


DEVIATIONS = "its deviations from its source are described"
DEVIATION = SourceDeviation(source="a", here="b", why="c", where="Doe")


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"summary": " "}, "the summary is one line", "empty"),
        ({"summary": "a\nb"}, "the summary is one line", "several lines"),
        ({"factory": "metabench:nothing"}, "the factory can be imported", "Cannot import"),
        (
            {"params": Loose},
            "the parameters are a frozen model that forbids unknown names",
            "not frozen",
        ),
        (
            {"params": Lenient},
            "the parameters are a frozen model that forbids unknown names",
            "unknown names silently",
        ),
        (
            {"params": dict},
            "the parameters are a frozen model that forbids unknown names",
            "pydantic",
        ),
        ({"params": Demanding}, "the defaults of parameters are valid JSON", "rate"),
        ({"preset": {"nothing": 1}}, "the defaults of parameters are valid JSON", "nothing"),
        ({"params": Silent}, "every parameter has a description", "no description: rate"),
        (
            {"test_only": ("inner_rl",)},
            "what it declares as test_only is known",
            "test_only names inner_rl",
        ),
        ({"deviations": ("none",)}, DEVIATIONS, "'none' is not a SourceDeviation"),
        (
            {"deviations": (DEVIATION.model_copy(update={"learners": ("maml",)}),)},
            DEVIATIONS,
            "'Doe' names learners",
        ),
    ],
)
def test_broken_description_fails_its_check(
    catalog: Catalog, changes: dict[str, object], name: str, said: str
) -> None:
    assert_fails(learner_spec(Maml, **changes), catalog, name, said)


@pytest.mark.parametrize(("name", "status"), [("inner_lr", "ok"), ("inner_rl", "warning")])
def test_a_condition_of_a_deviation_names_a_parameter(
    catalog: Catalog, name: str, status: str
) -> None:
    when = {f"learner.{name}": 1}
    spec = learner_spec(
        Maml, deviations=(SourceDeviation(**{**DEVIATION.model_dump(), "when": when}),)
    )
    outcome = outcomes(spec, catalog, DEVIATIONS)[DEVIATIONS]
    assert outcome.status == status
    assert ("Did you mean" in outcome.reason) == (status == "warning")
