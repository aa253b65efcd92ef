"""Which data, learners, networks and strategies fit together; the rest is refused before a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from metabench.errors import PluginError, UsageError
from metabench.planning.networks import build_space, build_strategy, built, describe_network
from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.blame import described, guarded
from metabench.plugin.contracts.conditions import TrainingConditions
from metabench.plugin.contracts.data import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape, TaskKind, TaskShape
from metabench.plugin.contracts.phase import ONE_PHASE, Phase, first_steps
from metabench.plugin.contracts.space import LayeredSpace, SearchSpace, StatefulSpace
from metabench.plugin.contracts.strategy import RegularizedStrategy, Strategy
from metabench.plugin.specs import (
    DatasetSpec,
    LearnerSpec,
    NasStrategySpec,
    SearchSpaceSpec,
    resolve,
)
from metabench.sampling.checks import check_classes, check_functions, task_of
from metabench.sampling.seeding import generator
from metabench.values import NAME_PATTERN, NAME_RULE

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

Found = TypeVar("Found")

HELD: dict[TaskKind, str] = {"classification": "classes", "regression": "functions"}
"""What a dataset must hold for each kind of task."""


def check_source(task: TaskKind, source: str, dataset: DatasetSpec, catalog: Catalog) -> None:
    """Refuse functions in classification, and classes in regression.

    Raises:
        UsageError: with the datasets that fit.
    """
    if dataset.kind != HELD[task]:
        fitting = (spec.name for spec in catalog.datasets.values() if spec.kind == HELD[task])
        raise UsageError(
            f"Source {source} is dataset {dataset.name}, which holds {dataset.kind}; "
            f"{task} needs {HELD[task]}.",
            hint=f"Datasets of {HELD[task]}: {_list(fitting)}.",
        )


def check_data(
    spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily], catalog: Catalog
) -> None:
    """Refuse data that cannot serve the learner or the episodes of a run.

    Args:
        spec: of the run.
        loaded: the data of its sources, in their order.
        catalog: the plugins.

    Raises:
        UsageError: for episodes that are different tasks under a learner of one task, and for
            sources that no network takes together.
        DataError: for too few classes or images, or several ways in regression.
    """
    learner = catalog.learner(spec.learner.name)
    for choice, data in zip(spec.sources, loaded, strict=True):
        if learner.one_task and not getattr(data, "supervised", False):
            _refuse_many_tasks(learner, choice.source, catalog)
    check_episodes(spec, loaded, catalog)


def _refuse_many_tasks(learner: LearnerSpec, source: str, catalog: Catalog) -> NoReturn:
    others = (
        spec.name
        for spec in catalog.learners.values()
        if spec.searches == learner.searches and not spec.one_task
    )
    raise UsageError(
        f"Learner {learner.name} learns a single task, but every episode of source {source} is a "
        "new task, in which a label means another class.",
        hint="Choose a suite with supervised data, which is a single task, "
        f"or another learner: {_list(others)}.",
    )


def can_search(learner: LearnerSpec) -> bool:
    """Whether a learner takes a searched network."""
    return learner.searches or learner.search_params is not None


def check_searchable(learner: LearnerSpec, space: SearchSpaceSpec, catalog: Catalog) -> None:
    """Refuse a searched network for a learner that cannot search, and a fixed one if it must.

    Raises:
        UsageError: with the names that fit.
    """
    if space.searched and not can_search(learner):
        able = (spec.name for spec in catalog.learners.values() if can_search(spec))
        raise UsageError(
            f"Network {space.name} is a search space, but learner {learner.name} does not search.",
            hint="Choose a fixed network with --network, "
            f"or a learner that searches: {_list(able)}.",
        )
    if learner.searches and not space.searched:
        searched = _searched(space.kinds, catalog)
        raise UsageError(
            f"Learner {learner.name} searches, but network {space.name} is fixed.",
            hint=f"Choose a searched network with --network: {_list(searched)}.",
        )


def _searched(kinds: Iterable[TaskKind], catalog: Catalog) -> Iterator[str]:
    """The searched networks that serve one of these kinds of task."""
    wanted = set(kinds)
    return (s.name for s in catalog.search_spaces.values() if s.searched and wanted & {*s.kinds})


def refuse_strategy(learner: LearnerSpec, space: Choice | None, catalog: Catalog) -> NoReturn:
    """Say why a strategy does not apply.

    Raises:
        UsageError: always.
    """
    reason, hint = f"Learner {learner.name} does not search", "Leave them out."
    if space is not None and can_search(learner):
        reason = f"Network {space.name} is fixed"
        searched = _searched(catalog.space(space.name).kinds, catalog)
        hint = f"Choose a searched network with --network: {_list(searched)}."
    raise UsageError(f"{reason}, so --strategy and --set strategy... do not apply.", hint=hint)


def check_strategy(learner: LearnerSpec, strategy: NasStrategySpec, catalog: Catalog) -> None:
    """Refuse a strategy that ignores logits for a learner that computes them.

    Raises:
        UsageError: with the names that fit.
    """
    if learner.makes_logits and not strategy.reads_logits:
        reading = (s.name for s in catalog.nas_strategies.values() if s.reads_logits)
        raise UsageError(
            f"Learner {learner.name} computes architecture logits, "
            f"but strategy {strategy.name} ignores them.",
            hint=f"Choose another strategy with --strategy: {_list(reading)}.",
        )


def check_layers(spec: RunSpec, data: ClassData | FunctionFamily, catalog: Catalog) -> None:
    """Refuse a network without hidden layers for a learner that adds weights to them.

    On such a network the learner would be another one under its name: MUMOMAML would be MAML.

    Args:
        spec: of the run.
        data: of its first source.
        catalog: the plugins.

    Raises:
        UsageError: with what to choose.
    """
    if spec.space is None or not catalog.learner(spec.learner.name).needs_hidden_layers:
        return
    space = build_space(spec.space, task_of(data, spec.protocol.ways), catalog)
    layers = space.layers() if isinstance(space, LayeredSpace) else {}
    if len(layers) < 2:  # the last one is the head
        lacking = "has none" if layers else "does not list its layers"
        raise UsageError(
            f"Learner {spec.learner.name} adds weights to hidden layers, but the network "
            f"{spec.space.name} {lacking}.",
            hint="Choose a fixed network with hidden layers, such as mlp or conv4, with --network.",
        )


def check_state(spec: RunSpec, data: ClassData | FunctionFamily, catalog: Catalog) -> None:
    """Refuse a network with a state for a learner that would not train it.

    Args:
        spec: of the run.
        data: of its first source.
        catalog: the plugins.

    Raises:
        UsageError: with what to choose.
    """
    if spec.space is None or catalog.learner(spec.learner.name).takes_state:
        return
    space = build_space(spec.space, task_of(data, spec.protocol.ways), catalog)
    if isinstance(space, StatefulSpace):
        has = "has running statistics" if space.init_state() else "has parts such as dropout"
        able = (s.name for s in catalog.learners.values() if s.takes_state and spec.task in s.kinds)
        raise UsageError(
            f"Network {describe_network(spec, catalog)} {has}, which learner {spec.learner.name} "
            "does not support.",
            hint="Choose a network without, such as conv4 with its defaults, with --network, "
            f"or another learner: {_list(able)}.",
        )


def check_vectors(spec: RunSpec, data: ClassData | FunctionFamily, catalog: Catalog) -> None:
    """Let the network of a run refuse vectors that it cannot read, before anything runs.

    Args:
        spec: of the run.
        data: of its first source.
        catalog: the plugins.

    Raises:
        UsageError: with the network's reason.
    """
    task = task_of(data, spec.protocol.ways)
    if spec.space is not None and task.kind == "classification" and len(task.inputs) == 1:
        build_space(spec.space, task, catalog)


def check_architecture(spec: RunSpec, data: ClassData | FunctionFamily, catalog: Catalog) -> None:
    """Let the strategy of a run draw logits for its network, before anything runs.

    Args:
        spec: of the run.
        data: of its first source.
        catalog: the plugins.

    Raises:
        UsageError: when the strategy does not fit the network, with the strategy's reason, or
            the learner.
    """
    if spec.space is None or spec.strategy is None:
        return
    space = build_space(spec.space, task_of(data, spec.protocol.ways), catalog)
    strategy = build_strategy(spec.strategy, catalog)
    learner = catalog.learner(spec.learner.name)
    if isinstance(strategy, RegularizedStrategy) and not learner.adds_loss_terms:
        able = (s.name for s in catalog.learners.values() if can_search(s) and s.adds_loss_terms)
        raise UsageError(
            f"Strategy {spec.strategy.name} adds a term to the loss, "
            f"but learner {learner.name} does not use it.",
            hint=f"Choose another strategy with --strategy, or a learner that does: {_list(able)}.",
        )
    _check_contract(strategy, space, name=spec.strategy.name, seed=spec.seed)


def _check_contract(strategy: Strategy, space: SearchSpace, *, name: str, seed: int) -> None:
    """Refuse what a strategy draws, mixes or chooses if the network does not offer it."""
    # It needs torch, which commands that only read results do without.
    from metabench.planning.architectures import flaw_of_genotype, flaw_of_logits, flaw_of_mixture

    choices, drawn = space.choices(), partial(generator, seed, "init")

    def made(what: str, make: Callable[[], Any], flaw_of: Callable[[Any, Any], str]) -> Any:
        found = built(f"The {what} of strategy {name}", make)
        if flaw := flaw_of(found, choices):
            raise PluginError(
                f"Strategy {name} does not fit the network: {flaw}",
                hint=f"`metabench plugins check {name}` tells all that is wrong with it.",
            )
        return found

    arch = made("architecture", lambda: strategy.init_arch(space, rng=drawn()), flaw_of_logits)
    made(
        "mixture",
        lambda: strategy.mixture(space, arch, sharpness=0.0, rng=drawn()),
        flaw_of_mixture,
    )
    made("genotype", lambda: strategy.discretize(space, arch), flaw_of_genotype)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def check_episodes(
    spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily], catalog: Catalog
) -> None:
    """Refuse a run whose data cannot serve its episodes.

    Args:
        spec: of the run.
        loaded: the data of its sources, in their order.
        catalog: the plugins.

    Raises:
        DataError: for too few classes or images, or several ways in regression.
        UsageError: when no network takes all sources.
    """
    shapes = [*drawn_shapes(spec, catalog).items()]
    trains = spec.training.meta_steps and spec.weights is None
    phases = training_phases(spec, catalog) if trains else ()
    shapes += [("meta-train", phase.shape) for phase in phases if phase.shape is not None]
    for choice, data in zip(spec.sources, loaded, strict=True):
        for split, shape in shapes:
            if isinstance(data, ClassData):
                check_classes(choice.source, data, split, shape)
            else:
                check_functions(choice.source, shape)
    common_task(spec, loaded)


def common_task(spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily]) -> TaskShape:
    """What the network of a run must accept and produce.

    Raises:
        UsageError: when no network takes all sources.
    """
    tasks = {task_of(data, spec.protocol.ways) for data in loaded}
    if len(tasks) != 1:
        raise UsageError(
            f"The sources of suite {spec.suite} have different shapes: "
            f"{'; '.join(sorted(f'inputs {t.inputs}, outputs {t.outputs}' for t in tasks))}.",
            hint=_hint_on_shapes({task.inputs for task in tasks}),
        )
    return tasks.pop()


def _hint_on_shapes(inputs: Collection[tuple[int, ...]]) -> str:
    """What to do where sources differ: in size, or in what one network cannot take at all."""
    start = "One network is trained on all of them"
    images = {shape for shape in inputs if len(shape) == 3}
    if 0 < len(images) < len(inputs):
        return f"{start}, so it cannot have images and vectors. Make a suite of each."
    if len({channels for channels, _, _ in images}) > 1:
        return (
            f"{start}, so all must be gray or all in color. Dataset image-folder reads gray images "
            "in color."
        )
    return f"{start}, so give them the same size."


def learner_params(spec: RunSpec, catalog: Catalog) -> Any:
    """The parameters of a run's learner, as its own model."""
    learner = catalog.learner(spec.learner.name)
    return spec.learner.validated(learner.params_model(searched=spec.strategy is not None))


