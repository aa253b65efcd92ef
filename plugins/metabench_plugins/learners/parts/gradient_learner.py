"""Base of the learners of the MAML family: inner loop, outer update and meta-test.

Inner: ``w <- w - inner_lr * grad L(w; support)``, full support in every step.
Outer: Adam on the mean over tasks of ``L(w_S; query)``, through all inner steps.
A learner defines where the inner loop of each task starts; MAML starts from shared weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    SKIPPED,
    Adapted,
    Frozen,
    Genotype,
    Labelled,
    LearnerContext,
    Mixture,
    Order,
    Params,
    Predictor,
    Reduction,
    TaskBatch,
    inner_path,
    predictor,
    task_losses,
)
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.outer_gradient import gradients_by_parts
from metabench_plugins.learners.parts.over_ranks import over_ranks, own_parts
from metabench_plugins.learners.parts.query_log import QueryLog
from metabench_plugins.learners.parts.searched_space import (
    ARCH,
    Decoded,
    LossTerm,
    Mixing,
    arch_of,
    operations_of,
    select,
    sharpness_at,
)
from metabench_plugins.learners.parts.split_batch import (
    joined,
    parts,
    rows,
    tasks_of,
)
from metabench_plugins.learners.parts.steps_on_demand import Later, StepsOnDemand
from metabench_plugins.learners.parts.task_memory import TaskMemory


class GradientParams(Frozen):
    """Parameters of the inner and the outer loop."""

    inner_lr: float = Field(
        default=0.01, gt=0, le=100, description="Learning rate of the inner loop."
    )
    inner_steps: int = Field(
        default=5, ge=1, le=100, description="Inner-loop steps per task in meta-training."
    )
    outer_lr: float = Field(
        default=0.001, gt=0, le=1, description="Learning rate of Adam in the outer loop."
    )
    order: Literal["second", "first"] = Field(
        default="second",
        description="second: differentiate through the inner-loop gradients; first: treat them "
        "as constants (first-order MAML).",
    )
    reduction: Reduction = Field(
        default="per_shot",
        description="per_shot: cross-entropy summed over the set and divided by K, as in MAML's "
        "code; mean: its mean over the set. Regression always uses the mean.",
    )
    adapt_norm: bool = Field(
        default=False, description="Whether the inner loop adapts scale and shift of norm layers."
    )
    clip: float | None = Field(
        default=None,
        gt=0,
        description="Bound on each element of the outer gradient; null for none.",
    )
    inner_clip: float | None = Field(
        default=None,
        gt=0,
        description="Bound on each element of the inner-loop gradient; null for none.",
    )
    max_norm: float | None = Field(
        default=None,
        gt=0,
        description="Bound on the norm of the outer gradient, for each group of weights with a "
        "learning rate of its own; null for none.",
    )
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its outer gradient is not finite or "
        "more than this many times the median of the last 100; null for never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the inner loops of a batch of tasks begin, and what stays as it is during them.

    Attributes:
        weights: ``[tasks, *shape]`` by name.
        adapted: names of the weights that move.
        mixture: weights of operations, where the network has choices; a function of the leaves
            and the sharpness where logits are among the leaves.
        decode: from the adapted leaves to architectures and what predicts, where logits adapt.
        candidates: architectures of which each task keeps the one of the lowest support loss.
        masks: factors of the updates, see :func:`metabench.inner_path`.
        penalty: scalar that joins the outer loss.
        loss_term: from the leaves and the sharpness to what joins the loss of each task, where
            logits adapt and the strategy adds a term.
        embedding: ``[tasks, d]``, where tasks are embedded.
        genotypes: per task, where the architecture is a result.
        n_params: per task, weights of the network that predicts, where that differs.
    """

    weights: Params
    adapted: Collection[str]
    mixture: Mixture | Mixing = field(default_factory=dict)
    decode: Callable[[Params], Decoded] | None = None
    candidates: Sequence[Decoded] = ()
    masks: Params | None = None
    penalty: Tensor | None = None
    loss_term: LossTerm | None = None
    embedding: Tensor | None = None
    genotypes: Sequence[Genotype] | None = None
    n_params: Sequence[int] | None = None

    def part(self, part: slice) -> Start:
        """What a path of some of the tasks needs."""
        return self.replaced(rows(self.tensors(), part), part)

    def tensors(self) -> Params:
        """All tensors that paths begin with, under names of their own."""
        found = {f"{WEIGHT}{name}": w for name, w in self.weights.items()}
        if not callable(self.mixture):
            found |= {f"{MIXTURE}{name}": w for name, w in self.mixture.items()}
        return found | {f"{MASK}{name}": w for name, w in (self.masks or {}).items()}

    def replaced(self, tensors: Params, part: slice) -> Start:
        """The start of some tasks, given what :meth:`tensors` has of them."""
        mixture = self.mixture
        return replace(
            self,
            weights=_named(tensors, WEIGHT),
            mixture=(
                partial(_mixed, mixture, part, self._n_tasks())
                if callable(mixture)
                else _named(tensors, MIXTURE)
            ),
            masks=None if self.masks is None else _named(tensors, MASK),
        )

    def _n_tasks(self) -> int:
        return max(len(w) for w in self.weights.values())


