"""The place of an error is one that the user wrote."""

import math

import pytest
from pydantic import Field

from metabench.errors import UsageError
from metabench.planning.validation import validated
from metabench.plugin.source_deviation import SourceDeviation
from metabench.values import Frozen


class Inner(Frozen):
    one: int | str | list[int] = 0
    many: dict[str, list[tuple[int, str]]] | str = ""
    must: int


class Outer(Frozen):
    inner: Inner


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"inner": {"must": 1, "one": {}}}, "scope.inner.one"),
        ({"inner": {"must": 1, "one": [1, "x"]}}, "scope.inner.one"),
        ({"inner": {"must": 1, "many": {"a": [(1, "b"), 2]}}}, "scope.inner.many.a.1"),
        ({"inner": {}}, "scope.inner.must"),
        ({"inner": {"must": "no"}}, "scope.inner.must"),
    ],
)
def test_the_choices_of_a_union_are_no_part_of_a_place(
    values: dict[str, object], place: str
) -> None:
    with pytest.raises(UsageError) as caught:
        validated(Outer, values, what="scope")
    found = caught.value.message.partition(" ")[0].partition("=")[0]
    assert found == place


def test_a_deviation_may_hold_for_a_switch() -> None:
    """One value stands for the list of it, and true is not taken for 1."""
    values = {"source": "a", "here": "b", "why": "c", "where": "d"}
    for switch in (False, [False]):
        given = {**values, "when": {"learner.learn_precisions": switch}}
        found = validated(SourceDeviation, given, what="scope")
        assert found.when == {"learner.learn_precisions": (False,)}


class Rate(Frozen):
    rate: float = Field(0.1, gt=0, le=100)


@pytest.mark.parametrize("value", [math.nan, "nan", "-NaN"])
def test_nan_is_called_no_number_and_not_too_large(value: object) -> None:
    with pytest.raises(UsageError, match="input should be a number, not nan"):
        validated(Rate, {"rate": value}, what="scope")
