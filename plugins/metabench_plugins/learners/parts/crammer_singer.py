"""The multi-class SVM of Crammer and Singer (2001) on many tasks at once, with its derivative.

With the Gram matrix K of n support examples and their one-hot labels Y, ``A [n, ways]`` minimizes

    1/2 tr(A' (K + I) A) - tr(Y' A)   subject to   A <= C Y and A 1 = 0

(Lee et al., CVPR 2019; the identity is from their code). Class m has the weights ``X' a_m``.

The solver is a primal-dual interior point with the start of Mattingley and Boyd (2012) and the
steps of Mehrotra (1992). The bounds make the Newton matrix block-diagonal: class m has
``K + I + diag(d_m)``, and only the sums over classes couple the blocks. A step factorizes them and
their Schur complement, all of size n x n. The derivative is one more solve at the solution, by the
implicit function theorem (Amos and Kolter, ICML 2017). Nothing here waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metabench import UsageError

TO_THE_BOUNDARY = 0.999
"""Share of the longest step that keeps slacks and multipliers positive."""

_TINY = 1e-30
"""Least divisor, so that a converged task stays finite."""


def crammer_singer(gram: Tensor, members: Tensor, *, bound: float, iterations: int) -> Tensor:
    """Solve the dual of each task's SVM; differentiable once with respect to the Gram matrix.

    >>> gram = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    >>> crammer_singer(gram, torch.eye(2)[None], bound=0.1, iterations=15).round(decimals=4)
    tensor([[[ 0.1000, -0.1000],
             [-0.1000,  0.1000]]])

    Args:
        gram: ``[tasks, n, n]``, symmetric and positive semidefinite.
        members: ``[tasks, n, ways]``, 1 where an example is of a class, else 0.
        bound: C, above 0.
        iterations: points that the solver looks at, the start among them; the one of the smallest
            residuals is the solution.

    Returns:
        A, ``[tasks, n, ways]``, in the precision of ``gram``.

    Raises:
        UsageError: in a backward pass whose gradient shall be differentiated again.
    """
    solution: Tensor = _Solution.apply(gram, members, bound, iterations)  # type: ignore[no-untyped-call]
    return solution


class _Solution(torch.autograd.Function):
    """The solution, and its derivative by the implicit function theorem."""

    @staticmethod
    def forward(ctx: Any, gram: Tensor, members: Tensor, bound: float, iterations: int) -> Tensor:
        problem = _Problem(gram.double(), members.double(), bound)
        point = problem.solve(iterations)
        a, slack, multipliers, _ = problem.split(point)
        ctx.save_for_backward(problem.gram, a, multipliers / slack.clamp_min(_TINY))
        return a.to(gram.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UsageError(
                "The SVM head has no second derivative, and its gradient cannot be "
                "differentiated again.",
                hint="Use a first-order outer loop, or the ridge head.",
            )
        gram, a, ratio = ctx.saved_tensors
        back, _ = _NewtonMatrix(gram, ratio).solve(gradient.double(), torch.zeros_like(a[:, :, :1]))
        return -(back @ a.mT).to(gradient.dtype), None, None, None


class _Problem:
    """The equations of the optimum, and the interior point that solves them.

    A point is ``[tasks, n, 3 ways + 1]``: A, the slacks ``C Y - A`` and multipliers of the bounds,
    and the multipliers of the sums.
    """

    def __init__(self, gram: Tensor, labels: Tensor, bound: float) -> None:
        self.gram = gram + torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        self._labels = labels
        self._limit = bound * labels
        self._sizes = [labels.shape[2]] * 3 + [1]

    def split(self, point: Tensor) -> tuple[Tensor, ...]:
        """A, slacks, multipliers of the bounds and of the sums."""
        return torch.split(point, self._sizes, dim=2)

    def solve(self, iterations: int) -> Tensor:
        """Return, of so many points, each task's one of the smallest residuals."""
        point = best = self._start()
        least = self._distance(point)
        for _ in range(iterations - 1):
            point = self._step(point)
            distance = self._distance(point)
            better = distance < least  # it is not where a number has overflowed
            least = torch.where(better, distance, least)
            best = torch.where(better, point, best)
        return best

    def _start(self) -> Tensor:
        """The optimum with squares of the slacks as a penalty, shifted to where it is positive."""
        newton = _NewtonMatrix(self.gram, torch.ones_like(self._labels))
        a, sums = newton.solve(self._labels + self._limit, torch.zeros_like(self._labels[:, :, :1]))
        beyond = a - self._limit
        return torch.cat([a, _positive(-beyond), _positive(beyond), sums], dim=2)

    def _residuals(self, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is not 0 yet in stationarity, in the bounds and in the sums."""
        a, slack, multipliers, sums = self.split(point)
        stationarity = self.gram @ a - self._labels + multipliers + sums
        return stationarity, a + slack - self._limit, a.sum(dim=2, keepdim=True)

    def _gap(self, point: Tensor) -> Tensor:
        """The mean product of slacks and multipliers, ``[tasks, 1, 1]``."""
        _, slack, multipliers, _ = self.split(point)
        return (slack * multipliers).mean(dim=(1, 2), keepdim=True)

    def _distance(self, point: Tensor) -> Tensor:
        """How far a point is from the optimum, ``[tasks, 1, 1]``."""
        residuals = torch.cat(self._residuals(point), dim=2)
        return self._gap(point) + residuals.square().mean(dim=(1, 2), keepdim=True).sqrt()

    def _step(self, point: Tensor) -> Tensor:
        """Predict without centering, correct with it, and stay inside the bounds."""
        _, slack, multipliers, _ = self.split(point)
        stationarity, excess, sums = self._residuals(point)
        slack = slack.clamp_min(_TINY)
        ratio = multipliers / slack
        newton = _NewtonMatrix(self.gram, ratio)

        def direction(products: Tensor) -> Tensor:
            """Where residuals, and products of slacks and multipliers, fall by what they are."""
            of_a, of_sums = newton.solve(products / slack - ratio * excess - stationarity, -sums)
            of_slack = -excess - of_a
            of_multipliers = -(products / slack) - ratio * of_slack
            return torch.cat([of_a, of_slack, of_multipliers, of_sums], dim=2)

        products = slack * multipliers
        predicted = direction(products)
        gap, after = (
            self._gap(point),
            self._gap(point + self._longest(point, predicted) * predicted),
        )
        centered = (after / gap.clamp_min(_TINY)) ** 3 * gap
        _, of_slack, of_multipliers, _ = self.split(predicted)
        corrected = direction(products + of_slack * of_multipliers - centered)
        length = self._longest(point, corrected, share=TO_THE_BOUNDARY)
        return point + length * corrected

    def _longest(self, point: Tensor, direction: Tensor, *, share: float = 1.0) -> Tensor:
        """A share of the longest step that keeps slacks and multipliers positive, at most 1."""
        ways = self._sizes[0]
        value, change = (part[:, :, ways : 3 * ways] for part in (point, direction))
        lengths = torch.where(change < 0, -value / change, torch.inf)
        longest: Tensor = share * lengths.amin(dim=(1, 2), keepdim=True)
        return longest.clamp_max(1.0)


class _NewtonMatrix:
    """The equations of a step, after the bounds are eliminated.

    Args:
        gram: ``K + I``, ``[tasks, n, n]``.
        ratio: what the bounds add to the diagonals, ``[tasks, n, ways]``.
    """

    def __init__(self, gram: Tensor, ratio: Tensor) -> None:
        factors = torch.linalg.cholesky_ex(gram.unsqueeze(1) + torch.diag_embed(ratio.mT)).L
        identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        self._inverses = torch.linalg.solve_triangular(factors, identity, upper=False)
        stacked = self._inverses.flatten(1, 2)
        self._schur = torch.linalg.cholesky_ex(stacked.mT @ stacked).L

    def solve(self, right: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Solve ``M_m u_m + v = right_m`` for each class m, with ``u_1 + u_2 + ... = sums``.

        Args:
            right: ``[tasks, n, ways]``.
            sums: ``[tasks, n, 1]``.

        Returns:
            u ``[tasks, n, ways]`` and v ``[tasks, n, 1]``.
        """
        free = self._apart(right.mT.unsqueeze(3))
        v = torch.cholesky_solve(free.sum(dim=1) - sums, self._schur)
        u = free - self._apart(v.unsqueeze(1))
        return u.squeeze(3).mT, v

    def _apart(self, columns: Tensor) -> Tensor:
        """Solve for each class by itself; ``columns`` is ``[tasks, ways or 1, n, 1]``."""
        solved: Tensor = self._inverses.mT @ (self._inverses @ columns)
        return solved


def _positive(values: Tensor) -> Tensor:
    """The values of a task as they are, or shifted so that the least is 1 if it is negative."""
    least: Tensor = values.amin(dim=(1, 2), keepdim=True)
    return torch.where(least < 0, values - least + 1, values)
