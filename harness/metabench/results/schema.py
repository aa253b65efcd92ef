"""What is written of a run: one ``run.json`` and one line per meta-test episode.

Only raw scores are stored; every number in a table is derived from them (``report``).
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from metabench.errors import UsageError
from metabench.planning.evaluation import Evaluation, EvaluationName
from metabench.planning.overrides import Changes, parse_changes
from metabench.planning.runspec import RunSpec
from metabench.planning.tuned import Tuned
from metabench.plugin.contracts.conditions import TrainingConditions
from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.metrics import FORMER
from metabench.values import Count, Name

SCHEMA = 1
"""Raised when a reader of older records would misread newer ones."""

Normalization = Literal["transductive", "inductive", "running"]
Status = Literal["running", "interrupted", "failed", "trained", "done"]


def _engines(recorded: Any) -> Any:
    """Names of engines; older records have one text.

    >>> _engines("eager, then compiled"), _engines("")
    (('eager', 'compiled'), ())
    """
    if not isinstance(recorded, str):
        return recorded
    return tuple(recorded.split(", then ")) if recorded else ()


Engines = Annotated[tuple[str, ...], BeforeValidator(_engines)]


class Provenance(BaseModel):
    """Where and with what a run was made. Recorded; not part of the run's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    command: str = Field(description="The command that repeats this run.")
    changes: dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="What the `--set` options of the command say: values by scope and name. "
        "Absent in older records.",
    )
    files: dict[str, str] | None = Field(
        default=None,
        description="Paths of the files that parameters name, as they were given, by the SHA-256 "
        "in the identity; and where data lies, by source and parameter. Null where there are none.",
    )
    plan: str = Field(
        default="",
        description="Digest of the plan file that asked for the run. Empty for a command, and in "
        "older records.",
    )
    tuned: Tuned | None = Field(
        default=None,
        description="How `metabench tune` chose the values of the run. Null where it did not.",
    )
    trial: int | None = Field(
        default=None,
        ge=1,
        description="Number of the trial of a tuning that the run is. Null for other runs.",
    )
    started: str = Field(description="UTC time of the first start, ISO 8601.")
    device: str = Field(description="Device and its name.")
    engine: Engines = Field(
        default=(),
        description="What made the meta-steps: `eager`, `compiled` or `captured`; one after the "
        "other where a run went on with another one. Empty in older records, which are eager.",
    )
    test_engine: Engines = Field(
        default=(),
        description="What adapted to the meta-test episodes, likewise.",
    )
    ranks: tuple[str, ...] = Field(
        default=(),
        description="How many processes shared the meta-steps, and through what their sums passed, "
        "such as `2 gloo` or `4 nccl`; one after the other where a run went on with others, and "
        "then `1` for a single process. Empty where there was no other.",
    )
    threads: Count = Field(description="CPU threads per process.")
    python: str = Field(description="Python version.")
    platform: str = Field(description="Operating system and processor.")
    packages: dict[str, str] = Field(description="Versions of the packages that compute.")
    git: str = Field(description="Revision of the metabench checkout; empty outside one.")
    code: dict[str, str] = Field(
        default_factory=dict,
        description="Package, version and digest of the code of what the run used: of the harness, "
        "and by kind and name of each plugin object. Empty in older records.",
    )
    peak_memory_mib: float | None = Field(
        default=None,
        description="Peak memory of the process (on CUDA: of its tensors) in MiB, over all starts "
        "and including other runs of the process.",
    )

    @property
    def device_id(self) -> str:
        """The device as ``--device`` takes it: ``cuda:1``."""
        return self.device.partition(" ")[0]

    @property
    def device_kind(self) -> str:
        """The device with its name and without its number: ``cuda (NVIDIA H100)``.

        Which of several equal GPUs made a run does not matter.
        """
        return self.device.replace(self.device_id, self.device_id.partition(":")[0], 1)

    def user_changes(self) -> Changes:
        """:attr:`changes`; of an older record, what its command says.

        A command that was edited by hand and cannot be read any more changes nothing.
        """
        if self.changes is not None:
            return self.changes
        try:
            words = shlex.split(self.command)
            return parse_changes(b for a, b in pairwise(words) if a == "--set")
        except (ValueError, UsageError):
            return {}


