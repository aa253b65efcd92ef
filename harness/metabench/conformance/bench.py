"""A learner on a tiny network and made-up tasks, built again for every check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from metabench.conformance.base import Skip
from metabench.conformance.descriptions import default_params
from metabench.conformance.samples import (
    SHAPES,
    TRAIN_CLASSES,
    generator,
    made_up_examples,
    made_up_tasks,
)
from metabench.plugin.blame import described
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import TaskBatch, TaskKind
from metabench.plugin.contracts.learner import Learner, LearnerContext
from metabench.plugin.contracts.phase import Phase
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import Strategy
from metabench.plugin.specs import LearnerSpec, resolve

SMALL_SPACES: dict[TaskKind, tuple[str, dict[str, Any]]] = {
    "classification": ("conv4", {"filters": 4}),
    "regression": ("mlp", {"hidden": 1, "width": 8}),
}
STATEFUL_SPACE: tuple[str, dict[str, Any]] = (
    "conv4",
    {"filters": 4, "norm": "running", "momentum": 0.5, "dropout": (0.1,) * 4},
)
CPU = torch.device("cpu")
STEPS_AT_TEST, CURVE_STEPS = 2, 3


@dataclass(frozen=True, slots=True)
class Bench:
    """Builds one learner on a tiny network, again and again.

    Attributes:
        spec: the learner.
        kind: of the tasks.
        catalog: where networks and strategies come from.
        searched: whether the network is searched.
        stateful: whether the network has running statistics and dropout.
        strategy: the name of the strategy; empty for the first one that fits.
        wrap: what becomes of the strategy before the learner gets it.
    """

    spec: LearnerSpec
    kind: TaskKind
    catalog: Callable[[], Catalog]
    searched: bool = False
    stateful: bool = False
    strategy: str = ""
    wrap: Callable[[Strategy], Strategy] | None = None

    def build(
        self,
        *,
        seed: int = 0,
        transductive: bool = True,
        device: torch.device = CPU,
        ranks: Ranks = ONE_RANK,
        **context_facts: Any,
    ) -> Learner:
        """A new learner with default parameters; ``context_facts`` replace those of its context."""
        task, shape = SHAPES[self.kind]
        space, strategy = self._network()
        context = LearnerContext(
            params=default_params(self.spec, searched=self.searched),
            task=task,
            shape=shape,
            space=space,
            strategy=strategy,
            steps_at_test=STEPS_AT_TEST,
            curve_steps=CURVE_STEPS,
            transductive=transductive,
            meta_steps=10,
            device=device,
            rng=generator(seed),
            train_classes=TRAIN_CLASSES if self.kind == "classification" else 0,
            ranks=ranks,
        )
        learner: Learner = resolve(self.spec.factory)(replace(context, **context_facts))
        return learner

    def tested_otherwise(self) -> dict[str, Any]:
        """Facts of a context in which all has another value that the learner says it ignores."""
        shape = SHAPES[self.kind][1]
        ignored = set(self.spec.test_only)
        sizes = {
            name: getattr(shape, name) + 1
            for name in ("shots", "queries")
            if f"protocol.{name}" in ignored
        }
        others = {"steps_at_test": 1, "curve_steps": 4, "normalization": False}
        facts = {name: value for name, value in others.items() if f"protocol.{name}" in ignored}
        if "normalization" in facts:
            facts["transductive"] = facts.pop("normalization")
        params = default_params(self.spec, searched=self.searched)
        names = [name for name in ignored if name in type(params).model_fields]
        return {"params": _moved(params, names), "shape": replace(shape, **sizes), **facts}

    def fresh(self, *, seed: int = 0, transductive: bool = True) -> Learner:
        """As :meth:`build`, but skip the check if that fails: another check reports the failure."""
        try:
            return self.build(seed=seed, transductive=transductive)
        except Skip:
            raise
        except Exception as error:
            raise Skip(f"it cannot be built: {described(error)}") from error

    def tasks(self, *, seed: int = 0) -> TaskBatch:
        """What the learner trains on; phases take turns."""
        shape = SHAPES[self.kind][1]
        params = default_params(self.spec, searched=self.searched)
        if self.spec.train_shape is not None:
            shape = resolve(self.spec.train_shape)(params, shape)
        if self.spec.phases is None:
            return made_up_tasks(self.kind, shape=shape, seed=seed)
        phases: Sequence[Phase] = resolve(self.spec.phases)(params, shape)
        phase = phases[seed % len(phases)]
        n_tasks = 3 if phase.tasks is None else phase.tasks
        tasks = made_up_tasks(self.kind, shape=phase.shape or shape, n_tasks=n_tasks, seed=seed)
        labelled = made_up_examples(phase.examples, seed=seed) if phase.examples else None
        return replace(tasks, phase=phase.name, labelled=labelled)

    @property
    def n_phases(self) -> int:
        """How many phases take turns in :meth:`tasks`."""
        if self.spec.phases is None:
            return 1
        params = default_params(self.spec, searched=self.searched)
        return len(resolve(self.spec.phases)(params, SHAPES[self.kind][1]))

    def trained(self, *, seed: int = 0, n_steps: int = 2, transductive: bool = True) -> Learner:
        """A learner after a few outer updates."""
        learner = self.fresh(seed=seed, transductive=transductive)
        step(self, learner, first=0, n_steps=n_steps)
        return learner

    def _network(self) -> tuple[SearchSpace | None, Strategy | None]:
        catalog = self.catalog()
        task = SHAPES[self.kind][0]
        name, params = STATEFUL_SPACE if self.stateful else SMALL_SPACES[self.kind]
        strategy: Strategy | None = None
        if self.searched:
            spaces = [s.name for s in catalog.search_spaces.values() if s.searched]
            spaces = [s for s in spaces if self.kind in catalog.space(s).kinds]
            if not spaces or not catalog.nas_strategies:
                raise Skip(f"no searched network for {self.kind}, or no strategy, is installed.")
            name, params = spaces[0], {}
            makes = self.spec.makes_logits
            fitting = [s for s in catalog.nas_strategies.values() if s.reads_logits or not makes]
            fitting = [s for s in fitting if self.strategy in ("", s.name)]
            if not fitting:
                raise Skip("no strategy that reads logits is installed.")
            chosen = fitting[0]
            strategy = resolve(chosen.factory)(default_params(chosen))
            strategy = self.wrap(strategy) if self.wrap else strategy
        if not self.spec.needs_space:
            return None, strategy
        space = catalog.space(name)
        return resolve(space.factory)(space.params_model().model_validate(params), task), strategy


def _moved(params: BaseModel, names: Sequence[str]) -> BaseModel:
    """Parameters of which some numbers have another value that their model accepts."""
    for name in names:
        value = getattr(params, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for other in (value + 1, value / 2 if isinstance(value, float) else value // 2):
            with suppress(ValidationError):
                values = {**params.model_dump(mode="json"), name: other}
                params = type(params).model_validate(values)
                break
    return params


def step(bench: Bench, learner: Learner, *, first: int, n_steps: int) -> None:
    """Make outer updates ``first``, ``first + 1``, ... as the harness does."""
    for index in range(first, first + n_steps):
        learner.meta_step(bench.tasks(seed=index), progress=index / 10, rng=generator(index))


def predictions(learner: Learner, tasks: TaskBatch, query_x: Tensor | None = None) -> Tensor:
    """Adapt to the support sets and predict the queries."""
    adapted = learner.adapt(tasks.support, rng=generator(7))
    return adapted.predict(tasks.query.x if query_x is None else query_x).detach()
