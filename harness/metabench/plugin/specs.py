"""Descriptions of what plugins provide; hooks return them. They are cheap and need no torch.

A ``factory`` and a ``params`` model may be given as ``"module:attr"``, which is imported on first
use, so that listing plugins imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal

from metabench.errors import PluginError
from metabench.plugin.contracts.episode import EpisodeShape, TaskKind, TaskShape
from metabench.plugin.contracts.metric import Better, MetricFacts, Score
from metabench.plugin.contracts.tracker import RunFacts, RunScore
from metabench.plugin.params import strict
from metabench.plugin.source_deviation import SourceDeviation

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from metabench.plugin.contracts.conditions import TrainingConditions
    from metabench.plugin.contracts.data import ClassData, FunctionFamily
    from metabench.plugin.contracts.learner import Learner, LearnerContext
    from metabench.plugin.contracts.phase import Phase
    from metabench.plugin.contracts.space import SearchSpace
    from metabench.plugin.contracts.strategy import Strategy
    from metabench.plugin.contracts.tracker import Tracker

API_VERSION = 1
"""It rises when a contract changes so that older plugins would break."""


def resolve(target: Any) -> Any:
    """Import ``"module:attr"``; return anything else unchanged.

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
    """The fields that all descriptions have.

    Attributes:
        name: its name on the command line.
        version: a number that rises when the same inputs may give other numbers.
        summary: one line that describes it.
        params: its parameters: a frozen pydantic model with defaults, bounds and descriptions, or
            the ``"module:attr"`` of one.
        reference: the paper, in short form.
        title: its name as papers print it, such as ``Meta-SGD``; the name if empty.
    """

    name: str
    version: int
    summary: str
    params: type[BaseModel] | str
    reference: str = ""
    title: str = ""

    def params_model(self) -> type[BaseModel]:
        """The model of the parameters.

        Raises:
            PluginError: when it is no frozen model that forbids unknown names.
        """
        return strict(resolve(self.params), owner=self.name)


