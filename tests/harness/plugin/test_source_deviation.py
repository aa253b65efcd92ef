"""What is done otherwise than in a source: what a description of it must say."""

from typing import Any

import pytest
from pydantic import ValidationError

from metabench import SourceDeviation
from metabench.planning import overrides
from metabench.plugin.catalog import Catalog
from metabench.plugin.source_deviation import SCOPES


def deviation(**changes: Any) -> SourceDeviation:
    values = {"source": "ten steps", "here": "five", "why": "time", "where": "Doe, section 4"}
    return SourceDeviation.model_validate({**values, **changes})


def test_it_is_said_in_sentences() -> None:
    said = "Doe, section 4: ten steps. Here: five. Why: time."
    assert str(deviation()) == deviation().described == said
    assert str(deviation(source=" ten\n  steps. ")) == said
    assert str(deviation(comparable=False)) == f"{said} This makes it another experiment."


def test_its_description_begins_with_whom_and_what_it_concerns() -> None:
    when = {"network": "toy-cell", "network.norm": ["none", None], "learner.tree": True}
    found = deviation(learners=["mnas", "hsml"], when=when)
    assert found.conditions == "network=toy-cell, network.norm=none or null, learner.tree=true"
    assert found.described == f"(mnas, hsml; only with {found.conditions}) {found}"
    assert deviation(learners=["mnas"]).described.startswith("(mnas) Doe")
    assert deviation(when={"task": "regression"}).described.startswith("(only with task=reg")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"why": " "}, "at least 1 character"),
        ({"where": None}, "valid string"),
        ({"whence": "x"}, "Extra inputs"),
        ({"when": {"norm": "none"}}, "`when` names 'norm', which is neither"),
        ({"when": {"space.norm": "none"}}, "a scope of learner, network, strategy"),
        ({"when": {"network.": "none"}}, "'network.'"),
        ({"when": {"network.norm": []}}, "at least 1 item"),
    ],
)
def test_what_does_not_describe_one_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        deviation(**changes)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        deviation().why = "other"


def test_the_scopes_are_those_of_set() -> None:
    assert set(SCOPES) == set(overrides.SCOPES)


def test_the_built_in_learners_with_a_paper_say_what_they_do_otherwise(catalog: Catalog) -> None:
    named = {name for name, spec in catalog.learners.items() if spec.deviations}
    assert {"bmaml", "hsml", "mnas", "mumomaml", "one-shot", "reptile", "tnas"} <= named
    ours = {"support-mean", "nearest-neighbor", "nearest-centroid", "gaussian-process"}
    assert not named & ours
