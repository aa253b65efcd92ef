"""Predictors that use the support set alone and are not meta-trained: the floor of a table.

A meta-learner that is not better than these has learned nothing that the support set does not say.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from metabench import Adapted, Frozen, Labelled, LearnerContext, Predictor, TaskBatch


class NoParams(Frozen):
    """No parameters."""


class GaussianProcessParams(Frozen):
    """Parameters of :class:`GaussianProcess`."""

    shortest: float = Field(default=0.1, gt=0, description="Shortest length scale that is tried.")
    longest: float = Field(default=10.0, gt=0, description="Longest length scale that is tried.")
    scales: int = Field(default=16, ge=1, le=1000, description="How many length scales are tried.")
    noise: tuple[float, ...] = Field(
        default=(1e-4, 1e-2, 1e-1),
        min_length=1,
        description="Noise variances that are tried, as parts of the signal's variance.",
    )


class WithoutTraining(ABC):
    """A learner without weights: a meta-step only scores the batch.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        self.context = context
        self.params: Any = context.params

    @abstractmethod
    def fit(self, support: Labelled) -> Predictor:
        """The predictor of each task, from its support set."""

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Learn nothing; the harness plans no meta-step for a learner that does not train."""
        return {"loss": 0.0}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Fit the support set of each task."""
        return Adapted(predict=self.fit(support))

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that there was nothing."""
        assert not state


class SupportMean(WithoutTraining):
    """The mean of the support targets, wherever it is asked."""

    def fit(self, support: Labelled) -> Predictor:
        """``[tasks, q, outputs]``, the same for every query."""
        mean = support.y.mean(dim=1, keepdim=True)
        return lambda x: mean.expand(-1, x.shape[1], -1)


class NearestNeighbor(WithoutTraining):
    """What the nearest support example says, by Euclidean distance of the inputs.

    Class scores are minus the squared distance to the nearest example of the class.
    """

    def fit(self, support: Labelled) -> Predictor:
        """Targets ``[tasks, q, outputs]``, or class scores ``[tasks, q, ways]``."""
        points, outputs = support.x.flatten(2), self.context.task.outputs

        def predict(x: Tensor) -> Tensor:
            distances = squared_distances(x.flatten(2), points)
            if self.context.task.kind == "regression":
                nearest = distances.argmin(dim=2, keepdim=True).expand(-1, -1, outputs)
                return support.y.gather(1, nearest)
            other = support.y.unsqueeze(1) != torch.arange(outputs, device=x.device).view(1, -1, 1)
            of_class = distances.unsqueeze(2).masked_fill(other.unsqueeze(1), math.inf)
            return -of_class.amin(dim=3)

        return predict


class NearestCentroid(WithoutTraining):
    """The class whose mean support example is nearest: prototypes of the raw inputs."""

    def fit(self, support: Labelled) -> Predictor:
        """Minus squared distances to the means of the classes, ``[tasks, q, ways]``."""
        ways = self.context.task.outputs
        member = torch.nn.functional.one_hot(support.y, ways).to(support.x).transpose(1, 2)
        means = member @ support.x.flatten(2) / member.sum(dim=2, keepdim=True)
        return lambda x: -squared_distances(x.flatten(2), means)


class GaussianProcess(WithoutTraining):
    """Gaussian-process regression with a squared-exponential kernel (Rasmussen and Williams 2006).

    Length scale and relative noise are those of the highest marginal likelihood of the support set
    (equation 2.30) on a grid, task by task and output by output; mean and signal variance are the
    support's mean and the variance that maximizes the likelihood. Predictions are equation 2.25.
    """

    def fit(self, support: Labelled) -> Predictor:
        """The posterior mean, ``[tasks, q, outputs]``."""
        p, (x, y) = self.params, (support.x.flatten(2).double(), support.y.double())
        n, device = x.shape[1], x.device
        low, high = math.log(p.shortest), math.log(p.longest)
        lengths = torch.linspace(low, high, p.scales, dtype=x.dtype, device=device).exp()
        noises = torch.tensor(p.noise, dtype=x.dtype, device=device)
        grid = torch.cartesian_prod(lengths, noises)  # [grid, 2]
        mean = y.mean(dim=1, keepdim=True)
        kernels = _kernel(x, x, grid[:, 0])  # [tasks, grid, n, n]
        kernels = kernels + torch.diag_embed(grid[:, 1:].expand(-1, n))
        roots = torch.linalg.cholesky(kernels)
        residuals = (y - mean).unsqueeze(1).expand(-1, len(grid), -1, -1)
        weights = torch.cholesky_solve(residuals, roots)  # [tasks, grid, n, outputs]
        # With the best signal variance the likelihood is -(n log(r' K^-1 r / n) + log det K) / 2.
        fit = (residuals * weights).sum(dim=2).clamp(min=torch.finfo(x.dtype).tiny)
        volume = 2 * roots.diagonal(dim1=2, dim2=3).log().sum(dim=2)
        best = (n * (fit / n).log() + volume.unsqueeze(2)).argmin(dim=1)  # [tasks, outputs]
        chosen = weights.gather(1, best[:, None, None, :].expand(-1, 1, n, -1)).squeeze(1)
        scales = grid[:, 0][best]

        def predict(queries: Tensor) -> Tensor:
            squares = squared_distances(queries.flatten(2).double(), x).unsqueeze(1)
            kernel = (-squares / (2 * scales.square()[:, :, None, None])).exp()
            found = torch.einsum("toqn,tno->tqo", kernel, chosen) + mean
            return found.to(queries.dtype)

        return predict


def no_steps(params: Frozen) -> int:
    """No inner steps are taken at meta-test."""
    return 0


def squared_distances(x: Tensor, points: Tensor) -> Tensor:
    """Squared Euclidean distances of ``[tasks, q, d]`` and ``[tasks, n, d]``: ``[tasks, q, n]``."""
    return torch.cdist(x, points, compute_mode="donot_use_mm_for_euclid_dist").square()


def _kernel(x: Tensor, points: Tensor, lengths: Tensor) -> Tensor:
    squares = squared_distances(x, points).unsqueeze(1)
    return (-squares / (2 * lengths.square().view(1, -1, 1, 1))).exp()
