"""From the description of a run to its learner, built to be trained or to see that it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from metabench.planning.compatibility import common_task, episode_shapes, learner_params
from metabench.planning.networks import build_space, build_strategy, built, parts_of
from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.data import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.learner import Learner, LearnerContext
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.specs import resolve
from metabench.sampling.checks import classes_of
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

METHODS = ("meta_step", "adapt", "state_dict", "load_state_dict")
"""What a learner has."""


def check_learner(
    spec: RunSpec,
    loaded: Sequence[ClassData | FunctionFamily],
    catalog: Catalog,
    *,
    start: Callable[[SearchSpace], SearchSpace] | None = None,
) -> None:
    """Let the learner of a run refuse what it cannot work with, before anything runs.

    Args:
        spec: of the run.
        loaded: the data of its sources, in their order.
        catalog: the plugins.
        start: gives its network the weights of a file.

    Raises:
        UsageError: with the learner's reason.
        DataError: when the weights of the file do not fit the network.
        PluginError: when it cannot be built.
    """
    task, space = common_task(spec, loaded), None
    if spec.space is not None:
        space = build_space(spec.space, task, catalog)
        parts_of(space, name=spec.space.name)
        space = start(space) if start is not None else space
    build_learner(
        spec,
        catalog,
        task=task,
        space=space,
        train_classes=train_classes(spec, loaded),
        device=torch.device("cpu"),
    )


def train_classes(spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily]) -> int:
    """How many classes a learner trains on, over all sources; 0 in regression."""
    if spec.weights is not None and spec.weights.train_classes is not None:
        return spec.weights.train_classes
    return sum(
        len(classes_of(data, "meta-train")) for data in loaded if isinstance(data, ClassData)
    )


def build_learner(
    spec: RunSpec,
    catalog: Catalog,
    *,
    task: TaskShape,
    space: SearchSpace | None,
    train_classes: int,
    device: torch.device,
    ranks: Ranks = ONE_RANK,
) -> Learner:
    """Build the learner of a run.

    Args:
        spec: of the run.
        catalog: where plugins are found.
        task: what its network must accept and produce.
        space: its network; None for a learner with its own.
        train_classes: how many classes it trains on.
        device: where its tensors live.
        ranks: the processes that share its meta-steps.

    Raises:
        UsageError: when it cannot work with these.
        PluginError: when it cannot be built, or is no learner.
    """
    protocol = spec.protocol
    context = LearnerContext(
        params=learner_params(spec, catalog),
        task=task,
        shape=episode_shapes(spec, catalog)["meta-test"],
        space=space,
        strategy=build_strategy(spec.strategy, catalog) if spec.strategy else None,
        steps_at_test=protocol.steps_at_test,
        curve_steps=protocol.curve_steps,
        transductive=protocol.normalization == "transductive",
        meta_steps=spec.training.meta_steps,
        device=device,
        rng=generator(spec.seed, "init"),
        train_classes=train_classes,
        ranks=ranks,
    )
    factory = resolve(catalog.learner(spec.learner.name).factory)
    made: Learner = built(f"Learner {spec.learner}", lambda: factory(context), methods=METHODS)
    return made
