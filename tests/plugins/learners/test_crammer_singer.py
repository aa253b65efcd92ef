"""The SVM of Crammer and Singer: known solutions, optimality, and its derivative."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench import UsageError
from metabench_plugins.learners.parts.crammer_singer import crammer_singer

EXAMPLES = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 1.0], [1.0, 0.25]]]).double()
CLASSES = functional.one_hot(torch.tensor([[0, 1, 1, 0]])).double()
QUERIES = torch.tensor([[[0.3, 0.9], [1.0, 1.0]]]).double()


def drawn(
    *, shots: int, ways: int = 5, features: int = 40, tasks: int = 3, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Support examples ``[tasks, n, features]`` around class means, and their classes."""
    rng = torch.Generator().manual_seed(seed)
    means = torch.randn(tasks, ways, features, generator=rng, dtype=torch.float64)
    x = means.repeat(1, shots, 1) * 0.2
    x += 0.2 * torch.randn(x.shape, generator=rng, dtype=torch.float64)
    y = functional.one_hot(torch.arange(ways).repeat(shots)).double().expand(tasks, -1, -1)
    return x, y


def solved(x: Tensor, y: Tensor, *, bound: float = 0.1, iterations: int = 30) -> Tensor:
    return crammer_singer(x @ x.mT, y, bound=bound, iterations=iterations)


def violations(x: Tensor, y: Tensor, a: Tensor, *, bound: float) -> Tensor:
    """By how much A misses the conditions of the optimum, each of which is 0 there.

    In a row some bound is inactive, for the sum is 0 and C is not. The multiplier of the sum is
    then the least of the row, and the multipliers of the bounds are what is above it.
    """
    left = y - x @ (x.mT @ a) - a
    multipliers = left - left.amin(dim=2, keepdim=True)
    slack = bound * y - a
    return torch.stack(
        [
            (multipliers * slack).abs().max(),
            (-slack).clamp_min(0).max(),
            a.sum(dim=2).abs().max(),
        ]
    )


@pytest.mark.parametrize(
    ("bound", "first_class", "objective"),
    [
        (0.1, [0.1, -0.1, -0.1, 0.1], -0.306875),
        (10.0, [0.185524, -0.137271, -0.294509, 0.276206], -0.446755),
    ],
)
def test_four_examples_of_two_classes(
    bound: float, first_class: list[float], objective: float
) -> None:
    a = solved(EXAMPLES, CLASSES, bound=bound)[0]
    expected = torch.tensor(first_class).double()
    torch.testing.assert_close(a, torch.stack([expected, -expected], 1), atol=1e-6, rtol=0)
    x, y = EXAMPLES[0], CLASSES[0]
    value = ((x.T @ a).square().sum() + a.square().sum()) / 2 - (a * y).sum()
    assert float(value) == pytest.approx(objective, abs=1e-6)


def test_the_queries_of_four_examples() -> None:
    logits = QUERIES @ EXAMPLES.mT @ solved(EXAMPLES, CLASSES, bound=10.0)
    expected = torch.tensor([-0.232113, -0.048253]).double()
    torch.testing.assert_close(logits[0, :, 0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shots", [1, 5, 15])
def test_two_classes_within_the_bounds_are_a_ridge_regression(shots: int) -> None:
    """Half of ``(K + I)^-1 s`` with s = +1 and -1."""
    x, y = drawn(shots=shots, ways=2)
    x = x / shots  # the margins of many examples of large norm would be active
    signs = y[:, :, 0] - y[:, :, 1]
    identity = torch.eye(2 * shots, dtype=torch.float64)
    expected = torch.linalg.solve(x @ x.mT + identity, signs) / 2
    assert float((signs * expected).min()) > 0
    found = solved(x, y, bound=10.0)
    torch.testing.assert_close(found[:, :, 0], expected, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(found[:, :, 1], -expected, atol=1e-10, rtol=1e-8)


def test_a_small_bound_gives_all_examples_the_same_weight() -> None:
    x, y = drawn(shots=4, ways=2)
    signs = y[:, :, :1] - y[:, :, 1:]
    expected = 1e-3 * torch.cat([signs, -signs], dim=2)
    torch.testing.assert_close(solved(x, y, bound=1e-3), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shots", [1, 5, 15])
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("bound", [0.1, 10.0])
def test_the_solution_is_the_optimum(shots: int, scale: float, bound: float) -> None:
    """At 25, 125 and 375 dual variables, for embeddings of small and of large norm."""
    x, y = drawn(shots=shots)
    found = violations(scale * x, y, solved(scale * x, y, bound=bound), bound=bound)
    assert float(found.max()) < 1e-10


def test_the_iterations_of_meta_training_reach_the_optimum() -> None:
    x, y = drawn(shots=5)
    found = violations(x, y, solved(x, y, iterations=15), bound=0.1)
    assert float(found.max()) < 1e-6
    early = violations(x, y, solved(x, y, iterations=3), bound=0.1)
    assert float(early.max()) > 1e-6


def test_iterations_after_convergence_change_nothing() -> None:
    x, y = drawn(shots=5)
    torch.testing.assert_close(
        solved(x, y, iterations=100), solved(x, y, iterations=30), atol=1e-14, rtol=0
    )


def test_the_derivative_is_that_of_finite_differences() -> None:
    """Where some bounds are active and some are not, and none is about to change."""
    x, y = drawn(shots=3, ways=4, features=5, tasks=1, seed=1)
    bound = 0.15
    a = solved(x, y, bound=bound)
    left = y - x @ (x.mT @ a) - a
    multipliers, slack = left - left.amin(dim=2, keepdim=True), bound * y - a
    assert 0.1 < float((slack < 1e-9).double().mean()) < 0.7
    assert float(torch.maximum(multipliers, slack).min()) > 1e-3

    x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: solved(x, y, bound=bound, iterations=20), (x,), eps=1e-6, atol=1e-7, rtol=1e-5
    )


def test_the_gradient_cannot_be_differentiated_again() -> None:
    x, y = drawn(shots=1)
    x.requires_grad_()
    with pytest.raises(UsageError, match="no second derivative") as raised:
        torch.autograd.grad(solved(x, y).sum(), x, create_graph=True)
    assert "ridge" in str(raised.value.hint)


def test_the_order_of_the_examples_does_not_matter() -> None:
    x, y = drawn(shots=3)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(solved(x[:, order], y[:, order]), solved(x, y)[:, order])


def test_permuting_the_classes_permutes_the_solution() -> None:
    x, y = drawn(shots=3)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(solved(x, y[:, :, order]), solved(x, y)[:, :, order])


def test_tasks_are_solved_apart() -> None:
    x, y = drawn(shots=2)
    mixed = torch.cat([x[:1], 100 * x[1:]])
    torch.testing.assert_close(solved(mixed, y)[:1], solved(x[:1], y[:1]))


def test_single_precision_in_and_out() -> None:
    x, y = drawn(shots=5)
    found = solved(x.float(), y.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, solved(x, y).float(), atol=1e-5, rtol=0)


def test_nothing_waits_for_the_device() -> None:
    """A tensor without data cannot be waited for: asking for one of its numbers raises."""
    x = torch.empty(2, 6, 9, device="meta", requires_grad=True)
    a = solved(x, torch.empty(2, 6, 3, device="meta"))
    (gradient,) = torch.autograd.grad(a.sum(), x)
    assert (a.shape, gradient.shape) == ((2, 6, 3), x.shape)