TEST_FACTS = (
    "protocol.shots",
    "protocol.queries",
    "protocol.steps_at_test",
    "protocol.curve_steps",
    "protocol.normalization",
)
"""Facts of the protocol on which few learners let their meta-training depend. A learner reads them
from its context: ``shape.shots``, ``shape.queries``, ``steps_at_test``, ``curve_steps`` and
``transductive``. The shots and queries of meta-training are others: those of its batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec(Spec):
    """A meta-learner.

    Attributes:
        factory: builds the learner from a :class:`~metabench.LearnerContext`.
        kinds: the kinds of task that it can learn.
        searches: whether it always searches, and so needs a searched network and a strategy.
        search_params: its parameters on a searched network, if it takes fixed and searched ones: a
            model with the parameters of ``params`` and further ones. None if it does not.
        one_task: whether it learns a single task from the examples of all episodes. It then needs
            data that is a single task (``ClassData.supervised``).
        makes_logits: whether it computes the architecture logits itself. It then needs a strategy
            that reads logits.
        adds_loss_terms: whether it adds the term of a :class:`~metabench.RegularizedStrategy` to
            its losses; without that such a strategy is refused.
        needs_space: whether it trains the network of the suite; False if it has its own network.
        needs_hidden_layers: whether it adds weights to the hidden layers of the network. It then
            needs a :class:`~metabench.LayeredSpace` that has some.
        takes_state: whether it trains a :class:`~metabench.StatefulSpace` as one, with its
            training pass and its state. One that does not is refused such a network.
        splits_tasks: whether several processes can share the tasks of its meta-steps: it runs those
            of ``context.ranks.own``, and descends what ``context.ranks.summed`` returns. One that
            does not is refused by ``metabench run --ranks``.
        transductive: whether its predictions use the statistics of the query set when the protocol
            and the network do; False if they never do.
        train_shape: maps its parameters and the protocol's meta-train shape to the shape of the
            episodes that it trains on. None if it trains on the protocol's shape.
        phases: maps its parameters and the shape of its training episodes to a sequence of
            :class:`~metabench.Phase`. None for a learner whose meta-training has a single one.
        trains: whether it meta-trains; one that does not is planned without meta-steps.
        steps_at_test: from parameters to the inner steps that the learner takes at meta-test, 0
            without an inner loop; None for a learner that takes as many as the protocol says.
        conditions: from parameters to the learner's :class:`~metabench.TrainingConditions`; None
            for a learner that states none.
        networks: by kind of task, the network and strategy that it trains where a suite names none
            for it, such as ``{"classification": "tnas:darts"}``. Without one it trains the network
            of the suite.
        preset: parameters that this name fixes; an ablation is a name with a preset.
        deviations: what it does otherwise than its source. Papers' tables and claims name them.
        suite_defaults: values that it brings for suites of others: a mapping by suite, in the form
            of a suite file, or the YAML file of one. A suite's own values for it win.
        predictions: names of all further predictions that its adaptation may return
            (:attr:`metabench.Adapted.variants`). Claims and papers' tables may name them.
        test_only: on what its meta-training does not depend, so that one training serves all
            values of it: names of its parameters, and of :data:`TEST_FACTS`.
    """

    factory: Callable[[LearnerContext], Learner] | str
    kinds: tuple[TaskKind, ...] = ("classification", "regression")
    searches: bool = False
    search_params: type[BaseModel] | str | None = None
    one_task: bool = False
    makes_logits: bool = False
    adds_loss_terms: bool = False
    needs_space: bool = True
    needs_hidden_layers: bool = False
    takes_state: bool = False
    splits_tasks: bool = False
    trains: bool = True
    transductive: bool = True
    train_shape: Callable[[Any, EpisodeShape], EpisodeShape] | str | None = None
    phases: Callable[[Any, EpisodeShape], Sequence[Phase]] | str | None = None
    steps_at_test: Callable[[Any], int] | str | None = None
    conditions: Callable[[Any], TrainingConditions] | str | None = None
    networks: Mapping[TaskKind, str] = field(default_factory=dict)
    preset: Mapping[str, Any] = field(default_factory=dict)
    deviations: tuple[SourceDeviation, ...] = ()
    suite_defaults: Mapping[str, Any] | Traversable | None = None
    predictions: tuple[str, ...] = ()
    test_only: tuple[str, ...] = ()

    def params_model(self, *, searched: bool = False) -> type[BaseModel]:
        """The model of the parameters on a fixed network, or on a searched one."""
        return strict(resolve((searched and self.search_params) or self.params), owner=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset, from which the sources of suites are made.

    Attributes:
        kind: ``classes`` (images or vectors sorted by class) or ``functions`` (generated
            regression tasks).
        factory: builds a ``ClassData`` or a ``FunctionFamily`` from the validated parameters.
            Raises ``DataError`` if the data is missing.
        synthetic: builds a generated look-alike from the same parameters, for
            ``--data synthetic``; None if there is none, or if the data is generated anyway.
        archive: ``"module:attr"`` of the dataset's :class:`metabench.data.Archive`, which says how
            its files are fetched, imported and packed; None if there are no such files.
        state: returns a line for ``metabench doctor`` that says whether the optional package of
            the dataset is missing, works or is broken; None if it needs no package.
        licence: short name of the license of the data.
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
    """A network, fixed or searched.

    Attributes:
        factory: builds the network from its validated parameters and a ``TaskShape``.
        kinds: the kinds of task that it can be trained on.
        searched: whether it is a search space, i.e. whether it has choices.
        regularization: from parameters to what it does against overfitting in meta-training, in
            words, such as ``network dropout 0.1``; "" for nothing. It joins the regularization
            that the learner states. None for a network that does nothing.
        suite_defaults: values that it brings for suites of others: a mapping by suite, in the form
            of a suite file, or the YAML file of one. A suite's own values for it win.
    """

    factory: Callable[[Any, TaskShape], SearchSpace] | str
    kinds: tuple[TaskKind, ...] = ("classification",)
    searched: bool = False
    regularization: Callable[[Any], str] | str | None = None
    suite_defaults: Mapping[str, Any] | Traversable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NasStrategySpec(Spec):
    """A NAS strategy: how an architecture is chosen.

    Attributes:
        factory: builds the strategy from its validated parameters.
        reads_logits: whether the architecture follows from logits; False for a baseline that draws
            the architecture or is given it.
        suite_defaults: values that it brings for suites of others: a mapping by suite, in the form
            of a suite file, or the YAML file of one. A suite's own values for it win.
    """

    factory: Callable[[Any], Strategy] | str
    reads_logits: bool = True
    suite_defaults: Mapping[str, Any] | Traversable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Spec):
    """A metric: how the predictions for a query set are scored.

    A metric has no parameters, so its name says everything, and equal names can be compared.

    Attributes:
        function: from outputs ``[tasks, q, outputs]`` and ``y`` to scores ``[tasks]``. Outputs of
            classification are logits, whose softmax is the predicted probabilities.
        kinds: the kinds of task that it scores.
        better: whether ``larger`` or ``smaller`` scores are better.
        percent: whether scores, which are then shares in [0, 1], are printed in percent.
        title: what it is called in a sentence, such as ``mean squared error``.
        range: the least and the largest score; None where there is no bound.
    """

    function: Score | str
    kinds: tuple[TaskKind, ...]
    better: Better
    title: str
    percent: bool = False
    range: tuple[float | None, float | None] = (None, None)
    params: type[BaseModel] | str = "metabench.values:Frozen"

    @property
    def described(self) -> dict[str, Any]:
        """What lists and pages say of it, in words."""
        bounds = zip(("from", "to"), self.range, strict=True)
        ends = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        return {
            "better": self.better,
            "printed in": self.facts.unit,
            "range": " ".join(ends) or "unbounded",
        }

    @property
    def facts(self) -> MetricFacts:
        """What readers of its scores must know."""
        return MetricFacts(
            name=self.name,
            version=self.version,
            title=self.title,
            better=self.better,
            percent=self.percent,
            kinds=self.kinds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(Spec):
    """An executor: how the runs of a command are executed.

    A user sets its parameters by ``--set executor.NAME=VALUE``, and the parameter ``jobs``, the
    number of runs at a time, by ``--jobs``.

    Attributes:
        factory: builds an :class:`~metabench.Executor` from validated parameters.
        remote: whether runs may be made on other machines. What they need of a machine
            (``--device``, ``--precision``, ``--engine``, ``--threads``) is then checked where a run
            is made, and not where the command is given.
    """

    factory: Callable[[Any], Any] | str
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSpec(Spec):
    """A tracker: a service or a kind of files that runs are passed on to while they are made.

    A user names it by ``--tracker`` and sets its parameters by ``--set tracker[NAME].PARAM=VALUE``.
    They are no part of the identity of a run, and no record holds them. A secret, such as a
    password, is read from the environment all the same: commands are kept in histories.

    Attributes:
        factory: builds a :class:`~metabench.Tracker` from its validated parameters and the results
            folder, once for a command and before any run begins. Raises ``UsageError`` if a package
            is missing.
        trial: parameters with which it sends nothing to another machine; the conformance kit tries
            it with them.
    """

    factory: Callable[[Any, Path], Tracker] | str
    trial: Mapping[str, Any] = field(default_factory=dict)


EventKind = Literal["run-started", "phase-started", "progress", "message", "run-done", "run-failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of a run.

    Attributes:
        kind: what happened. ``run-started``: a run begins or goes on; one that is done already has
            ``run-done`` alone. ``phase-started``: meta-training, the meta-test or an evaluation
            begins or goes on. ``progress``: more of it is done; in meta-training at fixed
            meta-steps. ``message``: something that a user should know.
        run_id: the id of the run.
        label: the run in words, such as ``maml 5w1s seed 0``.
        phase: ``meta-train``, ``meta-val``, ``meta-test`` or the name of an evaluation.
        done: how many steps or episodes of this phase are finished; in meta-val, how many steps of
            meta-training.
        total: how many there are in all.
        values: scalars, such as the loss: means over the steps since the event before, and how
            many of these were ``skipped``; in meta-val, the score.
        skipped: in ``progress`` of meta-training, the skipped steps so far; None if none can be.
        text: a sentence for ``message``, ``run-done`` and ``run-failed``; in ``phase-started``, the
            name of the phase of meta-training, of a learner with several.
        run: parameters, stamps, folder and more, in ``run-started`` and ``run-done``.
        scores: in ``run-done``, the means over the meta-test episodes with their half-widths.
    """

    kind: EventKind
    run_id: str
    label: str
    phase: str = ""
    done: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    skipped: int | None = None
    text: str = ""
    run: RunFacts | None = None
    scores: tuple[RunScore, ...] = ()
