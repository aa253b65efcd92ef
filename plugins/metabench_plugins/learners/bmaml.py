"""Bayesian MAML (Yoon et al., NeurIPS 2018): particles, SVGD and the chaser loss.

A particle is all weights of a network, with log lambda (precision of the weights) and, in
regression, log gamma (precision of the noise). Its log posterior on data D is
``sum_D [log gamma - gamma (y - f(x))^2] / 2 + [n log lambda - lambda |w|^2] / 2`` and the logs of
Gamma priors on both precisions. The chaser takes SVGD steps on the support set, the leader goes on
from there on support and query; the meta-loss is the squared distance of the chaser from the
leader, which is held constant.

In classification a particle is the last layer, on features that all share; the likelihood is that
of the softmax.

The log posterior is multiplied by one number, ``2 / (n gamma_0)`` in regression, ``1 / K`` or
``1 / n`` in classification, and the repulsion with it. This sets the unit of the step and nothing
else: a single particle without priors takes MAML's steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    SKIPPED,
    Adapted,
    Labelled,
    LearnerContext,
    Params,
    TaskBatch,
    UsageError,
    is_norm,
    nn,
    predictor,
    share,
    task_losses,
)
from metabench_plugins.learners.parts.gradient_learner import GradientParams, leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.outer_gradient import gradients_by_parts
from metabench_plugins.learners.parts.over_ranks import over_ranks, own_parts
from metabench_plugins.learners.parts.query_log import QueryLog
from metabench_plugins.learners.parts.schedules import floor
from metabench_plugins.learners.parts.split_batch import tasks_of
from metabench_plugins.learners.parts.svgd import svgd_matrices
from metabench_plugins.learners.parts.task_memory import TaskMemory


class BmamlParams(GradientParams):
    """Parameters of BMAML; the inner loop is the chaser's."""

    particles: int = Field(default=5, ge=1, le=100, description="Number of particles per task.")
    leader_steps: int = Field(
        default=1,
        ge=1,
        le=100,
        description="SVGD steps on support and query set by which the leader goes beyond the "
        "chaser.",
    )
    meta_loss: Literal["chaser", "query"] = Field(
        default="chaser",
        description="chaser: squared distance of the chaser from the leader; query: query loss "
        "of the mean prediction.",
    )
    prior: Literal["gamma", "flat"] = Field(
        default="gamma",
        description="gamma: Gamma priors on the precisions of weights and noise; flat: no "
        "prior, and constant noise.",
    )
    learn_precisions: bool = Field(
        default=True, description="Whether the outer loop learns the initial precisions."
    )
    noise: float = Field(
        default=0.01,
        gt=0,
        le=100,
        description="Initial variance of the noise in regression, 1 / gamma_0.",
    )
    noise_shape: float = Field(
        default=2.0, gt=0, description="Shape a of the Gamma prior on the noise precision gamma."
    )
    noise_rate: float = Field(
        default=0.2, gt=0, description="Rate b of the Gamma prior on the noise precision gamma."
    )
    weight_shape: float = Field(
        default=2.0, gt=0, description="Shape a of the Gamma prior on the weight precision lambda."
    )
    weight_rate: float = Field(
        default=2.0, gt=0, description="Rate b of the Gamma prior on the weight precision lambda."
    )
    outer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on Adam's learning rate after each hundredth of meta-training; 1 "
        "keeps it constant.",
    )


class Particles(NamedTuple):
    """Networks of each task, and the logs of their precisions.

    Attributes:
        weights: ``[tasks, M, d]``, all weights of a particle in a row.
        logs: ``[tasks, M, k]``: log lambda, and in regression log gamma; k = 0 without a prior.
    """

    weights: Tensor
    logs: Tensor


