"""The second-order architecture gradient against finite differences and a closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.inner_steps import share
from metabench.plugin.contracts.architecture import Arch, Params
from metabench.plugin.contracts.episode import TaskShape
from metabench_plugins.spaces.toy_cell import ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.parts.darts_unrolled import architecture_gradient

XI = 0.3


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def test_on_a_quadratic_it_equals_the_closed_form() -> None:
    # L_train = |w - A alpha|^2 / 2, L_val = |w - b|^2 / 2 + c alpha:
    # w' = (1 - xi) w + xi A alpha - xi d, gradient = xi A^T (w' - b) + c.
    mixing, target, direct = normal(4, 3), normal(4, seed=1), normal(3, seed=2)
    w, alpha, drift = normal(4, seed=3), normal(3, seed=4), normal(4, seed=5)
    found = architecture_gradient(
        lambda w, a: 0.5 * (w["w"] - mixing @ a["cell"]).square().sum(),
        lambda w, a: 0.5 * (w["w"] - target).square().sum() + direct @ a["cell"],
        {"w": w},
        {"cell": alpha},
        xi=XI,
        drift={"w": drift},
    )
    ahead = (1 - XI) * w + XI * mixing @ alpha - XI * drift
    expected = XI * mixing.T @ (ahead - target) + direct
    assert torch.allclose(found["cell"], expected, rtol=1e-12)


def losses() -> tuple[Params, Arch, object, object]:
    space = ToyCell(ToyCellParams(width=4), TaskShape("regression", (1,), 1))
    strategy = Darts(DartsParams(init_std=0.5))
    rng = torch.Generator().manual_seed(0)
    weights = {
        name: weight.double() + 0.1 * normal(*weight.shape, seed=index)
        for index, (name, weight) in enumerate(space.init_weights(rng=rng).items())
    }
    arch = {cell: a.double() for cell, a in strategy.init_arch(space, rng=rng).items()}

    def loss_on(x: Tensor) -> object:
        def loss(w: Params, a: Arch) -> Tensor:
            mixture = strategy.mixture(space, a, sharpness=0.0, rng=rng)
            return (space.forward(share(w, 1), mixture, x) - x.sin()).square().mean()

        return loss

    return weights, arch, loss_on(normal(1, 8, 1, seed=1)), loss_on(normal(1, 8, 1, seed=2))


def test_on_a_cell_it_equals_finite_differences() -> None:
    weights, arch, train, val = losses()

    def unrolled(logits: Tensor) -> Tensor:
        own = {name: w.detach().requires_grad_() for name, w in weights.items()}
        slope = torch.autograd.grad(train(own, {"cell": logits}), list(own.values()))  # type: ignore[operator]
        ahead = {n: w - XI * g for (n, w), g in zip(own.items(), slope, strict=True)}
        return val(ahead, {"cell": logits}).detach()  # type: ignore[operator,no-any-return]

    found = architecture_gradient(train, val, weights, arch, xi=XI)["cell"]  # type: ignore[arg-type]
    eps = 1e-6
    for seed in range(4):
        direction = normal(*arch["cell"].shape, seed=10 + seed)
        ends = [unrolled(arch["cell"] + sign * eps * direction) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * eps)
        assert torch.isclose((found * direction).sum(), numeric, rtol=1e-6)
    first = architecture_gradient(train, val, weights, arch, xi=0)["cell"]  # type: ignore[arg-type]
    assert not torch.allclose(found, first, rtol=1e-2)


def test_without_a_step_it_is_the_plain_gradient() -> None:
    weights, arch, train, val = losses()
    found = architecture_gradient(train, val, weights, arch, xi=0)["cell"]  # type: ignore[arg-type]
    leaf = arch["cell"].clone().requires_grad_()
    (expected,) = torch.autograd.grad(val(weights, {"cell": leaf}), leaf)  # type: ignore[operator]
    assert torch.equal(found, expected)


def test_a_train_loss_linear_in_the_weights_has_no_second_term() -> None:
    found = architecture_gradient(
        lambda w, a: w["w"].sum(),
        lambda w, a: (w["w"] * a["cell"]).sum(),
        {"w": torch.ones(3, dtype=torch.float64)},
        {"cell": torch.ones(3, dtype=torch.float64)},
        xi=0.25,
    )
    assert torch.allclose(found["cell"], torch.full((3,), 0.75, dtype=torch.float64))
