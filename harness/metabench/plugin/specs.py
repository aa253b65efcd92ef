"""Descriptions of plugins: what a hook returns. Cheap to build, free of torch.

A ``factory`` and a ``params`` model may be given as ``"module:attr"``, which is imported on first
use, so that listing plugins imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from metabench.errors import PluginError
from metabench.plugin.contracts.episode import EpisodeShape, TaskKind, TaskShape

if TYPE_CHECKING:
    from pydantic import BaseModel

    from metabench.plugin.contracts import (
        ClassData,
        FunctionFamily,
        Learner,
        LearnerContext,
        SearchSpace,
        Strategy,
    )

API_VERSION = 1
"""Raised when a contract changes so that older plugins would break."""


def resolve(target: Any) -> Any:
    """Import ``"module:attr"``; hand anything else back as it is.

    >>> resolve("math:tau") > 6
    True
    """
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"Cannot import {target!r}: {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What every plugin description has.

    Attributes:
        name: the name on the command line.
        version: raised when the same inputs may give other numbers.
        summary: one line.
        params: a frozen pydantic model, or ``"module:attr"`` of one: defaults, bounds, help.
        reference: the paper, short.
    """

    name: str
    version: int
    summary: str
    params: type[BaseModel] | str
    reference: str = ""

    def params_model(self) -> type[BaseModel]:
        """The parameter model itself."""
        model: type[BaseModel] = resolve(self.params)
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec(Spec):
    """A meta-learner.

    Attributes:
        factory: makes a learner from a :class:`~metabench.plugin.contracts.LearnerContext`.
        kinds: task kinds it can serve.
        searches: whether it needs a strategy (an architecture that is searched).
        search_params: the parameters on a searched network, for a learner that takes a fixed or a
            searched one: a model with those of ``params`` and more.
        one_task: whether it learns one task throughout, pooling the examples of all episodes; then
            only data that is one task (``ClassData.supervised``) can serve it.
        makes_logits: whether it makes the logits itself, so that a strategy must read them.
        needs_space: whether it uses the suite's network at all.
        transductive: whether its predictions use the statistics of the query set when the protocol
            and the network do; False for a learner that never does.
        train_shape: from parameters and the protocol's meta-train shape to the shape it trains on.
        preset: parameters that this name fixes (an ablation is a name with a preset).
    """

    factory: Callable[[LearnerContext], Learner] | str
    kinds: tuple[TaskKind, ...] = ("classification", "regression")
    searches: bool = False
    search_params: type[BaseModel] | str | None = None
    one_task: bool = False
    makes_logits: bool = False
    needs_space: bool = True
    transductive: bool = True
    train_shape: Callable[[Any, EpisodeShape], EpisodeShape] | str | None = None
    preset: Mapping[str, Any] = field(default_factory=dict)

    def params_model(self, *, searched: bool = False) -> type[BaseModel]:
        """The parameter model on a fixed, or on a searched network."""
        model: type[BaseModel] = resolve((searched and self.search_params) or self.params)
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """A source of episodes.

    Attributes:
        kind: ``classes`` (images sorted by class) or ``functions`` (generated regression tasks).
        factory: makes a ``ClassData`` or a ``FunctionFamily`` from the validated parameters.
            Raises ``DataError`` when the data is not there.
        synthetic: makes a generated look-alike from the same parameters, for ``--data synthetic``;
            None where the data is generated anyway.
        archive: ``"module:attr"`` of the dataset's :class:`metabench.data.Archive` (how its files
            are fetched, imported and packed); None where there are no files.
        state: tells ``metabench doctor`` in a line whether the optional package that the dataset
            needs is missing, works or is broken; None where it needs none.
        licence: short name of the data's licence.
        citation: what to cite.
    """

    kind: Literal["classes", "functions"]
    factory: Callable[[Any], ClassData | FunctionFamily] | str
    synthetic: Callable[[Any], ClassData] | str | None = None
    archive: str | None = None
    state: Callable[[], str] | str | None = None
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpaceSpec(Spec):
    """A network, fixed or with choices.

    Attributes:
        factory: makes a search space from its validated parameters and a ``TaskShape``.
        kinds: task kinds it can serve.
        searched: whether it has choices.
    """

    factory: Callable[[Any, TaskShape], SearchSpace] | str
    kinds: tuple[TaskKind, ...] = ("classification",)
    searched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NasStrategySpec(Spec):
    """A way from architecture logits to an architecture.

    Attributes:
        factory: makes a strategy from its validated parameters.
        reads_logits: whether the architecture follows from the logits; False for a baseline that
            draws it or is given it.
    """

    factory: Callable[[Any], Strategy] | str
    reads_logits: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(Spec):
    """A way to make runs.

    Attributes:
        factory: makes an :class:`~metabench.running.executors.Executor` from validated parameters.
    """

    factory: Callable[[Any], Any] | str


EventKind = Literal["run-started", "phase-started", "progress", "message", "run-done", "run-failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """Something that happened to a run, for progress bars and trackers.

    Attributes:
        kind: what happened.
        run_id: which run.
        label: the run in words, ``maml seed 0``.
        phase: ``meta-train``, ``meta-val``, ``meta-test`` or the name of an evaluation.
        done: steps or episodes finished in this phase.
        total: steps or episodes of this phase.
        values: scalars to show, such as the loss.
        text: a sentence for ``message``, ``run-done`` and ``run-failed``.
    """

    kind: EventKind
    run_id: str
    label: str
    phase: str = ""
    done: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
