"""T-NAS: weights and logits adapt together; decoded networks are trained anew (Lian et al. 2020).

Search: first-order MAML on weights and logits, each with its own learning rate. A task decodes its
own architecture at the end of its inner loop.

Retraining: the paper trains every network that a test task decodes to from scratch, by first-order
MAML on the meta-train tasks, which costs hours a task. Here the search's last ``decode_fraction``
counts what meta-train tasks decode to, and the ``networks`` most common ones are trained, in turns,
for the rest of meta-training. At meta-test a task is solved by the trained network that shares most
edges with its own architecture; ``supernet`` predicts with that architecture inside the supernet,
as it is after the search.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    Adapted,
    Genotype,
    Labelled,
    LearnerContext,
    Predictor,
    TaskBatch,
    TrainingOnly,
)
from metabench_plugins.learners.maml import Maml, MamlSearchParams
from metabench_plugins.learners.parts.logits_log import LogitsLog
from metabench_plugins.learners.parts.schedules import floor
from metabench_plugins.learners.parts.searched_space import is_arch


class TnasParams(MamlSearchParams):
    """Parameters of T-NAS."""

    search_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Fraction of meta-training that searches; the rest trains the decoded "
        "networks.",
    )
    decode_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Last fraction of the search, which counts the architectures that its tasks "
        "decode to.",
    )
    networks: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Number of decoded networks that are trained anew, the most common first.",
    )


class Tnas(Maml):
    """The learner; once the search is over it trains one network after another."""

    def __init__(self, context: LearnerContext) -> None:
        super().__init__(context)
        self._counts: Counter[Genotype] = Counter()
        self._networks: dict[Genotype, Maml] = {}
        self._log: LogitsLog | None = None

    @property
    def searching(self) -> bool:
        """Whether networks are still to be trained."""
        return not self._networks and self.params.search_fraction < 1

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update of the supernet, or of the network whose turn it is."""
        p = self.params
        searching = progress < p.search_fraction
        if searching and progress < p.search_fraction * (1 - p.decode_fraction):
            return super().meta_step(tasks, progress=progress, rng=rng)
        if searching:
            self._note_architectures(tasks.support, rng=rng)
            return super().meta_step(tasks, progress=progress, rng=rng)
        if not self._networks:
            self._choose_networks(tasks.support, rng=rng)
        network = [*self._networks.values()][self._index_of_network(progress)]
        done = (progress - p.search_fraction) / (1 - p.search_fraction)
        return network.meta_step(tasks, progress=done, rng=rng)

    @torch.no_grad()
    def _note_architectures(self, support: Labelled, *, rng: torch.Generator) -> None:
        """Remember what the tasks decode to; their logits, if nothing else is needed for it."""
        start, steps = self.begin(support, rng=rng, progress=None), self.context.steps_at_test
        if start.candidates:
            settled = self._settle(start, support)
            assert settled.decode is not None
            self._counts.update(settled.decode({}).genotypes)
            return
        adapted = deque(self._test_path(start, support, steps=steps), maxlen=1).pop()
        if self._log is None:
            p, tasks = self.params, len(support.x)
            share: float = p.search_fraction * p.decode_fraction
            self._log = LogitsLog(tasks * (math.ceil(share * self.context.meta_steps) + 1))
        self._log.add({name: logits for name, logits in adapted.items() if is_arch(name)})

    def _choose_networks(self, support: Labelled, *, rng: torch.Generator) -> None:
        """Count the architectures, and make the networks of the most common ones."""
        assert self._search is not None
        self._counts.update(self._noted_architectures())
        self._log = None
        if not self._counts:
            self._counts.update(super().adapt(support, rng=rng).genotypes or ())
        # Of equally common ones those that were seen first.
        for genotype, _ in self._counts.most_common(self.params.networks):
            self._networks[genotype] = self._network(genotype, rng=rng)

    def _noted_architectures(self) -> Sequence[Genotype]:
        """The architectures of the tasks that were remembered."""
        logits = {} if self._log is None else self._log.read()
        return self._search.decode(logits).genotypes if logits and self._search else ()

    def _index_of_network(self, progress: float) -> int:
        """Which network a meta-step trains."""
        meta_steps = self.context.meta_steps
        turn = (floor(progress * meta_steps + 0.5) - self._first_step) % len(self._networks)
        # A comparison, unlike a number, is something that a recorded program can depend on.
        return next(index for index in range(len(self._networks)) if turn == index)

    @cached_property
    def _first_step(self) -> int:
        """The first meta-step after the search."""
        fraction: float = self.params.search_fraction
        meta_steps = self.context.meta_steps
        # Rounding may put the product just beside a whole number; the quotients decide.
        near = max(0, math.floor(fraction * meta_steps) - 1)
        return next(step for step in count(near) if step / meta_steps >= fraction)

    def _network(self, genotype: Genotype, *, rng: torch.Generator) -> Maml:
        space = self.space.child(genotype)
        return Maml(replace(self.context, space=space, strategy=None, rng=rng))

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Decode each task's architecture, and adapt the trained network nearest to it."""
        searched = super().adapt(support, rng=rng)
        if not self._networks:
            return searched
        assert searched.genotypes is not None
        assert self._search is not None
        chosen = [nearest(genotype, [*self._networks]) for genotype in searched.genotypes]
        groups: dict[Genotype, list[int]] = defaultdict(list)
        for task, genotype in enumerate(chosen):
            groups[genotype].append(task)
        adapted = [
            self._networks[genotype].adapt(Labelled(support.x[tasks], support.y[tasks]), rng=rng)
            for genotype, tasks in groups.items()
        ]
        members = [*groups.values()]
        curves = zip(*(one.curve or () for one in adapted), strict=True)
        return Adapted(
            predict=_joined([one.predict for one in adapted], members),
            curve=[_joined(predictors, members) for predictors in curves],
            genotypes=chosen,
            own_genotypes=[*searched.genotypes],
            n_params=[self._search.size(genotype) for genotype in chosen],
            variants={"supernet": searched.predict},
        )

    def state_dict(self) -> dict[str, Any]:
        """The supernet's state, what was counted, and the networks with theirs."""
        return {
            **super().state_dict(),
            "counts": [[genotype.to_json(), n] for genotype, n in self._counts.items()],
            "networks": [[g.to_json(), n.state_dict()] for g, n in self._networks.items()],
            "log": TrainingOnly({} if self._log is None else self._log.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self._counts = Counter({Genotype.from_json(data): n for data, n in state["counts"]})
        self._networks = {}
        for data, own in state["networks"]:
            genotype = Genotype.from_json(data)
            self._networks[genotype] = self._network(genotype, rng=torch.Generator())
            self._networks[genotype].load_state_dict(own)
        self._log = None
        if logged := state.get("log"):
            self._log = LogitsLog(len(next(iter(logged["rows"].values()))))
            self._log.load_state_dict(logged)


def nearest(genotype: Genotype, known: Sequence[Genotype]) -> Genotype:
    """Of ``known`` the genotype that shares most edges with one; of several the first."""
    own = _edges(genotype)
    return max(known, key=lambda other: (own & _edges(other)).total())


def _edges(genotype: Genotype) -> Counter[tuple[Any, ...]]:
    return Counter((cell, edge) for cell, edges in genotype.cells for edge in edges)


def _joined(predictors: Sequence[Predictor], members: Sequence[Sequence[int]]) -> Predictor:
    """One predictor for all tasks, of which ``predictors[i]`` serves the tasks ``members[i]``."""
    order = torch.tensor([task for tasks in members for task in tasks]).argsort()

    def predict(x: Tensor) -> Tensor:
        parts = [p(x[tasks]) for p, tasks in zip(predictors, members, strict=True)]
        return torch.cat(parts)[order.to(x.device)]

    return predict