class PhaseRecord(BaseModel):
    """A phase of meta-training: how long it was, and what it drew in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the phase.")
    meta_steps: Count = Field(description="Its outer updates.")
    ways: Count = Field(description="Classes per episode.")
    shots: Count = Field(description="Support examples per class of an episode.")
    queries: Count = Field(description="Query examples per class of an episode.")
    tasks: Count = Field(description="Episodes per outer update.")
    examples: Count = Field(description="Labelled examples of meta-train classes per outer update.")

    def __str__(self) -> str:
        """The phase in words, ``pre-train 1,000 x 64 labelled examples``."""
        drawn = [f"{self.tasks:,}"] if self.tasks else []
        drawn += [f"{self.examples:,} labelled examples"] if self.examples else []
        return f"{self.name} {self.meta_steps:,} x {' + '.join(drawn)}"


class RunRecord(BaseModel):
    """The readable record of one run: learner x suite x setting x seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_number: int = Field(default=SCHEMA, description="Version of this format.")
    run_id: str = Field(description="Digest of `spec`.")
    spec: RunSpec = Field(description="Everything that determines the numbers of this run.")
    status: Status = Field(
        description="Only a `done` run is counted in tables; a `trained` one is not tested yet."
    )
    error: str = Field(
        default="", description="Why a failed run failed, in a sentence, or what interrupted it."
    )
    stamps: tuple[str, ...] = Field(
        default=(),
        description="How the run differs from the full benchmark: smoke, synthetic, subset, ...",
    )
    backend: str = Field(default="", description="The network in words, e.g. `conv4(filters=64)`.")
    n_params: Count | None = Field(
        default=None, description="Weights of the network that predicts."
    )
    steps_at_test: Count | None = Field(
        default=None,
        description="Inner steps that the learner takes at meta-test, which need not be the "
        "protocol's. Absent in older records.",
    )
    train_ways: Count | None = Field(
        default=None,
        description="Classes per episode in meta-training. Absent in older records.",
    )
    train_shots: Count | None = Field(
        default=None,
        description="Support examples per class in meta-training. Absent in older records.",
    )
    train_queries: Count | None = Field(
        default=None,
        description="Query examples per class in meta-training. Absent in older records.",
    )
    train_classes: Count | None = Field(
        default=None,
        description="Classes of meta-training, over all sources; 0 in regression. Absent in older "
        "records.",
    )
    conditions: TrainingConditions | None = Field(
        default=None,
        description="What the learner states about its training. Absent in older records.",
    )
    phases: tuple[PhaseRecord, ...] = Field(
        default=(),
        description="The phases of meta-training, of a learner that has several kinds of batches.",
    )
    transductive: bool = Field(
        default=False, description="Whether predictions use the statistics of the query set."
    )
    normalization: Normalization | None = Field(
        default=None,
        description="Whose statistics normalize queries at meta-test. `transductive`: those of the "
        "query set; `inductive`: those of the support set, or none; `running`: averages from "
        "meta-training. Absent in older records, which have `transductive` alone.",
    )
    data: dict[str, Any] = Field(
        default_factory=dict,
        description="Per source: dataset, resolved choices, fingerprint, licence.",
    )
    selected_step: Count | None = Field(
        default=None, description="The meta-step whose weights were tested."
    )
    val_score: float | None = Field(
        default=None,
        description="The metric on meta-validation of these weights, in the unit of episodes. Null "
        "where the last weights are tested, and in older records.",
    )
    skipped_steps: Count | None = Field(
        default=None,
        description="Meta-steps that the learner skipped because of a runaway gradient. Null where "
        "the learner never skips, and in older records.",
    )
    training_id: str = Field(
        default="",
        description="Digest of what decides the trained weights: `spec` without what concerns the "
        "test alone. Runs with the same have one training. Empty in older records.",
    )
    training_from: str = Field(
        default="",
        description="The run whose training this one took. Empty where it trained itself.",
    )
    train_seconds: float | None = Field(
        default=None,
        description="Wall time of meta-training; of the run in `training_from`, if there is one.",
    )
    measures: dict[str, float] = Field(
        default_factory=dict,
        description="Numbers about the search, computed from `genotypes.jsonl` and "
        "`embeddings.jsonl`: see [measures](claims.md#measures).",
    )
    evaluations: dict[EvaluationName, Evaluation] = Field(
        default_factory=dict,
        description="The definition of each `evaluations/NAME.jsonl`, by name; not part of the "
        "identity.",
    )
    metrics: dict[Name, MetricFacts] = Field(
        default_factory=dict,
        description="How the scores of each metric are printed and compared, by name: the "
        "headline's, and further ones, which are not part of the identity. Absent in older "
        "records.",
    )
    digests: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of each file that numbers are made from, by its path in the folder, "
        "when the run had written it. A file with another SHA-256 was changed since. Empty in "
        "older records, and while the run goes on.",
    )
    provenance: Provenance = Field(description="How the run was made.")

    @model_validator(mode="after")
    def _describes_its_metric(self) -> RunRecord:
        if self.spec.metric not in {**FORMER, **self.metrics}:
            raise ValueError(f"metrics does not describe {self.spec.metric}")
        return self

    @property
    def query_statistics(self) -> Normalization:
        """Whose statistics normalize queries, as ``normalization`` says, in older records too."""
        return self.normalization or ("transductive" if self.transductive else "inductive")

    @property
    def metric(self) -> MetricFacts:
        """What is known of the metric of :attr:`spec`."""
        return self.metrics.get(self.spec.metric) or FORMER[self.spec.metric]

    @property
    def further_metrics(self) -> tuple[str, ...]:
        """The metrics that episodes have beside their score."""
        return tuple(name for name in self.metrics if name != self.spec.metric)


class EpisodeRecord(BaseModel):
    """One meta-test episode. No clock values: the same run twice is byte-identical."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Count = Field(description="Position in the meta-test, the same for every learner.")
    source: str = Field(description="Name of the source the episode was drawn from.")
    key: str = Field(
        description="Digest of source, classes and examples. Equal key, equal episode."
    )
    score: float = Field(
        description="The metric on the query set, of the headline; accuracy in [0, 1]."
    )
    curve: tuple[float | None, ...] | None = Field(
        default=None,
        description="The metric after 0, 1, 2, ... inner steps; null where it is not finite.",
    )
    n_params: Count | None = Field(
        default=None, description="Weights of this task's network, if tasks differ in it."
    )
    variants: dict[EvaluationName, float | None] | None = Field(
        default=None,
        description="The metric of other predictions of the same adaptation, by name.",
    )
    metrics: dict[Name, float | None] | None = Field(
        default=None,
        description="Further metrics of the headline's predictions, by name; null where one is "
        "not finite. Absent in older records.",
    )