WEIGHT, MIXTURE, MASK = "weight:", "mixture:", "mask:"


def _named(tensors: Params, kind: str) -> Params:
    return {n.removeprefix(kind): w for n, w in tensors.items() if n.startswith(kind)}


def _mixed(mix: Mixing, part: slice, n_tasks: int, weights: Params, sharpness: float) -> Mixture:
    """The mixture of some tasks, each with what is drawn for it among all tasks."""
    whole = {}
    for name, logits in arch_of(weights).items():
        others = logits.new_zeros(n_tasks, *logits.shape[1:])
        whole[f"{ARCH}{name}"] = torch.cat([others[: part.start], logits, others[part.stop :]])
    return rows(mix(whole, sharpness), part)


@dataclass(frozen=True, slots=True)
class OuterGradient:
    """What an outer update descends.

    Attributes:
        loss: the mean query loss, detached.
        penalty: what joins it, detached; None where nothing does.
        of_queries: what learners have in common, see :func:`metabench.query_scalars`.
        gradients: of both, in the order of the outer optimizer's weights.
    """

    loss: Tensor
    penalty: Tensor | None
    of_queries: Mapping[str, Tensor]
    gradients: Sequence[Tensor | None]


@dataclass(frozen=True, slots=True)
class Tested:
    """What predicts after some steps at meta-test.

    Attributes:
        network: the start, with the mixture that predicts.
        weights: ``[tasks, *shape]`` by name.
        decoded: the architectures, where logits adapt.
    """

    network: Start
    weights: Params
    decoded: Decoded | None


