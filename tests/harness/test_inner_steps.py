"""The inner loop against one task at a time, and what each order lets an outer gradient see."""

import pytest
import torch
from torch import Tensor

from metabench.conformance.purity import fake_accelerator
from metabench.inner_steps import inner_loop, inner_path, is_norm, share, task_gradients
from metabench.nn.transduction import predictor
from metabench.plugin.contracts.architecture import Params

N_TASKS, LR = 3, 0.1


@pytest.fixture
def weights() -> Params:
    rng = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(4, 2, generator=rng, dtype=torch.float64).requires_grad_(),
        "b": torch.randn(2, generator=rng, dtype=torch.float64).requires_grad_(),
        "unused": torch.randn(5, generator=rng, dtype=torch.float64).requires_grad_(),
    }


@pytest.fixture
def x() -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(N_TASKS, 6, 4, generator=rng, dtype=torch.float64)


def losses(weights: Params, x: Tensor) -> Tensor:
    return (x @ weights["a"] + weights["b"].unsqueeze(1)).tanh().square().sum((1, 2))


def test_share_repeats_without_copying(weights: Params) -> None:
    shared = share(weights, N_TASKS)
    assert shared["a"].shape == (N_TASKS, 4, 2)
    assert shared["a"].stride(0) == 0
    assert all(torch.equal(shared["a"][t], weights["a"]) for t in range(N_TASKS))


def test_one_gradient_of_the_sum_is_each_tasks_own(weights: Params, x: Tensor) -> None:
    gradients = task_gradients(lambda w: losses(w, x), share(weights, N_TASKS), scale=-2.0)
    assert set(gradients) == {"a", "b"}
    for t in range(N_TASKS):
        alone = losses(share(weights, 1), x[t : t + 1]).sum()
        for name, gradient in gradients.items():
            (expected,) = torch.autograd.grad(alone, weights[name], retain_graph=True)
            torch.testing.assert_close(gradient[t], -2 * expected, rtol=1e-12, atol=1e-12)
    assert not gradients["a"].requires_grad


@pytest.mark.parametrize("order", ["second", "first", "none"])
def test_the_path_is_gradient_descent_for_every_order(
    weights: Params, x: Tensor, order: str
) -> None:
    path = list(
        inner_path(
            lambda w: losses(w, x),
            share(weights, N_TASKS),
            steps=3,
            lr=LR,
            order=order,
        )
    )
    assert len(path) == 4
    for t in range(N_TASKS):
        current = {n: w.detach().clone().requires_grad_() for n, w in weights.items()}
        for step in path:
            for name, weight in current.items():
                torch.testing.assert_close(step[name][t], weight, rtol=1e-12, atol=1e-12)
            loss = losses(share(current, 1), x[t : t + 1]).sum()
            a, b = torch.autograd.grad(loss, [current["a"], current["b"]])
            current["a"] = (current["a"] - LR * a).detach().requires_grad_()
            current["b"] = (current["b"] - LR * b).detach().requires_grad_()


@pytest.mark.parametrize("order", ["second", "first", "none"])
def test_the_loop_is_the_end_of_the_path(weights: Params, x: Tensor, order: str) -> None:
    def loss(w: Params) -> Tensor:
        return losses(w, x)

    shared = share(weights, N_TASKS)
    *_, last = inner_path(loss, shared, steps=2, lr=LR, order=order)
    end = inner_loop(loss, shared, steps=2, lr=LR, order=order)
    assert all(torch.equal(end[name], last[name]) for name in weights)


def test_no_step_gives_the_start_weights(weights: Params, x: Tensor) -> None:
    shared = share(weights, N_TASKS)
    end = inner_loop(lambda w: losses(w, x), shared, steps=0, lr=LR, order="second")
    assert all(end[name] is shared[name] for name in weights)


@pytest.mark.parametrize("order", ["second", "first", "none"])
def test_only_the_named_weights_move(weights: Params, x: Tensor, order: str) -> None:
    shared = share(weights, N_TASKS)
    end = inner_loop(
        lambda w: losses(w, x), shared, steps=2, lr=LR, order=order, adapted={"b", "unused"}
    )
    assert torch.equal(end["a"], shared["a"])
    assert torch.equal(end["unused"], shared["unused"])
    assert not torch.equal(end["b"], shared["b"])


@pytest.mark.parametrize("order", ["second", "first", "none"])
@pytest.mark.parametrize("adapted", [set(), {"unused"}])
def test_a_loss_of_none_of_the_named_weights_moves_none(
    weights: Params, x: Tensor, order: str, adapted: set[str]
) -> None:
    shared = share(weights, N_TASKS)
    end = inner_loop(lambda w: losses(w, x), shared, steps=2, lr=LR, order=order, adapted=adapted)
    assert all(torch.equal(end[name], shared[name]) for name in weights)


def test_second_order_outer_gradient_equals_finite_differences(weights: Params, x: Tensor) -> None:
    def meta_loss(w: Params) -> Tensor:
        end = inner_loop(lambda v: losses(v, x), share(w, N_TASKS), steps=3, lr=LR, order="second")
        return losses(end, x.flip(1) + 0.3).sum()

    assert torch.autograd.gradcheck(
        lambda a, b: meta_loss({"a": a, "b": b}), (weights["a"], weights["b"])
    )


