"""From a run's value to live objects: sources on a device, the network, the learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from metabench.errors import DataError, UsageError
from metabench.planning.runspec import Choice, EpisodeProtocol, RunSpec, SourceChoice
from metabench.planning.source_data import fingerprint_of, load_data, open_source
from metabench.plugin.contracts import (
    ClassData,
    FunctionFamily,
    Learner,
    LearnerContext,
    SearchSpace,
    Strategy,
)
from metabench.plugin.contracts.episode import EpisodeShape, TaskShape
from metabench.plugin.specs import Spec, resolve
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Built:
    """A run, ready to go."""

    learner: Learner
    task: TaskShape
    space: SearchSpace | None
    train: EpisodeSampler
    validate: EpisodeSampler | None
    test: EpisodeSampler
    transductive: bool
    n_params: int | None
    data: dict[str, dict[str, str]]


def build(spec: RunSpec, catalog: Catalog, *, device: torch.device) -> Built:
    """Make everything that a run needs.

    Raises:
        DataError: when the data is missing or is not the data that was planned with.
        UsageError: when the sources of the suite do not fit one network.
    """
    learner_spec = catalog.learner(spec.learner.name)
    model = learner_spec.params_model(searched=spec.strategy is not None)
    params = model.model_validate(spec.learner.params)
    loaded = [load_data(choice, catalog, data=spec.data) for choice in spec.sources]
    if fingerprint_of(loaded) != spec.data_fingerprint:
        raise DataError(
            "The data has changed since this run was planned.", hint="Run the command again."
        )
    sources = [
        open_source(choice.source, data, device=device)
        for choice, data in zip(spec.sources, loaded, strict=True)
    ]
    tasks = {source.task(spec.protocol.ways) for source in sources}
    if len(tasks) != 1:
        raise UsageError(f"The sources of suite {spec.suite} have different shapes: {tasks}.")
    (task,) = tasks
    shape = test_shape(spec.protocol)
    train = train_shape(spec.protocol)
    if learner_spec.train_shape is not None:
        train = resolve(learner_spec.train_shape)(params, train)

    def sampler(split: str, *, seed: int, shape: EpisodeShape) -> EpisodeSampler:
        balanced = split != "meta-train"
        return EpisodeSampler(
            sources, suite=spec.suite, split=split, seed=seed, shape=shape, balanced=balanced
        )

    space = build_space(spec.space, task, catalog) if spec.space else None
    transductive = spec.protocol.normalization == "transductive"
    learner: Learner = resolve(learner_spec.factory)(
        LearnerContext(
            params=params,
            task=task,
            shape=shape,
            space=space,
            strategy=build_strategy(spec.strategy, catalog) if spec.strategy else None,
            steps_at_test=spec.protocol.steps_at_test,
            curve_steps=spec.protocol.curve_steps,
            transductive=transductive,
            meta_steps=spec.training.meta_steps,
            device=device,
            rng=generator(spec.seed, "init"),
        )
    )
    selects = spec.protocol.selection == "meta-val"
    episode_seed = spec.protocol.episode_seed
    return Built(
        learner=learner,
        task=task,
        space=space,
        train=sampler("meta-train", seed=spec.seed, shape=train),
        validate=sampler("meta-val", seed=episode_seed, shape=shape) if selects else None,
        test=sampler("meta-test", seed=episode_seed, shape=shape),
        transductive=transductive and learner_spec.transductive and uses_batch_statistics(space),
        data={
            choice.source: _describe_data(choice, data, catalog)
            for choice, data in zip(spec.sources, loaded, strict=True)
        },
        n_params=count_weights(space) if space and not space.choices() else None,
    )


def test_shape(protocol: EpisodeProtocol) -> EpisodeShape:
    """Examples of a meta-test episode."""
    return EpisodeShape(protocol.ways, protocol.shots, protocol.queries)


def train_shape(protocol: EpisodeProtocol) -> EpisodeShape:
    """Examples of a meta-train episode."""
    return EpisodeShape(
        protocol.ways,
        protocol.train_shots or protocol.shots,
        protocol.train_queries or protocol.queries,
    )


def build_space(choice: Choice, task: TaskShape, catalog: Catalog) -> SearchSpace:
    """Make the network of a choice."""
    spec = catalog.space(choice.name)
    space: SearchSpace = resolve(spec.factory)(_params(spec, choice), task)
    return space


def _describe_data(
    choice: SourceChoice, data: ClassData | FunctionFamily, catalog: Catalog
) -> dict[str, str]:
    """What a record says about the data of one source, beside the parameters in its spec."""
    spec = catalog.dataset(choice.name)
    return {"dataset": str(choice), "fingerprint": data.fingerprint, "licence": spec.licence}


def describe_space(choice: Choice | None, catalog: Catalog) -> str:
    """A network in words: its name, and the parameters that are not the defaults."""
    if choice is None:
        return "own network"
    fields = catalog.space(choice.name).params_model().model_fields
    changed = {k: v for k, v in choice.params.items() if v != fields[k].default}
    return str(choice.model_copy(update={"params": changed}))


def count_weights(space: SearchSpace) -> int:
    """Number of weights of a fixed network."""
    weights = space.init_weights(rng=generator("count"))
    return sum(weight.numel() for weight in weights.values())


def uses_batch_statistics(space: SearchSpace | None) -> bool:
    """Whether a network normalises with the examples it is given; assumed where it is unknown."""
    return space is None or space.batch_statistics


def build_strategy(choice: Choice, catalog: Catalog) -> Strategy:
    """Make the strategy of a choice."""
    spec = catalog.strategy(choice.name)
    strategy: Strategy = resolve(spec.factory)(_params(spec, choice))
    return strategy


def _params(spec: Spec, choice: Choice) -> Any:
    return spec.params_model().model_validate(choice.params)