def drawn_shapes(spec: RunSpec, catalog: Catalog) -> Mapping[str, EpisodeShape]:
    """Per split that the run draws from, the shape of its episodes."""
    shapes = episode_shapes(spec, catalog)
    if catalog.learner(spec.learner.name).trains:
        return shapes
    return {"meta-test": shapes["meta-test"]}


def episode_shapes(spec: RunSpec, catalog: Catalog) -> Mapping[str, EpisodeShape]:
    """Per split, the shape of the episodes of a training, and of the test."""
    if spec.weights is not None:
        return {"meta-test": spec.protocol.test_shape()}
    learner = catalog.learner(spec.learner.name)
    train = spec.protocol.train_shape()
    if learner.train_shape is not None:
        train = _of_plugin(
            f"train_shape of learner {learner.name}",
            lambda: resolve(learner.train_shape)(learner_params(spec, catalog), train),
            EpisodeShape,
        )
        if min(train.ways, train.shots) < 1 or train.queries < 0:
            raise PluginError(
                f"train_shape of learner {learner.name} gives {train}, which has no examples.",
                hint="An episode has at least one class, and one support example of each.",
            )
    shapes = {"meta-train": train, "meta-test": spec.protocol.test_shape()}
    if spec.protocol.selection == "meta-val":
        shapes["meta-val"] = spec.protocol.val_shape()
    return shapes