def test_first_order_outer_gradient_is_the_query_gradient_at_the_end(
    weights: Params, x: Tensor
) -> None:
    query = x.flip(1) + 0.3
    end = inner_loop(lambda w: losses(w, x), share(weights, N_TASKS), steps=3, lr=LR, order="first")
    outer = torch.autograd.grad(losses(end, query).sum(), [weights["a"], weights["b"]])
    at_end = task_gradients(lambda w: losses(w, query), end)
    torch.testing.assert_close(outer[0], at_end["a"].sum(0))
    torch.testing.assert_close(outer[1], at_end["b"].sum(0))


def test_first_order_keeps_no_graph_of_the_loss(weights: Params, x: Tensor) -> None:
    end = inner_loop(lambda w: losses(w, x), share(weights, N_TASKS), steps=3, lr=LR, order="first")
    kinds, frontier = set(), [end["a"].grad_fn]
    while frontier:
        node = frontier.pop()
        kinds.add(type(node).__name__)
        frontier += [parent for parent, _ in node.next_functions if parent is not None]
    assert kinds == {"AddBackward0", "ExpandBackward0", "AccumulateGrad"}


def test_order_none_is_detached(weights: Params, x: Tensor) -> None:
    path = inner_path(lambda w: losses(w, x), share(weights, N_TASKS), steps=2, lr=LR, order="none")
    assert not any(w.requires_grad for step in path for w in step.values())


@pytest.mark.parametrize("order", ["second", "first", "none"])
def test_adapts_under_no_grad(weights: Params, x: Tensor, order: str) -> None:
    def loss(w: Params) -> Tensor:
        return losses(w, x)

    expected = inner_loop(loss, share(weights, N_TASKS), steps=2, lr=LR, order="none")
    with torch.no_grad():
        path = list(inner_path(loss, share(weights, N_TASKS), steps=2, lr=LR, order=order))
        assert not torch.is_grad_enabled()
    for name in ("a", "b"):
        assert path[-1][name].grad_fn is None
        torch.testing.assert_close(path[-1][name], expected[name])


def test_the_caller_keeps_its_grad_mode_between_steps(weights: Params, x: Tensor) -> None:
    with torch.no_grad():
        path = inner_path(lambda w: losses(w, x), share(weights, 3), steps=2, lr=LR, order="none")
        modes = [torch.is_grad_enabled() for _ in path]
    assert modes == [False, False, False]


def centered(x: Tensor) -> Tensor:
    """A network with batch statistics."""
    return x - x.mean(1, keepdim=True)


def test_transductive_predictions_depend_on_the_other_queries(x: Tensor) -> None:
    predict = predictor(centered, x, transductive=True)
    torch.testing.assert_close(predict(x), centered(x))
    assert not torch.allclose(predict(x)[:, :2], predict(x[:, :2]))


def test_inductive_predictions_do_not(x: Tensor) -> None:
    predict = predictor(centered, x, transductive=False)
    query = x.flip(1) + 1
    whole = predict(query)
    assert whole.shape == query.shape
    torch.testing.assert_close(whole[:, :2], predict(query[:, :2]))
    alone = centered(torch.cat([x, query[:, 1:2]], dim=1))[:, -1]
    torch.testing.assert_close(whole[:, 1], alone)


def test_is_norm_knows_norms_at_any_depth() -> None:
    assert is_norm("norm.scale")
    assert is_norm("layer1.norm.shift")
    assert not is_norm("layer1.bias")
    assert not is_norm("normal.weight")


def test_bounds_of_updates_are_the_same_on_an_accelerator() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def ends(device: torch.device) -> list[Tensor]:
        there = x.to(device)
        start = {"a": there.clone().requires_grad_(), "b": there[:, :2].clone().requires_grad_()}
        end = inner_loop(
            lambda w: w["a"].pow(3).sum(dim=1) + w["b"].pow(2).sum(dim=1),
            start,
            steps=2,
            lr=0.1,
            order="second",
            clip=0.5,
        )
        total = (end["a"] * there).sum() + (end["b"] * there[:, :2]).square().sum()
        return [*torch.autograd.grad(total, [*start.values()]), *end.values()]

    expected = ends(torch.device("cpu"))
    with fake_accelerator() as device:
        found = [one.detach().cpu() for one in ends(device)]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_later_steps_leave_the_weights_before_them_alone(
    weights: Params, x: Tensor, clip: float | None
) -> None:
    """The gradient of a sum is a view of one number, and both names may get the same tensor."""

    def summed(w: Params) -> Tensor:
        return losses(w, x) + w["b"].sum(1) + w["a"].sum((1, 2))

    start = share(weights, N_TASKS)
    before = {name: w.detach().clone() for name, w in start.items()}
    steps, copies = [], []
    for state in inner_path(summed, start, steps=3, lr=LR, order="none", clip=clip):
        steps.append(state)
        copies.append({name: w.detach().clone() for name, w in state.items()})
    second = list(inner_path(summed, start, steps=3, lr=LR, order="second", clip=clip))
    for own, copy, other in zip(steps, copies, second, strict=True):
        for name, w in own.items():
            assert torch.equal(w, copy[name])
            torch.testing.assert_close(w, other[name].detach(), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(w, before[name]) for name, w in start.items())
