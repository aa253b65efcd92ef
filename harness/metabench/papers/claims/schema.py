"""Claims as data: a sentence, where it is printed, and the comparison that would support it."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from metabench.planning.validation import validated
from metabench.planning.yaml_files import read_mapping
from metabench.results.metrics import AVERAGE
from metabench.values import Frozen, Name

Measure = Literal[
    "genotypes",
    "genotype_share",
    "genotype_source_p",
    "own_genotype_trained",
    "embedding_silhouette",
    "embedding_probe",
]
Relation = Literal["better", "not-worse", "close", "at-least", "at-most"]


class Party(Frozen):
    """A learner, and if its name is not enough, its network, strategy and some parameters."""

    learner: str = Field(description="Name of the learner.")
    network: str | None = Field(default=None, description="Name of its network.")
    strategy: str | None = Field(default=None, description="Name of its NAS strategy.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the learner or strategy that it must have."
    )

    def __str__(self) -> str:
        """The party in words, ``metanas on darts with soft-pruning (inputs=True)``."""
        network = f" on {self.network}" if self.network else ""
        strategy = f" with {self.strategy}" if self.strategy else ""
        params = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.learner}{network}{strategy}" + (f" ({params})" if params else "")


def _party(value: Any) -> Any:
    return {"learner": value} if isinstance(value, str) else value


Parties = tuple[Annotated[Party, BeforeValidator(_party)], ...]


class Claim(Frozen):
    """One sentence of a paper.

    The left is compared with exactly one of: the learners on the right, another prediction of the
    same learner (the pruned network with the one before), a fixed number (chance).
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Short name.")
    sentence: str = Field(description="What the paper says, in our words.")
    citation: str = Field(description="Section or table.")
    reading: str | None = Field(
        default=None,
        description="Our interpretation, if the paper does not have this very sentence.",
    )
    suite: str = Field(description="The suite that tests it.")
    setting: str = Field(description="Its setting.")
    budget: str | None = Field(
        default=None, description="The only budget that counts; any budget if absent."
    )
    left: Parties = Field(min_length=1, description="Learners that it is about.")
    relation: Relation = Field(
        description="`better`, `not-worse` or `close` (both within `margin`); `at-least` or "
        "`at-most` `value`."
    )
    right: Parties = Field(default=(), description="Learners that they are compared with.")
    baseline: str | None = Field(
        default=None,
        description="Another evaluation or prediction of the same learner, or `headline`.",
    )
    value: float | None = Field(
        default=None, description="A fixed number, in the unit of the scores."
    )
    columns: tuple[str, ...] = Field(
        default=(AVERAGE,),
        min_length=1,
        description="The columns that are compared, each by itself.",
    )
    evaluation: str | None = Field(
        default=None,
        description="The evaluation or prediction that is compared; the headline's if absent.",
    )
    metric: Name | None = Field(
        default=None,
        description="A further metric of the headline's predictions, such as `nll`; the "
        "headline's metric if absent.",
    )
    margin: float | None = Field(default=None, gt=0, description="In the unit of the scores.")
    measure: Measure | None = Field(
        default=None, description="A number of each run, for `at-least` and `at-most`."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Claim:
        against = [self.right or None, self.baseline, self.value]
        if sum(one is not None for one in against) != 1:
            raise ValueError("a claim needs exactly one of `right`, `baseline` and `value`")
        if (self.relation in ("not-worse", "close")) != (self.margin is not None):
            raise ValueError(
                "`margin` belongs to `not-worse` and `close`, and to no other relation"
            )
        if (self.relation in ("at-least", "at-most")) != (self.measure is not None):
            raise ValueError(
                "`measure` belongs to `at-least` and `at-most`, and to no other relation"
            )
        if self.measure is not None and self.value is None:
            raise ValueError("a measure is compared with a `value`")
        if self.metric is not None and (self.evaluation or self.baseline or self.measure):
            raise ValueError(
                "`metric` scores the headline's predictions, so it excludes `evaluation`, "
                "`baseline` and `measure`"
            )
        return self

    @property
    def source(self) -> str:
        """Where it is printed, and whether it is our reading."""
        return f"{self.citation}; {self.reading}" if self.reading else self.citation


class ClaimFile(Frozen):
    """The claims of one paper."""

    paper: str = Field(description="Citation of the paper.")
    claims: tuple[Claim, ...] = Field(min_length=1, description="Its claims.")

    @model_validator(mode="after")
    def _ids_differ(self) -> ClaimFile:
        ids = [claim.id for claim in self.claims]
        if twice := [name for name in ids if ids.count(name) > 1]:
            raise ValueError(f"the id {twice[0]!r} appears twice")
        return self


def load_claims(file: Traversable) -> ClaimFile:
    """Read and check a file of claims.

    Raises:
        UsageError: when the file is not valid YAML or does not describe claims.
    """
    values = read_mapping(file, of="claims")
    return validated(ClaimFile, values, what=f"Claims file {file.name}:")