def training_phases(spec: RunSpec, catalog: Catalog) -> Sequence[Phase]:
    """The phases of a run's meta-training; a single one if its learner has none of its own.

    Raises:
        PluginError: when the phases of the learner contradict each other.
        UsageError: for labelled examples of classes in regression.
    """
    learner = catalog.learner(spec.learner.name)
    if learner.phases is None:
        return ONE_PHASE
    shape = episode_shapes(spec, catalog)["meta-train"]
    try:
        phases = list(resolve(learner.phases)(learner_params(spec, catalog), shape))
        flaw = _flaw_of(phases)
    except Exception as error:
        raise PluginError(
            f"The phases of learner {learner.name} cannot be used: {described(error)}.",
            hint="`phases` maps parameters and an EpisodeShape to a list of metabench.Phase.",
        ) from error
    if flaw:
        raise PluginError(
            f"The phases of learner {learner.name} are wrong: {flaw}.",
            hint="See `Phase` in the reference of the contracts.",
        )
    starts = first_steps(phases, spec.training.meta_steps)
    for phase, first, stop in zip(phases, starts, starts[1:], strict=False):
        if first == stop and spec.training.meta_steps:
            raise UsageError(
                f"Phase {phase.name} of learner {learner.name} takes {phase.share:g} of "
                f"{spec.training.meta_steps:,} meta-steps, which is none.",
                hint="Give it a larger share, or the run more meta-steps: "
                "--set budget.meta_steps=N.",
            )
    if spec.task == "regression" and any(phase.examples for phase in phases):
        raise UsageError(
            f"Learner {learner.name} trains on labelled examples of classes, and suite "
            f"{spec.suite} is regression.",
            hint="Choose a suite of classification.",
        )
    return phases


