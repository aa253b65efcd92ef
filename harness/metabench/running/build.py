"""From the description of a run to its sources, network and learner on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from metabench.errors import DataError
from metabench.planning.compatibility import (
    common_task,
    drawn_shapes,
    episode_shapes,
    steps_at_test,
    training_conditions,
    training_phases,
)
from metabench.planning.learners import build_learner, train_classes
from metabench.planning.networks import (
    build_space,
    count_weights,
    uses_batch_statistics,
    uses_running_statistics,
)
from metabench.planning.runspec import RunSpec, SourceChoice
from metabench.planning.source_data import fingerprint_of, load_data
from metabench.plugin.contracts.conditions import TrainingConditions
from metabench.plugin.contracts.data import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape, TaskShape
from metabench.plugin.contracts.learner import Learner
from metabench.plugin.contracts.phase import first_steps
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.specs import LearnerSpec
from metabench.results.schema import Normalization
from metabench.running.network_check import check_network
from metabench.running.scoring import Scoring, scoring_of
from metabench.running.training_phases import TrainingPhase
from metabench.sampling.labelled import LabelledSampler
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import ClassSource, FunctionSource, open_source

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Built:
    """A run, ready to go.

    ``validate`` draws what meta-training validates on, None where it does not; ``meta_val`` opens
    the same episodes of any run whose data has them.
    """

    learner: Learner
    task: TaskShape
    space: SearchSpace | None
    phases: tuple[TrainingPhase, ...]
    validate: EpisodeSampler | None
    meta_val: Callable[[], EpisodeSampler]
    test: EpisodeSampler
    normalization: Normalization
    n_params: int | None
    steps_at_test: int
    train_shape: EpisodeShape
    train_classes: int
    conditions: TrainingConditions | None
    data: dict[str, dict[str, str]]
    scoring: Scoring

    @property
    def train(self) -> EpisodeSampler:
        """The episodes of the first phase of meta-training."""
        return self.phases[0].episodes


def build(
    spec: RunSpec,
    catalog: Catalog,
    *,
    device: torch.device,
    metrics: Iterable[str] = (),
    ranks: Ranks = ONE_RANK,
    start: Callable[[SearchSpace], SearchSpace] | None = None,
) -> Built:
    """Build everything that a run needs.

    Args:
        spec: of the run.
        catalog: where plugins are found.
        device: where tensors live.
        metrics: further metrics of the meta-test's predictions, by name.
        ranks: the processes that share the meta-steps.
        start: gives the network other initial weights.

    Raises:
        DataError: when the data is missing or has changed since planning, or by ``start``.
        UsageError: when the sources of the suite do not fit one network.
    """
    learner_spec = catalog.learner(spec.learner.name)
    loaded, sources = open_sources(spec, catalog, device=device)
    task = common_task(spec, loaded)
    shapes, drawn = episode_shapes(spec, catalog), drawn_shapes(spec, catalog)

    def sampler(split: str, *, seed: int) -> EpisodeSampler:
        shape = spec.protocol.val_shape() if split == "meta-val" else shapes[split]
        return EpisodeSampler(
            sources, suite=spec.suite, split=split, seed=seed, shape=shape, balanced=True
        )

    space = build_space(spec.space, task, catalog) if spec.space else None
    if space is not None and spec.space is not None:
        check_network(space, task, name=spec.space.name, device=device)
    if space is not None and start is not None:
        space = start(space)
    n_classes = train_classes(spec, loaded)
    learner = build_learner(
        spec,
        catalog,
        task=task,
        space=space,
        train_classes=n_classes,
        device=device,
        ranks=ranks,
    )
    episode_seed = spec.protocol.episode_seed
    meta_val = partial(sampler, "meta-val", seed=episode_seed)
    return Built(
        learner=learner,
        task=task,
        space=space,
        phases=_phases(spec, catalog, sources, task=task, device=device)
        if "meta-train" in drawn
        else (),
        validate=meta_val() if "meta-val" in drawn else None,
        meta_val=meta_val,
        test=sampler("meta-test", seed=episode_seed),
        normalization=_normalization(spec, learner_spec, space),
        data={
            choice.source: _describe_data(choice, data, catalog)
            for choice, data in zip(spec.sources, loaded, strict=True)
        },
        scoring=scoring_of(spec, catalog, further=metrics),
        steps_at_test=steps_at_test(spec, catalog),
        train_shape=shapes.get("meta-train", shapes["meta-test"]),
        train_classes=n_classes,
        conditions=training_conditions(spec, catalog),
        n_params=count_weights(space) if space and not space.choices() else None,
    )


def open_sources(
    spec: RunSpec, catalog: Catalog, *, device: torch.device
) -> tuple[list[ClassData | FunctionFamily], list[ClassSource | FunctionSource]]:
    """The data of each source of a run, and the sources that draw episodes from it.

    Raises:
        DataError: when the data is missing or has changed since planning.
    """
    loaded = [load_data(choice, catalog, data=spec.data) for choice in spec.sources]
    if fingerprint_of(loaded) != spec.data_fingerprint:
        raise DataError(
            "The data has changed since this run was planned.", hint="Run the command again."
        )
    return loaded, [
        open_source(choice.source, data, device=device)
        for choice, data in zip(spec.sources, loaded, strict=True)
    ]


def _normalization(spec: RunSpec, learner: LearnerSpec, space: SearchSpace | None) -> Normalization:
    """Whose statistics the predictions of a run use: what is allowed need not be used."""
    if uses_running_statistics(space):
        return "running"
    allowed = spec.protocol.normalization == "transductive"
    used = learner.transductive and uses_batch_statistics(space)
    return "transductive" if allowed and used else "inductive"


def _phases(
    spec: RunSpec,
    catalog: Catalog,
    sources: Sequence[ClassSource | FunctionSource],
    *,
    task: TaskShape,
    device: torch.device,
) -> tuple[TrainingPhase, ...]:
    phases = training_phases(spec, catalog)
    starts = first_steps(phases, spec.training.meta_steps)
    usual = episode_shapes(spec, catalog)["meta-train"]
    of_classes = [source for source in sources if isinstance(source, ClassSource)]
    named = catalog.learner(spec.learner.name).phases is not None
    return tuple(
        TrainingPhase(
            phase=phase,
            name=phase.name if named else "",
            first=first,
            stop=stop,
            n_tasks=spec.training.meta_batch if phase.tasks is None else phase.tasks,
            episodes=EpisodeSampler(
                sources,
                suite=spec.suite,
                split="meta-train",
                seed=spec.seed,
                shape=phase.shape or usual,
                balanced=False,
                phase=phase.name if named else "",
            ),
            labelled=LabelledSampler(of_classes, suite=spec.suite, seed=spec.seed)
            if phase.examples
            else None,
            shape=phase.shape or usual,
            task=task,
            device=device,
        )
        for phase, first, stop in zip(phases, starts, starts[1:], strict=False)
    )


def _describe_data(
    choice: SourceChoice, data: ClassData | FunctionFamily, catalog: Catalog
) -> dict[str, str]:
    """What a record says about the data of one source."""
    spec = catalog.dataset(choice.name)
    return {"dataset": str(choice), "fingerprint": data.fingerprint, "licence": spec.licence}
