"""One run of a benchmark as a value: everything that decides its numbers, and its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from metabench.errors import PluginError
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.plugin.contracts.file_param import (
    FILES,
    FileParam,
    file_in_words,
    is_file_value,
)
from metabench.plugin.contracts.place import places_in
from metabench.values import Frozen, Name, digest

M = TypeVar("M", bound=BaseModel)


Precision = Literal["float32", "tf32", "bf16"]
"""How layers multiply."""


class Choice(Frozen):
    """A plugin with its resolved parameters."""

    name: str = Field(description="The plugin's name.")
    version: int = Field(
        description="Its version. It rises when the same inputs may give other numbers."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="All parameters, defaults included."
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        exclude=True,
        description="Paths of the files among the parameters, by SHA-256; and where data lies, by "
        "source and parameter. Not written, and not part of the identity: `provenance.files` has "
        "them.",
    )

    def __str__(self) -> str:
        """Name and parameters, ``conv4(filters=64)``."""
        inside = ", ".join(f"{key}={_word(value)}" for key, value in sorted(self.params.items()))
        return f"{self.name}({inside})" if inside else self.name

    def validated(self, model: type[M]) -> M:
        """The parameters as their model, whose files know their paths.

        Raises:
            PluginError: when the model refuses what it wrote itself, such as a default that is out
                of its own bounds; or what another version of it wrote.
        """
        try:
            return model.model_validate(self.params | self.places, context={FILES: self.files})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise PluginError(
                f"The parameters of {self.name} cannot be used: {place}={first['input']!r}: "
                f"{first['msg'][:1].lower()}{first['msg'][1:]}.",
                hint="Its defaults must keep to their own types and bounds; "
                f"`metabench plugins check {self.name}` names them.",
            ) from error

    @property
    def places(self) -> dict[str, str]:
        """The parameters that say where data lies, which are not among ``params``."""
        return {}


def _word(value: Any) -> Any:
    return file_in_words(value) if is_file_value(value) else value


class SourceChoice(Choice):
    """A source of the suite: a dataset with its parameters, under a name of its own."""

    source: str = Field(description="Name of the source in the suite and of its column in tables.")

    @property
    def places(self) -> dict[str, str]:
        """The parameters that say where data lies, which are not among ``params``."""
        own = f"{self.source}."
        return {
            name.removeprefix(own): path
            for name, path in self.files.items()
            if name.startswith(own)
        }

    @classmethod
    def with_places(cls, model: type[BaseModel], params: dict[str, Any], **fields: Any) -> Self:
        """A source whose parameters that say where data lies are beside its identity.

        Args:
            model: of the parameters.
            params: all of them.
            fields: the other fields.
        """
        choice = cls(params=params, **fields)
        places = {name: params[name] for name in places_in(model) if params[name] is not None}
        files = {f"{choice.source}.{name}": path for name, path in places.items()}
        left = {name: value for name, value in params.items() if name not in places}
        return choice.model_copy(update={"params": left, "files": {**choice.files, **files}})


class _WithLaterFields(Frozen):
    """A part of a run's value that has got further fields since runs were recorded.

    Such a field is None where nothing was said, and is then left out of what is written, so that
    a run from before the field keeps its digest.
    """

    @model_serializer(mode="wrap")
    def _without_unsaid(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        later = (name for name, field in type(self).model_fields.items() if field.json_schema_extra)
        unsaid = {name for name in later if getattr(self, name) is None}
        return {name: value for name, value in written.items() if name not in unsaid}


LATER: dict[str, JsonValue] = {"later": True}
"""Marks a field for :class:`_WithLaterFields`."""


class EpisodeProtocol(_WithLaterFields):
    """How episodes are drawn, and how learners are tested on them: the same in a whole table."""

    ways: int = Field(
        default=1, ge=1, le=1000, description="Classes per episode (1 in regression)."
    )
    shots: int = Field(ge=1, le=10_000, description="Support examples per class, at meta-test.")
    queries: int = Field(ge=1, le=10_000, description="Query examples per class, at meta-test.")
    train_shots: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Support examples per class in meta-training; if absent, as many as `shots`.",
    )
    train_queries: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Query examples per class in meta-training; if absent, as many as `queries`.",
    )
    steps_at_test: int = Field(
        default=5, ge=0, le=1000, description="Inner steps at meta-test for the headline score."
    )
    curve_steps: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Inner steps up to which the curve of scores is recorded.",
    )
    normalization: Literal["transductive", "inductive"] = Field(
        default="transductive",
        description="How batch norm treats queries. `transductive`: by the statistics of the query "
        "set; `inductive`: each query example together with the support set.",
    )
    selection: Literal["last", "meta-val"] = Field(
        default="last",
        description="Which weights are tested: the last, or the best on meta-validation.",
    )
    episodes: int = Field(
        default=1000, ge=1, le=100_000_000, description="Meta-test episodes per source."
    )
    val_episodes: int = Field(
        default=100, ge=1, le=100_000_000, description="Meta-validation episodes per source."
    )
    val_shots: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Support examples per class in meta-validation; if absent, as many as `shots`.",
        json_schema_extra=LATER,
    )
    val_queries: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Query examples per class in meta-validation; if absent, as many as `queries`.",
        json_schema_extra=LATER,
    )
    episode_seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the meta-validation and meta-test episodes."
    )

    def test_shape(self) -> EpisodeShape:
        """Shape of a meta-test episode."""
        return EpisodeShape(self.ways, self.shots, self.queries)

    def val_shape(self) -> EpisodeShape:
        """Shape of a meta-validation episode."""
        return EpisodeShape(
            self.ways, self.val_shots or self.shots, self.val_queries or self.queries
        )

    def train_shape(self) -> EpisodeShape:
        """Shape of a meta-train episode, unless the learner trains on another one."""
        return EpisodeShape(
            self.ways, self.train_shots or self.shots, self.train_queries or self.queries
        )


class Training(_WithLaterFields):
    """How long a learner meta-trains, and which of its weights are tested together."""

    meta_steps: int = Field(ge=0, le=100_000_000, description="Number of outer updates.")
    meta_batch: int = Field(ge=1, le=100_000, description="Episodes per outer update.")
    val_every: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Outer updates between validations, for `selection: meta-val`. If absent, a "
        "twentieth of `meta_steps`, rounded down, but at least 1. The last weights are always "
        "validated.",
    )
    ensemble: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="How many of the best weights on meta-validation are tested together: the "
        "prediction is the mean of theirs. It needs `selection: meta-val`. If absent, the best "
        "alone are tested.",
        json_schema_extra=LATER,
    )

    @property
    def validates_every(self) -> int:
        """Meta-steps from one meta-validation to the next."""
        return self.val_every or max(1, self.meta_steps // 20)


class GivenWeights(Frozen):
    """Weights that a run tests and has not trained: of another run, or from elsewhere."""

    origin: str = Field(
        description="The suite and setting of their training, `omniglot@5w1s`, or the name of the "
        "file that they come from."
    )
    training: str = Field(
        default="",
        description="Digest of what decided them, but for the seed: weights of several seeds have "
        "the same. Empty of weights from elsewhere.",
    )
    digest: str = Field(description="Digest of the weights themselves.")
    data_fingerprint: str = Field(
        default="", description="Digest of the data of their training; empty where unknown."
    )
    train_classes: int | None = Field(
        default=None, description="Classes of their meta-training; null where unknown."
    )

    @property
    def words(self) -> str:
        """Where they are from, as a row of a table says it."""
        return f"trained on {self.origin}" if self.training else f"weights of {self.origin}"


class RunSpec(Frozen):
    """Everything that decides the numbers of a run. Device, threads and versions are provenance."""

    suite: str = Field(description="Name of the suite.")
    suite_version: int = Field(description="Version of the suite.")
    setting: str = Field(description="Name of the setting, such as `5w1s`.")
    budget: str = Field(description="Name of the budget.")
    task: Literal["classification", "regression"] = Field(description="Kind of the tasks.")
    metric: Name = Field(description="Score of a query set: the headline's metric.")
    metric_version: int = Field(
        default=1, description="Version of that metric. It is left out where it is 1."
    )
    sources: tuple[SourceChoice, ...] = Field(
        description="The sources of episodes, in the order of the suite."
    )
    protocol: EpisodeProtocol = Field(
        description="How episodes are drawn, and how learners are tested."
    )
    training: Training = Field(description="How long the learner meta-trains.")
    learner: Choice = Field(description="The learner.")
    space: Choice | None = Field(description="The network; null if the learner has its own.")
    strategy: Choice | None = Field(description="The NAS strategy; null if nothing is searched.")
    data: Literal["real", "synthetic"] = Field(description="Real files, or generated look-alikes.")
    data_fingerprint: str = Field(description="Digest of the data of all sources.")
    seed: int = Field(
        ge=0, lt=2**31, description="Seed of initial weights, meta-train episodes and random draws."
    )

    precision: Precision = Field(
        default="float32",
        description="How layers multiply: in `float32`, in `tf32`, or in `bf16`. It is left out "
        "where it is float32.",
    )

    weights: GivenWeights | None = Field(
        default=None,
        description="The weights that the run tests, where it does not train. `training` then says "
        "how they were trained, and `protocol` how they are tested. Absent where a run trains.",
    )

    start: FileParam | None = Field(
        default=None,
        description="The file of weights that training starts from, by name and checksum; its path "
        "is in `provenance.files`. Absent where initial weights are drawn.",
    )

    @model_serializer(mode="wrap")
    def _without_what_was_always_so(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older records do not have, where it is as it was for them."""
        found: dict[str, Any] = values(self)
        if self.precision == "float32":
            found.pop("precision", None)
        if self.metric_version == 1:
            found.pop("metric_version", None)
        for name in ("weights", "start"):
            if getattr(self, name) is None:
                found.pop(name, None)
        return found

    @property
    def has_weights(self) -> bool:
        """Whether the run tests weights that were trained or given."""
        return self.training.meta_steps > 0 or self.weights is not None

    def without_seed(self) -> dict[str, Any]:
        """What all runs of a configuration have in common, as JSON has it."""
        found = self.model_dump(mode="json", exclude={"seed"})
        if self.weights is not None and self.weights.training:
            del found["weights"]["digest"]  # each seed has weights of its own
        return found

    @property
    def files(self) -> dict[str, str]:
        """Paths of the files among all parameters, by SHA-256."""
        found = {sha256: path for own in self._choices() for sha256, path in own.files.items()}
        return found if self.start is None else {**found, self.start.sha256: self.start.given}

    def with_files(self, files: Mapping[str, str]) -> RunSpec:
        """The same run, whose files lie at these paths.

        Args:
            files: paths by SHA-256.
        """
        update = {"files": dict(files)}
        placed = {
            scope: choice and choice.model_copy(update=update)
            for scope, choice in (
                ("learner", self.learner),
                ("space", self.space),
                ("strategy", self.strategy),
            )
        }
        sources = tuple(source.model_copy(update=update) for source in self.sources)
        start = self.start and replace(self.start, given=files.get(self.start.sha256, ""))
        return self.model_copy(update={**placed, "sources": sources, "start": start})

    def _choices(self) -> list[Choice]:
        parts = (self.learner, self.space, self.strategy, *self.sources)
        return [choice for choice in parts if choice is not None]

    @property
    def run_id(self) -> str:
        """Digest of the canonical JSON of this value, 16 hex digits."""
        return digest(self.model_dump(mode="json"))

    @property
    def config_id(self) -> str:
        """Digest of this value without the seed: all runs of a configuration have the same."""
        return digest(self.without_seed())