def check_ensemble(spec: RunSpec, catalog: Catalog) -> None:
    """Refuse an ensemble of more weights than a training judges on meta-validation.

    Raises:
        UsageError: with the number of times that it does.
    """
    training = spec.training
    if training.ensemble is None or not training.meta_steps:
        return
    phases, every = training_phases(spec, catalog), training.validates_every
    starts = first_steps(phases, training.meta_steps)
    judged = sum(
        stop // every - first // every + (stop % every > 0)
        for phase, first, stop in zip(phases, starts, starts[1:], strict=False)
        if phase.selects
    )
    if judged < training.ensemble:
        raise UsageError(
            f"An ensemble of {training.ensemble} weights needs as many meta-validations, but "
            f"learner {spec.learner.name} has {judged} in {training.meta_steps:,} meta-steps.",
            hint="Use --set budget.val_every=N for more of them, or a smaller budget.ensemble.",
        )


MOST_EXAMPLES = 100_000
"""Tasks, or labelled examples, of one meta-step at most."""


def _flaw_of(phases: Sequence[Phase]) -> str:
    """What contradicts itself in phases, in words; "" if nothing does."""
    names = [phase.name for phase in phases]
    if not phases or len(set(names)) < len(names):
        return "there must be at least one, and their names must differ"
    if any(phase.share <= 0 for phase in phases) or not isclose(sum(p.share for p in phases), 1):
        return "their shares must be above 0 and add up to 1"
    for phase in phases:
        if re.fullmatch(NAME_PATTERN, phase.name) is None:
            return f"the name {phase.name!r} is not allowed; {NAME_RULE}"
        shape = phase.shape
        if not all(isinstance(n, int) for n in (phase.tasks or 0, phase.examples)):
            return f"{phase.name} has a number of tasks or examples that is not whole"
        if shape is not None and min(shape.ways, shape.shots, shape.queries) < 1:
            return f"{phase.name} has episodes without classes, support or query examples"
        if phase.examples > MOST_EXAMPLES or (phase.tasks or 0) > MOST_EXAMPLES:
            return f"{phase.name} has more than {MOST_EXAMPLES:,} tasks or examples per meta-step"
        if phase.examples < 0 or (phase.tasks is not None and phase.tasks < 0):
            return f"{phase.name} has fewer than 0 tasks or examples"
        if phase.tasks == 0 == phase.examples:
            return f"{phase.name} has neither tasks nor examples"
    return ""


