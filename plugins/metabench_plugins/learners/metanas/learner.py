"""MetaNAS: weights and architecture are meta-learned together (Elsken et al., CVPR 2020).

Task learner (equation 3): in each step one forward and backward pass gives the gradients of the
weights and of the logits, and Adam with beta1 = 0 moves both, each with its own weight decay (L2);
the strategy anneals its mixture over the steps. Meta-update (equation 4), as in Reptile:
``w <- w + lambda mean(w_T - w)``, and the same for the logits with their own step size. It has no
decay. During the warm-up the logits are fixed, without annealing.

Meta-test (algorithm 3) is in :mod:`metabench_plugins.learners.metanas.adaptation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metabench import (
    Adapted,
    AnnealedStrategy,
    Labelled,
    Learner,
    LearnerContext,
    Mixture,
    Params,
    TaskBatch,
)
from metabench_plugins.learners.metanas.adaptation import Adaptation
from metabench_plugins.learners.metanas.joint_inner_loop import (
    JointLoop,
    Phase,
    State,
    mixing_of_each,
)
from metabench_plugins.learners.metanas.params import MetanasParams
from metabench_plugins.learners.parts.drop_path import draw_masks
from metabench_plugins.learners.parts.inner_adam import Moments
from metabench_plugins.learners.parts.mini_batches import draw
from metabench_plugins.learners.parts.schedules import towards
from metabench_plugins.learners.parts.searched_space import (
    ARCH,
    SearchedSpace,
    arch_of,
    draws_noise,
    is_arch,
    sharpness_at,
)
from metabench_plugins.learners.reptile import Reptile
from metabench_plugins.strategies.parts.pruning import prune_logits


class Metanas:
    """The learner: start weights and logits, and the moments that travel with them."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        assert context.strategy is not None
        self._context = context
        self._params: MetanasParams = context.params
        self._space = context.space
        draws = draws_noise(context.space, context.strategy)
        self._search = SearchedSpace(context.space, context.strategy, draws=draws)
        drawn = context.space.init_weights(rng=context.rng)
        drawn |= self._search.init_logits(rng=context.rng)
        leaves = {name: leaf.to(context.device) for name, leaf in drawn.items()}
        self._state = State.begin(leaves)
        self._loop = JointLoop(context, context.space)
        self._adaptation = Adaptation(context, context.space, self._search, self._loop)
        self._updates = torch.zeros((), dtype=torch.int64, device=context.device)

    @torch.no_grad()
    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Move towards the mean of the weights and logits that the tasks end at."""
        size = 1 if self._params.carry == "sequential" else len(tasks)
        searching = progress >= self._params.warm_up
        ends, losses = [], []
        for first in range(0, len(tasks), size):
            part = slice(first, first + size)
            support = Labelled(tasks.support.x[part], tasks.support.y[part])
            phase = self._training(support, searching=searching, rng=rng)
            for state, loss in self._loop.path(self._state.share(size), phase):
                end, last = state, loss
            self._state = replace(self._state, weights=end.weights.mean(), logits=end.logits.mean())
            ends.append({name: leaf.mean(dim=0) for name, leaf in end.leaves.items()})
            losses.append(last.mean())
        (mean, *others) = ends
        if others:
            mean = {name: torch.stack([end[name] for end in ends]).mean(dim=0) for name in mean}
        self._update(mean, searching=searching, progress=progress)
        return {"loss": torch.stack(losses).mean()}

    def _update(self, mean: Params, *, searching: bool, progress: float) -> None:
        """The meta-update, and now and then the pruning for good."""
        p = self._params
        eps = p.meta_lr + (p.meta_lr_end - p.meta_lr) * progress
        leaves = dict(self._state.leaves)
        for name, start in self._state.leaves.items():
            if not is_arch(name):
                leaves[name] = towards(start, mean[name], eps)
            elif searching:
                leaves[name] = torch.lerp(start, mean[name], p.arch_meta_lr)
        self._updates = self._updates + 1
        if p.prune_every is not None:
            due = self._updates % p.prune_every == 0
            kept = self._pruned(leaves)
            leaves |= {name: torch.where(due, kept[name], leaves[name]) for name in kept}
        self._state = replace(self._state, leaves=leaves)

    def _pruned(self, leaves: Params) -> Params:
        """The logits, some of them pruned for good; nothing where no temperature falls."""
        strategy = self._context.strategy
        if not isinstance(strategy, AnnealedStrategy):
            return {}
        kept = prune_logits(
            arch_of(leaves),
            self._space.choices(),
            temperature=strategy.temperature(1.0),
            threshold=self._params.threshold,
        )
        return {f"{ARCH}{cell}": logits for cell, logits in kept.items()}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Find an architecture and weights for each task; state is left as it was."""
        return self._adaptation.run(self._state.share(len(support.x)), support, rng=rng)

    def trace(self, support: Labelled, *, rng: torch.Generator) -> Sequence[Mixture]:
        """The mixture before the first step with annealing and after each; none if it is drawn."""
        return self._adaptation.trace(self._state.share(len(support.x)), support, rng=rng)

    def state_dict(self) -> dict[str, Any]:
        """Weights and logits, their moments, and the number of updates."""
        return {
            "leaves": self._state.leaves,
            "weights": self._state.weights.to_state(),
            "logits": self._state.logits.to_state(),
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        weights, logits = (Moments.from_state(state[key]) for key in ("weights", "logits"))
        self._state = State(dict(state["leaves"]), weights, logits)
        self._updates = torch.as_tensor(state["updates"], device=self._updates.device)

    def _training(self, support: Labelled, *, searching: bool, rng: torch.Generator) -> Phase:
        """The steps of a batch of tasks in meta-training."""
        p, n_tasks = self._params, len(support.x)
        n_batches = p.inner_steps * (2 if searching and p.batches == "two" else 1)
        index = draw(support, size=p.inner_batch, steps=n_batches, sampling=p.sampling, rng=rng)
        mix = mixing_of_each(self._search, n_tasks, threshold=p.threshold, rng=rng)
        masks = draw_masks(
            self._space,
            n_tasks * n_batches,
            index.shape[2],
            rate=p.drop_path,
            rng=rng,
            device=index.device,
        )
        return Phase(
            data=support,
            drawn=index,
            mix=mix,
            sharpness=[
                sharpness_at(step, p.inner_steps) if searching else 0.0
                for step in range(p.inner_steps)
            ],
            searching=searching,
            loss_term=self._search.loss_term(),
            masks={n: m.view(n_tasks, n_batches, *m.shape[1:]) for n, m in masks.items()},
        )


def reptile(context: LearnerContext) -> Learner:
    """Reptile; on a searched network that is MetaNAS."""
    return Reptile(context) if context.strategy is None else Metanas(context)