class GradientLearner(ABC):
    """A learner with an inner loop of gradient descent.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self.context = context
        self.params: Any = context.params
        self.space = context.space
        self.outer = self._adam(self.groups(context.rng))
        self._memory = TaskMemory(context.device)

    def _adam(self, groups: Sequence[Group]) -> OuterAdam:
        return OuterAdam(groups, clip=self.params.clip, skip_above=self.params.skip_above)

    @abstractmethod
    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """Make the meta-learned weights. Called once, before anything else."""

    @abstractmethod
    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Say where the inner loops begin; ``progress`` is None at meta-test."""

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update on the mean query loss of the batch."""
        start = self.begin(tasks.support, rng=rng, progress=progress)
        found = self.outer_gradient(start, tasks)
        rate = self.outer_rate(progress)
        skipped = self.outer.apply(found.gradients, rate=rate).to(found.loss.dtype)
        logged = {"loss": found.loss, **found.of_queries, SKIPPED: skipped}
        return logged if found.penalty is None else {**logged, "penalty": found.penalty}

    def outer_rate(self, progress: float) -> float:
        """Factor of the outer learning rates after a share of meta-training."""
        return 1.0

    def outer_factor(self, n_tasks: int) -> float:
        """Factor of what is descended, in a batch of so many tasks."""
        return 1.0

    def outer_gradient(
        self, start: Start, tasks: TaskBatch, *, parts: Sequence[slice] | None = None
    ) -> OuterGradient:
        """The gradient of :meth:`outer_losses`, by parts of the batch, and over all ranks.

        Args:
            start: of all tasks, with its graph.
            tasks: the batch.
            parts: which of this rank's tasks run at a time; None for as many as fit, see
                :meth:`parts_of`.
        """
        ranks, weights = self.context.ranks, list(self.outer.weights.values())
        factor, n_tasks = self.outer_factor(len(tasks)), len(tasks)
        losses, terms = [], []
        log = QueryLog(self.context.task.kind)

        def descended(tensors: Params, part: slice) -> Tensor:
            own, of_part = start.replaced(tensors, part), tasks_of(tasks, part)
            loss, term = self.losses_of_tasks(own, of_part, log=log)
            losses.append(loss.detach())
            if term is None:
                return loss
            terms.append(term.detach())
            return loss + term

        gradients = gradients_by_parts(
            descended,
            start.tensors(),
            weights,
            parts=parts or self.parts_of(start, tasks),
            factor=factor / n_tasks,
            beside=None if start.penalty is None or ranks.rank else start.penalty * factor,
        )
        means = {"loss": torch.cat(losses).mean(), **log.means()}
        if terms:
            means["term"] = torch.cat(terms).mean()
        gradients, means = over_ranks(ranks, gradients, weights, means, n_tasks=n_tasks)
        loss, term = means.pop("loss"), means.pop("term", None)
        penalty = None if start.penalty is None else start.penalty.detach()
        if term is not None:
            penalty = term if penalty is None else penalty + term
        return OuterGradient(loss, penalty, means, gradients)

    def outer_losses(self, start: Start, tasks: TaskBatch) -> tuple[Tensor, Tensor | None]:
        """The mean query loss after the inner loops, and what joins it; scalars with graphs."""
        losses, terms = self.losses_of_tasks(start, tasks)
        if terms is None:
            return losses.mean(), start.penalty
        term = terms.mean()
        return losses.mean(), term if start.penalty is None else start.penalty + term

    def losses_of_tasks(
        self, start: Start, tasks: TaskBatch, *, log: QueryLog | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The query loss of each task after its inner loop, ``[tasks]``, and what joins it.

        The predictions for the queries are noted in the log.
        """
        p = self.params
        path = self._path(start, tasks.support, steps=p.inner_steps, anneal=p.inner_steps)
        adapted = deque(path, maxlen=1).pop()
        # The outer loss of a `per_shot` system is divided by the support's K as well.
        shots = tasks.support.y.shape[1] // self.context.shape.ways
        losses = self._loss(start, adapted, data=tasks.query, shots=shots, log=log)
        return losses, None if start.loss_term is None else start.loss_term(adapted, 1.0)

    def query_passes(self, start: Start) -> int:
        """How many forward passes of the query set an outer loss has."""
        return 1

    def parts_of(self, start: Start, tasks: TaskBatch) -> list[slice]:
        """This rank's tasks that run at a time in an outer gradient, parts of about one size."""
        p = self.params
        most = self._memory.tasks_at_once(
            self.space,
            partial(self._first_weights, start, tasks.support),
            tasks,
            steps=p.inner_steps,
            second=p.order == "second",
            query_passes=self.query_passes(start),
        )
        return own_parts(self.context.ranks, len(tasks), most)

    @torch.no_grad()
    def _first_weights(self, start: Start, support: Labelled) -> Params:
        """The weights of the first task's network before its inner loop."""
        part = slice(0, 1)
        data = Labelled(support.x[part], support.y[part])
        path = self._path(start.part(part), data, steps=0, anneal=1, order="none")
        return operations_of(next(path))

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the protocol's number of steps from where the tasks begin."""
        context = self.context
        start = self.begin(support, rng=rng, progress=None)
        if start.candidates:
            start = self._settle(start, support)
        steps = max(context.steps_at_test, context.curve_steps)
        path = StepsOnDemand(
            partial(self._test_states, start, support, steps=steps),
            headline=context.steps_at_test,
        )
        curve: list[Predictor] = [
            predictor(
                partial(self._predicted, path, step),
                support.x,
                transductive=context.queries_together,
            )
            for step in range(steps + 1)
        ]
        genotypes, n_params = start.genotypes, start.n_params
        if start.decode is not None:
            decoded, n_tasks = partial(self._decoded, path), len(support.x)
            genotypes = Later(lambda: decoded().genotypes, length=n_tasks)
            n_params = Later(lambda: decoded().n_params, length=n_tasks)
        return Adapted(
            predict=curve[context.steps_at_test],
            curve=curve[: context.curve_steps + 1],
            genotypes=genotypes,
            n_params=n_params,
            embedding=start.embedding,
        )

    def _test_states(self, start: Start, support: Labelled, *, steps: int) -> Iterator[Tested]:
        """What predicts after each step at meta-test."""
        for weights in self._test_path(start, support, steps=steps):
            decoded = None if start.decode is None else start.decode(weights)
            network = start if decoded is None else replace(start, mixture=decoded.mixture)
            yield Tested(network, weights, decoded)

    def _predicted(self, path: StepsOnDemand[Tested], step: int, x: Tensor) -> Tensor:
        """What the network predicts after some steps."""
        state = path.at(step)
        return self._outputs(state.network, state.weights, x)

    def _decoded(self, path: StepsOnDemand[Tested]) -> Decoded:
        """The architectures after the headline's steps."""
        decoded = path.at(self.context.steps_at_test).decoded
        assert decoded is not None
        return decoded

    @torch.no_grad()
    def trace(self, support: Labelled, *, rng: torch.Generator) -> Sequence[Mixture]:
        """The mixture before the first step and after each; none where it is not adapted."""
        start, steps = self.begin(support, rng=rng, progress=None), self.context.steps_at_test
        if not callable(start.mixture):
            return []
        path = self._test_path(start, support, steps=steps)
        return [
            start.mixture(weights, sharpness_at(max(0, step - 1), steps))
            for step, weights in enumerate(path)
        ]

    def _settle(self, start: Start, support: Labelled) -> Start:
        """Keep, per task, the candidate of the lowest support loss after adaptation."""
        steps = self.context.steps_at_test
        losses = []
        for candidate in start.candidates if len(start.candidates) > 1 else ():
            trial = replace(start, mixture=candidate.mixture)
            path = self._test_path(trial, support, steps=steps)
            losses.append(self._loss(trial, deque(path, maxlen=1).pop(), data=support))
        best = [0] * len(support.x)
        if losses:
            best = torch.stack(losses).nan_to_num(nan=torch.inf).argmin(dim=0).tolist()
        chosen = select(start.candidates, best)
        return replace(start, mixture=chosen.mixture, decode=lambda weights: chosen)

    def state_dict(self) -> dict[str, Any]:
        """Meta-learned weights and Adam's moments."""
        return self.outer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        self.outer.load_state_dict(state)

    def _test_path(self, start: Start, support: Labelled, *, steps: int) -> Iterator[Params]:
        """The path at meta-test. Of a searched network, the graphs of few tasks live at a time."""
        n_tasks, n_examples = support.x.shape[:2]
        divided = [slice(0, n_tasks)]
        if start.mixture:
            divided = parts(n_tasks, n_examples, self.context)
        paths = [
            self._path(
                start.part(part),
                Labelled(support.x[part], support.y[part]),
                steps=steps,
                anneal=self.context.steps_at_test,
                order="none",
            )
            for part in divided
        ]
        yield from map(joined, zip(*paths, strict=True))

    def _path(
        self,
        start: Start,
        support: Labelled,
        *,
        steps: int,
        anneal: int,
        order: Order | None = None,
    ) -> Iterator[Params]:
        """Adapt; the sharpness of a mixture rises over the first ``anneal`` steps."""
        losses = [
            partial(self._descended, start, data=support, sharpness=sharpness_at(step, anneal))
            for step in range(steps)
        ]
        return inner_path(
            losses,
            start.weights,
            steps=steps,
            lr=self.params.inner_lr,
            order=order or self.params.order,
            adapted=start.adapted,
            masks=start.masks,
            clip=self.params.inner_clip,
        )

    def _outputs(
        self, start: Start, weights: Params, x: Tensor, *, sharpness: float = 1.0
    ) -> Tensor:
        if callable(start.mixture):
            mixture = start.mixture(weights, sharpness)
            return self.space.forward(operations_of(weights), mixture, x)
        return self.space.forward(weights, start.mixture, x)

    def _descended(
        self, start: Start, weights: Params, *, data: Labelled, sharpness: float
    ) -> Tensor:
        """What the inner loop of each task descends: its loss, and the term of its logits."""
        loss = self._loss(start, weights, data=data, sharpness=sharpness)
        return loss if start.loss_term is None else loss + start.loss_term(weights, sharpness)

    def _loss(
        self,
        start: Start,
        weights: Params,
        *,
        data: Labelled,
        sharpness: float = 1.0,
        shots: int | None = None,
        log: QueryLog | None = None,
    ) -> Tensor:
        """One loss per task; K is that of the data where nothing else is said."""
        if shots is None:
            shots = data.y.shape[1] // self.context.shape.ways
        outputs = self._outputs(start, weights, data.x, sharpness=sharpness)
        if log is not None:
            log.note(outputs, data.y)
        return task_losses(
            outputs,
            data.y,
            kind=self.context.task.kind,
            reduction=self.params.reduction,
            shots=shots,
        )


def leaves(weights: Params, device: torch.device, *, prefix: str = "") -> Params:
    """Put weights on a device as leaves that require gradients, under prefixed names."""
    return {f"{prefix}{name}": w.to(device).requires_grad_() for name, w in weights.items()}
