"""MAML's second-order gradient through the networks: finite differences, and a plain loop.

In float64, with affine batch norm. The plain loop uses ordinary PyTorch functions, one task at a
time, and shares no code with the task axis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench.inner_steps import inner_loop, is_norm, share
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

N_TASKS, STEPS, LR = 2, 2, 0.05


def plain_mlp(weights: Params, x: Tensor) -> Tensor:
    for layer in ("layer1", "layer2"):
        x = functional.linear(x, weights[f"{layer}.weight"].T, weights[f"{layer}.bias"])
        x = functional.relu(plain_norm(weights, layer, x))
    return functional.linear(x, weights["head.weight"].T, weights["head.bias"])


def plain_conv4(pool: str) -> Callable[[Params, Tensor], Tensor]:
    def forward(weights: Params, x: Tensor) -> Tensor:
        stride = 2 if pool == "stride" else 1
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            x = functional.conv2d(
                x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride, padding=1
            )
            x = functional.relu(plain_norm(weights, layer, x))
            if pool == "max":
                x = functional.max_pool2d(x, 2)
        return functional.linear(x.flatten(1), weights["head.weight"].T, weights["head.bias"])

    return forward


def plain_norm(weights: Params, layer: str, x: Tensor) -> Tensor:
    scale, shift = weights[f"{layer}.norm.scale"], weights[f"{layer}.norm.shift"]
    return functional.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)


@dataclass(frozen=True)
class Case:
    space: SearchSpace
    plain: Callable[[Params, Tensor], Tensor]
    inputs: tuple[int, ...]
    outputs: int

    def draw(self) -> tuple[Params, list[Tensor]]:
        """Weights off their symmetric start, and x, y of support and query."""
        rng = torch.Generator().manual_seed(3)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        weights = {
            name: (weight + 0.2 * normal(*weight.shape)).requires_grad_()
            for name, weight in self.space.init_weights(rng=rng).items()
        }
        n = 6
        data = [
            normal(N_TASKS, n, *shape) for shape in (self.inputs, (self.outputs,)) for _ in range(2)
        ]
        return weights, data

    def cancelled(self, name: str) -> bool:
        """Whether batch norm takes the weight away: a bias before it."""
        return name.endswith(".bias") and not name.startswith("head")


CASES = {
    "mlp": Case(
        Mlp(MlpParams(hidden=2, width=5, norm="batch"), TaskShape("regression", (2,), 1)),
        plain_mlp,
        (2,),
        1,
    ),
} | {
    f"conv4-{pool}": Case(
        Conv4(
            Conv4Params(filters=3, pool=pool),
            TaskShape("classification", (2, 16, 16), 3),
        ),
        plain_conv4(pool),
        (2, 16, 16),
        3,
    )
    for pool in ("max", "stride")
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def meta_loss(
    case: Case, weights: Params, data: list[Tensor], adapted: set[str] | None = None
) -> Tensor:
    x, query_x, y, query_y = data

    def loss(w: Params) -> Tensor:
        return (case.space.forward(w, {}, x) - y).square().mean((1, 2))

    end = inner_loop(
        loss, share(weights, N_TASKS), steps=STEPS, lr=LR, order="second", adapted=adapted
    )
    return (case.space.forward(end, {}, query_x) - query_y).square().mean()


def plain_meta_loss(
    case: Case, weights: Params, data: list[Tensor], adapted: set[str] | None = None
) -> Tensor:
    names = [name for name in weights if adapted is None or name in adapted]
    total = torch.zeros((), dtype=torch.float64)
    for x, query_x, y, query_y in zip(*data, strict=True):
        current = dict(weights)
        for _ in range(STEPS):
            loss = (case.plain(current, x) - y).square().mean()
            gradients = torch.autograd.grad(
                loss, [current[name] for name in names], create_graph=True
            )
            for name, gradient in zip(names, gradients, strict=True):
                current[name] = current[name] - LR * gradient
        total = total + (case.plain(current, query_x) - query_y).square().mean() / N_TASKS
    return total


def gradients_of(loss: Tensor, weights: Params) -> Params:
    found = torch.autograd.grad(
        loss, list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(weights, found, strict=True))


def test_meta_gradients_equal_finite_differences(case: Case) -> None:
    weights, data = case.draw()
    gradients = gradients_of(meta_loss(case, weights, data), weights)
    rng = torch.Generator().manual_seed(4)
    # Small enough that no ReLU and no maximum changes sides.
    eps = 2e-6
    for name, gradient in gradients.items():
        direction = torch.randn(gradient.shape, generator=rng, dtype=torch.float64)
        direction /= direction.norm()
        with torch.no_grad():
            ends = [
                float(meta_loss(case, weights | {name: weights[name] + move * direction}, data))
                for move in (eps, -eps, 2 * eps, -2 * eps)
            ]
        numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * eps)
        exact = float((gradient * direction).sum())
        if case.cancelled(name):
            assert max(abs(exact), abs(numeric)) < 1e-9, name
        else:
            assert abs(exact) > 1e-4, f"{name}: choose a point where the gradient is not zero"
            assert numeric == pytest.approx(exact, rel=1e-6), name


def test_the_task_axis_equals_a_plain_loop_over_tasks(case: Case) -> None:
    weights, data = case.draw()
    ours, plain = meta_loss(case, weights, data), plain_meta_loss(case, weights, data)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=0)
    expected = gradients_of(plain, weights)
    for name, gradient in gradients_of(ours, weights).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-10)


def test_so_it_does_where_the_norms_are_not_adapted(case: Case) -> None:
    weights, data = case.draw()
    adapted = {name for name in weights if not is_norm(name)}
    expected = gradients_of(plain_meta_loss(case, weights, data, adapted), weights)
    for name, gradient in gradients_of(meta_loss(case, weights, data, adapted), weights).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-10)