def training_conditions(spec: RunSpec, catalog: Catalog) -> TrainingConditions | None:
    """What the learner of a run states about its training, and its network."""
    stated = catalog.learner(spec.learner.name).conditions
    conditions: TrainingConditions | None = None
    if stated is not None:
        conditions = _of_plugin(
            f"conditions of learner {spec.learner.name}",
            lambda: resolve(stated)(learner_params(spec, catalog)),
            TrainingConditions,
        )
    said = _regularization_of_network(spec, catalog)
    if not said:
        return conditions
    conditions = conditions or TrainingConditions()
    own = "" if conditions.regularization == NO_REGULARIZATION else conditions.regularization
    joined = ", ".join(filter(None, (own, said)))
    return conditions.model_copy(update={"regularization": joined})


NO_REGULARIZATION = "none"
"""What a learner says that has none."""


def _regularization_of_network(spec: RunSpec, catalog: Catalog) -> str:
    """What the network of a run does against overfitting, in words; "" for nothing.

    Raises:
        PluginError: when its plugin does not say it in words.
    """
    if spec.space is None:
        return ""
    network = catalog.space(spec.space.name)
    if network.regularization is None:
        return ""
    params = spec.space.validated(network.params_model())
    return _of_plugin(
        f"regularization of network {network.name}",
        lambda: resolve(network.regularization)(params),
        str,
    )


def steps_at_test(spec: RunSpec, catalog: Catalog) -> int:
    """The inner steps that the learner of a run takes at meta-test."""
    learner = catalog.learner(spec.learner.name)
    if learner.steps_at_test is None:
        return spec.protocol.steps_at_test
    said = f"steps_at_test of learner {learner.name}"
    params = learner_params(spec, catalog)
    steps = _of_plugin(said, lambda: resolve(learner.steps_at_test)(params), int)
    if steps < 0:
        raise PluginError(f"{said} gives {steps}.", hint="It is 0 without an inner loop.")
    return steps


def _of_plugin(what: str, call: Callable[[], Any], wanted: type[Found]) -> Found:
    """What a function of a description returns, if it is what it must be.

    Raises:
        PluginError: if it is something else, or the function fails.
    """
    found = guarded(f"{what} failed", call)
    if not isinstance(found, wanted) or isinstance(found, bool):
        raise PluginError(
            f"{what} returned a {type(found).__name__}; it must be a {wanted.__name__}.",
            hint="See the reference of hooks and descriptions.",
        )
    return found


def check_functions_of(spec: RunSpec, catalog: Catalog) -> None:
    """Call the functions of the descriptions that a run needs, before anything runs.

    Raises:
        PluginError: when one fails or returns something else.
    """
    steps_at_test(spec, catalog)
    training_conditions(spec, catalog)
