"""What a source says about the protocol and the half-widths of a number, fact by fact.

Each fact is given or is ``not stated``. A missing fact is a mistake of the file, not an unknown.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from metabench.values import Frozen

NotStated = Literal["not stated"]
NOT_STATED: NotStated = "not stated"
"""What a file writes for a fact that its source does not say."""

Count = Annotated[int, Field(ge=0)]
T = TypeVar("T")

FACTS = {
    "queries": "queries",
    "steps_at_test": "steps at test",
    "normalization": "normalization",
    "episodes": "episodes",
    "trained_on": "training classes",
    "selection": "tested weights",
}
"""The facts of a protocol that every row of a table gives or says are not stated, in words."""

HALF_WIDTH = "half-width"
"""The word for the facts of :class:`Uncertainty`."""


class Conditions(Frozen):
    """What the source says about a protocol."""

    ways: int | None = Field(
        default=None, description="Classes per episode; absent where there are none."
    )
    shots: int | None = Field(default=None, description="Support examples per class at meta-test.")
    queries: Count | NotStated | None = Field(
        default=None, description="Query examples per class at meta-test."
    )
    steps_at_test: Count | NotStated | None = Field(
        default=None, description="Inner steps at meta-test."
    )
    normalization: Literal["transductive", "inductive", "running"] | NotStated | None = Field(
        default=None,
        description="As in a suite's protocol; `running`: by averages from meta-training.",
    )
    episodes: Count | NotStated | None = Field(
        default=None, description="Meta-test episodes per source."
    )
    trained_on: Literal["meta-train", "meta-train and meta-val"] | NotStated | None = Field(
        default=None, description="The classes of meta-training."
    )
    selection: Literal["last", "meta-val", "ensemble"] | NotStated | None = Field(
        default=None,
        description="As in a suite's protocol; `ensemble`: of the best on meta-validation.",
    )

    def forgotten(self) -> list[str]:
        """The facts that are neither given nor said to be not stated."""
        return [name for name in FACTS if getattr(self, name) is None]

    def unknown(self) -> list[str]:
        """The facts that are said to be not stated."""
        return [name for name in FACTS if getattr(self, name) == NOT_STATED]

    def unstated(self) -> list[str]:
        """The facts that the source does not state, in words."""
        return [words for name, words in FACTS.items() if known(getattr(self, name)) is None]


class Uncertainty(Frozen):
    """What is known about half-widths."""

    n: Annotated[int, Field(ge=2)] | NotStated | None = Field(
        default=None, description="How many values they rest on."
    )
    over: Literal["episodes", "seeds", "episodes and seeds"] | NotStated | None = Field(
        default=None, description="What these values are of."
    )
    formula: Literal["1.96 std/sqrt(n)"] | NotStated | None = Field(
        default=None, description="How they are computed."
    )
    note: str = Field(default="", description="What else is known.")

    def forgotten(self) -> list[str]:
        """The facts that are neither given nor said to be not stated."""
        return [name for name in ("n", "over", "formula") if getattr(self, name) is None]

    def is_stated(self) -> bool:
        """Whether every fact is known."""
        return all(known(value) is not None for value in (self.n, self.over, self.formula))


def known(value: T | NotStated | None) -> T | None:
    """The value of a fact, None where it is not stated.

    >>> known(15), known("not stated")
    (15, None)
    """
    return None if value == NOT_STATED else value
