"""What a learner or a suite does otherwise than its source, as data that tables print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from metabench.text import as_in_yaml
from metabench.values import Frozen

DEVIATIONS = "Deviations from the sources"
"""The heading of every list of them."""

FACTS = ("suite", "setting", "budget", "task", "network", "strategy")
"""What a condition may name without a dot: the name of the suite, of the network, ..."""

SCOPES = ("learner", "network", "strategy", "data", "protocol", "budget")
"""Whose parameters a condition may name, as ``--set`` does: ``network.norm``."""


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Clause = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_one_line)
]
"""One line of text without a period at its end."""

Values = Annotated[tuple[Any, ...], BeforeValidator(_several), Field(min_length=1)]
"""One value, or the list of those that count."""


class SourceDeviation(Frozen):
    """One thing that is done otherwise than in the source of a learner or suite.

    It holds for a run whose parameters fulfill every condition of ``when``. A parameter that the
    record of the run lacks is younger than the record. What it would switch on was not there, so
    it fulfills null, 0, false and any word, but no other number.
    """

    source: Clause = Field(description="What the source says or does.")
    here: Clause = Field(description="What is done here.")
    why: Clause = Field(description="Why it is done so.")
    where: Clause = Field(
        description="The place in the source: paper with section, equation or table, or its code."
    )
    learners: tuple[str, ...] = Field(
        default=(),
        description="In a suite, the learners whose rows it concerns; all if empty. A learner's "
        "own deviations leave it empty.",
    )
    when: Mapping[str, Values] = Field(
        default_factory=dict,
        description="Values by `SCOPE.PARAMETER`, or by `suite`, `setting`, `budget`, `task`, "
        "`network` or `strategy`: it holds only for runs that have one of the values of each.",
    )
    comparable: bool = Field(
        default=True,
        description="False if it makes another experiment of it, so that numbers are not "
        "comparable with those of the source.",
    )

    @model_validator(mode="after")
    def _conditions_have_a_scope(self) -> SourceDeviation:
        for name in self.when:
            scope, dot, parameter = name.partition(".")
            if not (scope in SCOPES and parameter if dot else scope in FACTS):
                raise ValueError(
                    f"`when` names {name!r}, which is neither SCOPE.PARAMETER with a scope of "
                    f"{', '.join(SCOPES)} nor one of {', '.join(FACTS)}"
                )
        return self

    def __str__(self) -> str:
        """What a reader of a table must know, in sentences."""
        other = "" if self.comparable else " This makes it another experiment."
        return f"{self.where}: {self.source}. Here: {self.here}. Why: {self.why}.{other}"

    @property
    def conditions(self) -> str:
        """Where it holds, in words, ``network=toy-cell, network.norm=none``; "" if everywhere."""
        return ", ".join(
            f"{name}={' or '.join(map(as_in_yaml, values))}" for name, values in self.when.items()
        )

    @property
    def described(self) -> str:
        """The sentences after the learners and the conditions for which it holds, if any."""
        only = f"only with {self.conditions}" if self.when else ""
        whose = "; ".join(filter(None, (", ".join(self.learners), only)))
        return f"({whose}) {self}" if whose else str(self)