class Bmaml:
    """The learner. Folded into the task axis, particles are networks like any others.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self.params: BmamlParams = context.params
        self._space = context.space
        p, regression = self.params, context.task.kind == "regression"
        networks = [self._space.init_weights(rng=context.rng) for _ in range(p.particles)]
        own = _particle_names(networks[0], context, adapt_norm=p.adapt_norm)
        self._shapes = {name: networks[0][name].shape for name in own}
        rows = torch.stack([torch.cat([n[name].flatten() for name in own]) for n in networks])
        if (rows[1:] == rows[0]).all(dim=1).any():
            raise UsageError(
                "Particles of bmaml start from equal weights, and SVGD never separates these.",
                hint="A file of weights is one network: start without it, or with "
                "--set learner.particles=1.",
            )
        logs = [0.0, -math.log(p.noise)] if regression else [0.0]
        start = torch.tensor([logs if p.prior == "gamma" else []] * p.particles)
        self._particles = leaves({"weights": rows, "logs": start}, context.device)
        shared = {name: w for name, w in networks[0].items() if name not in self._shapes}
        self._shared = leaves(shared, context.device)
        learned = {"particles.weights": self._particles["weights"]}
        if p.prior == "gamma" and p.learn_precisions:
            learned["particles.logs"] = self._particles["logs"]
        group = Group(learned | self._shared, p.outer_lr, p.max_norm)
        self.outer = OuterAdam([group], clip=p.clip, skip_above=p.skip_above)
        self._memory = TaskMemory(context.device)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update; what is logged of queries is of the mean prediction."""
        p, chaser = self.params, self.params.meta_loss == "chaser"
        losses: list[Tensor] = []
        log = QueryLog(self._context.task.kind)

        def descended(start: Params, part: slice) -> Tensor:
            own = self._losses(Particles(**start), tasks_of(tasks, part), chaser=chaser, log=log)
            losses.append(own.detach())
            return own

        weights = list(self.outer.weights.values())
        gradients = gradients_by_parts(
            descended,
            share(self._particles, len(tasks)),
            weights,
            parts=self.parts_of(tasks),
            factor=1 / len(tasks),
        )
        means = {"loss": torch.cat(losses).mean(), **log.means()}
        gradients, means = over_ranks(
            self._context.ranks, gradients, weights, means, n_tasks=len(tasks)
        )
        loss = means["loss"]
        rate = p.outer_decay ** floor(100 * progress)
        skipped = self.outer.apply(gradients, rate=rate).to(loss.dtype)
        return {**means, SKIPPED: skipped}

    def _losses(self, start: Particles, tasks: TaskBatch, *, chaser: bool, log: QueryLog) -> Tensor:
        """What each task adds to the outer loss, ``[tasks]``; predictions for queries are noted."""
        p = self.params
        support, query = self._as_features(tasks.support), self._as_features(tasks.query)
        shots = support.y.shape[1] // self._context.shape.ways
        *_, end = self._path(support, p.inner_steps, start=start, create_graph=p.order == "second")
        if not chaser:
            outputs = self._predict(end, query.x)
            log.note(outputs, query.y)
            return self._query_losses(outputs, query.y, shots=shots)
        with torch.no_grad():
            seen = Labelled(
                torch.cat([support.x, query.x], dim=1), torch.cat([support.y, query.y], dim=1)
            )
            leader = end
            for _ in range(p.leader_steps):
                leader = self._step(leader, seen)
            log.note(self._predict(end, query.x), query.y)
        return (end.weights - leader.weights).square().sum(dim=(1, 2))

    def parts_of(self, tasks: TaskBatch) -> list[slice]:
        """This rank's tasks that run at a time in an outer gradient, parts of about one size."""
        p = self.params
        most = self._memory.tasks_at_once(
            self._space,
            self._first_weights,
            tasks,
            steps=p.inner_steps,
            second=p.order == "second",
            networks=p.particles,
        )
        return own_parts(self._context.ranks, len(tasks), most)

    def _first_weights(self) -> Params:
        first = Particles(*(rows[None, :1] for rows in self._particles.values()))
        return self._networks(first) | self._as_one_task(self._shared)

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the chaser's steps; the prediction is the mean over particles."""
        context = self._context
        steps = max(context.steps_at_test, context.curve_steps)
        curve = [
            predictor(self._forward(particles), support.x, transductive=context.queries_together)
            for particles in self._path(self._as_features(support), steps)
        ]
        return Adapted(predict=curve[context.steps_at_test], curve=curve[: context.curve_steps + 1])

    def state_dict(self) -> dict[str, Any]:
        """Particles, shared weights and Adam's moments."""
        return self.outer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        self.outer.load_state_dict(state)

    def _path(
        self,
        data: Labelled,
        steps: int,
        *,
        start: Particles | None = None,
        create_graph: bool = False,
    ) -> Iterator[Particles]:
        """Yield the particles after 0, 1, ..., ``steps`` steps, at first those all tasks share."""
        particles = start or Particles(**share(self._particles, len(data.x)))
        yield particles
        for _ in range(steps):
            particles = self._step(particles, data, create_graph=create_graph)
            yield particles

    def _step(
        self, particles: Particles, data: Labelled, *, create_graph: bool = False
    ) -> Particles:
        """One SVGD step of all tasks on the log posterior, times :meth:`_posterior_factor`."""
        inputs = particles
        if not create_graph:
            inputs = Particles(*(part.detach().requires_grad_() for part in particles))
        with torch.enable_grad(), nn.differentiated_twice(on=create_graph):
            gradients = torch.autograd.grad(
                self._log_likelihood(inputs, data).sum(),
                inputs,
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        if (bound := self.params.inner_clip) is not None:
            gradients = tuple(g.clamp(-bound, bound) for g in gradients)
        weights, logs = particles
        products = _gram(weights)
        squares = products.diagonal(dim1=1, dim2=2)
        unit, lr = self._posterior_factor(data), self.params.inner_lr
        a, b = svgd_matrices(products + logs @ logs.mT, repulsion=unit)
        if self.params.prior == "gamma":
            # The prior's gradient is -lambda w on weights: one more matrix beside b.
            lambdas = logs[..., 0].exp()
            log_gradients = gradients[1] + unit * self._prior_gradients(logs, squares)
            logs = logs + lr * (a @ log_gradients + b @ logs)
            b = b - unit * a * lambdas.unsqueeze(1)
        identity = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        weights = torch.baddbmm((identity + lr * b) @ weights, lr * a, gradients[0])
        return Particles(weights, logs)

    def _log_likelihood(self, particles: Particles, data: Labelled) -> Tensor:
        """``[tasks, M]``, up to constants and times :meth:`_posterior_factor`."""
        n_particles = particles.weights.shape[1]
        losses = task_losses(
            self._outputs(particles, data.x).flatten(0, 1),
            data.y.repeat_interleave(n_particles, dim=0),
            kind=self._context.task.kind,
            reduction=self.params.reduction,
            shots=data.y.shape[1] // self._context.shape.ways,
        ).view(-1, n_particles)
        if particles.logs.shape[2] < 2:
            return -losses
        log_gamma = particles.logs[..., 1]
        return self.params.noise * (log_gamma - log_gamma.exp() * losses)

    def _prior_gradients(self, logs: Tensor, squares: Tensor) -> Tensor:
        """Of the log prior with respect to ``logs``, given the squared norms of the weights."""
        p = self.params
        n_weights = sum(shape.numel() for shape in self._shapes.values())
        values = logs.exp()
        gradients = [
            n_weights / 2 + p.weight_shape - values[..., 0] * (squares / 2 + p.weight_rate)
        ]
        if logs.shape[2] == 2:
            gradients.append(p.noise_shape - p.noise_rate * values[..., 1])
        return torch.stack(gradients, dim=2)

    def _posterior_factor(self, data: Labelled) -> float:
        """The factor of the log posterior."""
        if self._context.task.kind == "regression":
            return 2 * self.params.noise / data.y[0].numel()
        n = data.y.shape[1]
        return 1 / (n // self._context.shape.ways if self.params.reduction == "per_shot" else n)

    def _as_features(self, data: Labelled) -> Labelled:
        """Put features in the place of images, where they are all that particles see."""
        return Labelled(self._features(data.x), data.y)

    def _features(self, x: Tensor) -> Tensor:
        if self._context.task.kind == "regression":
            return x
        return self._space.forward(self._as_one_task(self._shared), {}, x)

    def _outputs(self, particles: Particles, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, ...]``, features in classification, to ``[tasks, M, n, outputs]``."""
        n_tasks, n_particles = particles.weights.shape[:2]
        weights = self._networks(particles)
        x = x.repeat_interleave(n_particles, dim=0)
        if self._context.task.kind == "regression":
            y = self._space.forward(weights | self._as_one_task(self._shared), {}, x)
        else:
            y = nn.linear(x, *weights.values())
        return y.view(n_tasks, n_particles, *y.shape[1:])

    def _networks(self, particles: Particles) -> Params:
        """The weights of each particle by name, ``[tasks M, *shape]``."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = torch.split(particles.weights.flatten(0, 1), sizes, dim=1)
        return {
            name: part.view(-1, *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _forward(self, particles: Particles) -> Any:
        return lambda x: self._predict(particles, self._features(x))

    def _predict(self, particles: Particles, x: Tensor) -> Tensor:
        """Mean over particles ``[tasks, n, outputs]``, in classification the log of that mean."""
        outputs = self._outputs(particles, x)
        if self._context.task.kind == "regression":
            return outputs.mean(dim=1)
        return outputs.log_softmax(dim=-1).logsumexp(dim=1) - math.log(outputs.shape[1])

    def _query_losses(self, outputs: Tensor, y: Tensor, *, shots: int) -> Tensor:
        return task_losses(
            outputs,
            y,
            kind=self._context.task.kind,
            reduction=self.params.reduction,
            shots=shots,
        )

    @staticmethod
    def _as_one_task(weights: Params) -> Params:
        return {name: weight[None] for name, weight in weights.items()}


def _particle_names(weights: Params, context: LearnerContext, *, adapt_norm: bool) -> list[str]:
    """Which weights each particle has of its own; the rest is shared and not adapted."""
    if context.task.kind == "regression":
        return [name for name in weights if adapt_norm or not is_norm(name)]
    assert context.space is not None
    *_, head = layered(context.space, "bmaml").layers()
    return [f"{head}.weight", f"{head}.bias"]


def _gram(rows: Tensor) -> Tensor:
    """Inner products of rows, ``[tasks, M, M]``; differentiable once.

    The gradient of ``rows @ rows.mT`` would be computed twice, once of them transposed.
    """
    half = rows @ rows.detach().mT
    return half + half.mT - half.detach()
