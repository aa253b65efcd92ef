"""MetaNAS at meta-test (Elsken et al., CVPR 2020, algorithm 3).

Steps on weights and logits with annealing, then steps on the weights alone, at the final mixture.
That mixture, without what is below the threshold, makes the headline prediction; ``pruned``
predicts with the decoded architecture and the same weights.

A strategy that proposes architectures is tried instead of annealed: each task keeps the candidate
of the lowest support loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench import (
    Adapted,
    Labelled,
    LearnerContext,
    Mixture,
    Params,
    Predictor,
    SearchSpace,
    predictor,
)
from metabench_plugins.learners.metanas.joint_inner_loop import (
    JointLoop,
    Phase,
    State,
    mixing_of_each,
)
from metabench_plugins.learners.parts.inner_adam import Moments
from metabench_plugins.learners.parts.mini_batches import draw
from metabench_plugins.learners.parts.searched_space import (
    Decoded,
    SearchedSpace,
    operations_of,
    select,
    sharpness_at,
)
from metabench_plugins.learners.parts.split_batch import rows
from metabench_plugins.learners.parts.steps_on_demand import Later, StepsOnDemand

if TYPE_CHECKING:
    from metabench_plugins.learners.metanas.params import MetanasParams


@dataclass(frozen=True, slots=True)
class Point:
    """What predicts after some steps.

    Attributes:
        state: of each task.
        mixture: weights of operations.
        found: the architectures; after the last step.
    """

    state: State
    mixture: Mixture
    found: Decoded | None = None

    def decoded(self) -> Decoded:
        """The architectures after the last step."""
        assert self.found is not None
        return self.found


class Adaptation:
    """Adapts to new tasks.

    Args:
        context: what the harness gives to the learner.
        space: the searched network.
        search: the same under its strategy.
        loop: takes the steps.
    """

    def __init__(
        self, context: LearnerContext, space: SearchSpace, search: SearchedSpace, loop: JointLoop
    ) -> None:
        self._context = context
        self._params: MetanasParams = context.params
        self._space = space
        self._search = search
        self._loop = loop

    @torch.no_grad()
    def run(self, start: State, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Find an architecture and weights for each task.

        Args:
            start: where each task begins, with a task axis.
            support: what to adapt to.
            rng: a CPU generator.
        """
        p, n_tasks = self._params, len(support.x)
        (like, *_) = start.leaves.values()
        if proposed := self._search.candidates(n_tasks, rng=rng, like=like):
            state, chosen = self._settle(start, support, proposed, rng=rng)
            drawn = self._draw(support, steps=p.test_steps, rng=rng)
            state = self._fit(state, support, chosen.mixture, drawn)
            return Adapted(
                predict=self._predictor(state, chosen.mixture, support),
                genotypes=chosen.genotypes,
                n_params=chosen.n_params,
            )
        phase = self._testing(support, rng=rng)
        drawn = self._draw(support, steps=p.test_steps, rng=rng)
        last = len(phase.sharpness) + 1
        path = StepsOnDemand(partial(self._path, start, phase, support, drawn), headline=last)
        return Adapted(
            predict=self._at(path, last, support),
            curve=[
                self._at(path, step, support)
                for step in range(min(self._context.curve_steps + 1, last))
            ],
            genotypes=Later(lambda: path.at(last).decoded().genotypes, length=n_tasks),
            n_params=Later(
                lambda: self._search.kept(path.at(last).mixture, start.leaves, n_tasks=n_tasks),
                length=n_tasks,
            ),
            variants={"pruned": self._at(path, last, support, pruned=True)},
        )

    def _path(
        self, start: State, phase: Phase, support: Labelled, drawn: Tensor
    ) -> Iterator[Point]:
        """What predicts after 0, 1, ... steps with annealing, and at last after those without."""
        everyone, state = slice(0, len(support.x)), start
        yield Point(start, phase.mix(start.leaves, 0.0, everyone))
        for sharpness, (state, _) in zip(
            phase.sharpness, self._loop.path(start, phase), strict=True
        ):
            yield Point(state, phase.mix(state.leaves, sharpness, everyone))
        mixture = phase.mix(state.leaves, 1.0, everyone)
        found = self._search.decode(state.leaves)
        yield Point(self._fit(state, support, mixture, drawn), mixture, found)

    def _at(
        self, path: StepsOnDemand[Point], step: int, support: Labelled, *, pruned: bool = False
    ) -> Predictor:
        def forward(x: Tensor) -> Tensor:
            point = path.at(step)
            mixture = point.decoded().mixture if pruned else point.mixture
            return self._space.forward(operations_of(point.state.leaves), mixture, x)

        return predictor(forward, support.x, transductive=self._context.queries_together)

    @torch.no_grad()
    def trace(self, start: State, support: Labelled, *, rng: torch.Generator) -> list[Mixture]:
        """The mixture before the first step with annealing and after each; none if it is drawn."""
        n_tasks = len(support.x)
        (like, *_) = start.leaves.values()
        if self._search.candidates(n_tasks, rng=rng, like=like):
            return []
        phase, everyone = self._testing(support, rng=rng), slice(0, n_tasks)
        path = zip(self._loop.path(start, phase), phase.sharpness, strict=True)
        return [
            phase.mix(start.leaves, 0.0, everyone),
            *(phase.mix(state.leaves, sharpness, everyone) for (state, _), sharpness in path),
        ]

    def _testing(self, support: Labelled, *, rng: torch.Generator) -> Phase:
        """The steps with annealing, at meta-test."""
        p, steps = self._params, self._params.test_steps_arch
        return Phase(
            data=support,
            drawn=self._draw(support, steps=steps, rng=rng),
            mix=mixing_of_each(
                self._search,
                len(support.x),
                threshold=p.threshold_at_test,
                rng=rng,
                at_test=True,
            ),
            sharpness=[sharpness_at(step, steps) for step in range(steps)],
            searching=True,
            loss_term=self._search.loss_term(),
        )

    def _fit(self, state: State, support: Labelled, mixture: Mixture, drawn: Tensor) -> State:
        """Steps on the weights alone, with weights of operations that stay."""
        phase = Phase(
            data=support,
            drawn=drawn,
            mix=lambda leaves, sharpness, part: rows(mixture, part),
            sharpness=[1.0] * drawn.shape[1],
            searching=False,
        )
        for later, _ in self._loop.path(state, phase):
            state = later
        return state

    def _draw(self, support: Labelled, *, steps: int, rng: torch.Generator) -> Tensor:
        p = self._params
        return draw(support, size=p.test_batch, steps=steps, sampling=p.sampling, rng=rng)

    def _settle(
        self,
        start: State,
        support: Labelled,
        proposed: Sequence[Decoded],
        *,
        rng: torch.Generator,
    ) -> tuple[State, Decoded]:
        """Keep, per task, the candidate of the lowest support loss, with the weights it got."""
        steps = self._params.test_steps_arch
        states = [
            self._fit(start, support, c.mixture, self._draw(support, steps=steps, rng=rng))
            for c in proposed
        ]
        losses = torch.stack(
            [
                self._loop.losses(
                    self._space.forward(operations_of(s.leaves), c.mixture, support.x), support.y
                )
                for s, c in zip(states, proposed, strict=True)
            ]
        )
        best = losses.nan_to_num(nan=torch.inf).argmin(dim=0).tolist()
        chosen = select(proposed, best)

        def pick(values: Sequence[Params]) -> Params:
            return {
                name: torch.stack([values[c][name][task] for task, c in enumerate(best)])
                for name in values[0]
            }

        moments = Moments(pick([s.weights.values for s in states]), states[0].weights.steps)
        return replace(start, leaves=pick([s.leaves for s in states]), weights=moments), chosen

    def _predictor(self, state: State, mixture: Mixture, support: Labelled) -> Predictor:
        forward = partial(self._space.forward, operations_of(state.leaves), mixture)
        return predictor(forward, support.x, transductive=self._context.queries_together)
