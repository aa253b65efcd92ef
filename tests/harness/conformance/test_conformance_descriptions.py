"""A description that cannot stand by its parameters fails."""

import pytest
from conformance_specs import Demanding, assert_fails, learner_spec
from pydantic import BaseModel, ConfigDict

from metabench.plugin.catalog import Catalog
from metabench_plugins.learners.maml import Maml


class Loose(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Silent(BaseModel):
    model_config = ConfigDict(frozen=True)
    rate: float = 1.0


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
            {"params": Silent},
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
    ],
)
def test_broken_description_fails_its_check(
    catalog: Catalog, changes: dict[str, object], name: str, said: str
) -> None:
    assert_fails(learner_spec(Maml, **changes), catalog, name, said)
