"""Partial channels of PC-DARTS: against its equation on one task, counts, and the case K = 1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import generator as rng
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from metabench import ZERO, CellChoices, Mixture, Params, TaskShape, UsageError
from metabench.cli import app
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench_plugins.spaces.darts import DartsSpaceParams, darts
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.parts.cell import Cell
from metabench_plugins.spaces.parts.partial_channels import halved, shuffled
from metabench_plugins.spaces.parts.primitives import PRIMITIVES, Feed, Pool
from metabench_plugins.spaces.parts.published_cells import NORMAL, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork
from metabench_plugins.spaces.tnas import TnasParams, tnas
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.edge_norm import EDGES, EdgeNorm, EdgeNormParams

TASK = TaskShape("classification", (2, 7, 8), 3)
CIFAR = TaskShape("classification", (3, 32, 32), 10)


def made(partial: int, **params: Any) -> CellNetwork:
    given = {"channels": 8, "cells": 3, "nodes": 2, **params}
    return darts(DartsSpaceParams(partial=partial, **given), TASK)


def doubles(space: CellNetwork, n_tasks: int = 1) -> Params:
    """Weights in float64; those of several tasks differ."""
    noise, drawn = rng(1), space.init_weights(rng=rng())
    return {
        name: w.double() + 0.1 * torch.randn(n_tasks, *w.shape, generator=noise).double()
        for name, w in drawn.items()
    }


def mixture_of(space: CellNetwork, strategy: Any) -> Mixture:
    arch = {k: v.double() for k, v in strategy.init_arch(space, rng=rng(2)).items()}
    found: Mixture = strategy.mixture(space, arch, sharpness=1.0, rng=None)
    return found


def images(n_tasks: int = 1) -> Tensor:
    return torch.randn(n_tasks, 5, *TASK.inputs, generator=rng(3), dtype=torch.float64)


# The equation ----------------------------------------------------------------------------------


def edge_by_the_paper(
    cell: Cell, source: int, target: int, x: Tensor, weights: Params, shares: Tensor, k: int,
    choices: CellChoices,
) -> Tensor:  # fmt: skip
    """``f_ij(x)`` on one edge, with a shuffle of its own; ``shares [operations]``."""
    own = x.shape[2] // k
    stride = 2 if cell.kind == REDUCTION and source < 2 else 1
    mixed = torch.zeros(())
    for share, name in zip(shares, choices.primitives, strict=True):
        if name == ZERO:
            continue
        operation = PRIMITIVES[name]
        full = f"{cell.name}.edge{source}-{target}.{name}"
        y = operation.apply(Feed(x[:, :, :own]), weights, full, stride=stride)
        if operation.normed(stride) or isinstance(operation, Pool):
            y = F.batch_norm(y[0], None, None, training=True)[None]
        mixed = mixed + share * y
    if k == 1:
        return mixed
    rest = x[0, :, own:]
    if stride == 2:
        rest = F.max_pool2d(rest, 2, ceil_mode=True)
    bypass = shares.sum() * rest
    joined = torch.cat([mixed[0], bypass], dim=1)
    n, channels, height, width = joined.shape
    parts = joined.view(n, k, channels // k, height, width)
    return parts.transpose(1, 2).reshape(1, n, channels, height, width)


def by_the_paper(
    space: CellNetwork, weights: Params, mixture: Mixture, x: Tensor, k: int
) -> Tensor:
    """The network, edge by edge."""
    second = space._stem(x, weights)
    first = second
    for cell in space._cells:
        choices = space.choices()[cell.kind]
        feeds = [cell._input(i, weights, Feed(one)) for i, one in enumerate((first, second))]
        for node in range(2, 2 + space._layout.nodes):
            edges = [
                edge_by_the_paper(
                    cell, source, target, feeds[source], weights, mixture[cell.kind][0, i], k,
                    choices,
                )
                for i, (source, target) in enumerate(choices.edges)
                if target == node
            ]  # fmt: skip
            feeds.append(torch.stack(edges).sum(dim=0))
        first, second = second, torch.cat(feeds[2:], dim=2)
    return second.mean((-2, -1)) @ weights["head.weight"] + weights["head.bias"][:, None]


@pytest.mark.parametrize("strategy", [Darts(DartsParams(init_std=1.0)),
                                      EdgeNorm(EdgeNormParams(init_std=1.0))])  # fmt: skip
@pytest.mark.parametrize("k", [2, 4])
def test_it_is_the_equation_of_the_paper(k: int, strategy: Any) -> None:
    space = made(k)
    weights, mixture, x = doubles(space), mixture_of(space, strategy), images()
    found = space.forward(weights, mixture, x)
    torch.testing.assert_close(found, by_the_paper(space, weights, mixture, x, k))


def test_with_one_part_it_is_darts() -> None:
    """The equation at K = 1 is the network without the option, which has the same weights."""
    plain = darts(DartsSpaceParams(channels=8, cells=3, nodes=2), TASK)
    weights, x = doubles(plain), images()
    mixture = mixture_of(plain, Darts(DartsParams(init_std=1.0)))
    expected = plain.forward(weights, mixture, x)
    torch.testing.assert_close(by_the_paper(plain, weights, mixture, x, 1), expected)
    one = made(1)
    assert {n: w.shape for n, w in one.init_weights(rng=rng()).items()} == {
        n: w.shape for n, w in plain.init_weights(rng=rng()).items()
    }
    assert torch.equal(one.forward(weights, mixture, x), expected)


def test_an_edge_that_skips_hands_all_channels_on() -> None:
    """With all weight on the identity an edge is the shuffle alone, whatever K is."""
    x = images().repeat(1, 1, 6, 1, 1)
    for k in (2, 3, 4, 6):
        own = x.shape[2] // k
        order = [part * own + i for i in range(own) for part in range(k)]
        assert torch.equal(shuffled(x[:, :, :own], x[:, :, own:]), x[:, :, order])


@pytest.mark.parametrize("size", [(6, 8), (7, 8), (5, 5), (1, 3)])
def test_the_rest_is_halved_as_the_operations_halve(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 4, *size, generator=rng())
    expected = F.max_pool2d(x.flatten(0, 1), 2, ceil_mode=True)
    assert torch.equal(halved(x).flatten(0, 1), expected)


def test_the_weight_of_an_edge_is_that_of_what_passes_by() -> None:
    """With edge normalization the gradient of an edge's logit counts both parts."""
    space, strategy = made(2), EdgeNorm(EdgeNormParams(init_std=0.5))
    weights, x = doubles(space), images()
    arch = {k: v.double() for k, v in strategy.init_arch(space, rng=rng(2)).items()}
    arch = {k: v.requires_grad_() for k, v in arch.items()}

    def loss(given: dict[str, Tensor]) -> Tensor:
        mixture = strategy.mixture(space, given, sharpness=1.0, rng=None)
        return space.forward(weights, mixture, x).square().sum()

    for key, index in ((NORMAL, (1, 3)), (NORMAL + EDGES, (2,)), (REDUCTION + EDGES, (1,))):
        (slope,) = torch.autograd.grad(loss(arch), [arch[key]])
        step = torch.zeros_like(arch[key])
        step[index] = 1e-6
        moved = ({**arch, key: arch[key] + sign * step} for sign in (1, -1))
        ends = [float(loss(one).detach()) for one in moved]
        assert float(slope[index]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_tasks_are_independent_and_stay_on_their_device() -> None:
    space = made(2)
    weights = doubles(space, 3)
    mixture, x = mixture_of(space, Darts(DartsParams(init_std=1.0))), images(3)
    together = space.forward(weights, mixture, x)
    alone = [
        space.forward({n: w[i : i + 1] for n, w in weights.items()}, mixture, x[i : i + 1])
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    with fake_accelerator() as device:
        given = {n: w.to(device) for n, w in weights.items()}
        there = {n: m.to(device) for n, m in mixture.items()}
        found = space.forward(given, there, x.to(device))
        assert_on(device, {"logits": found})
        torch.testing.assert_close(found.cpu(), together)


def test_a_decoded_edge_is_dropped_as_a_whole() -> None:
    """What a hard mixture leaves out neither is mixed nor passes by."""
    space = made(2)
    (edges, primitives) = (space.choices()[NORMAL].edges, space.choices()[NORMAL].primitives)
    mixture: Mixture = {}
    for kind in space.choices():
        hard = torch.zeros(1, len(edges), len(primitives), dtype=torch.float64)
        hard[0, [1, 3], primitives.index("sep-conv-3x3")] = 1
        mixture[kind] = hard
    weights, x = doubles(space), images()
    found = space.forward(weights, mixture, x)
    torch.testing.assert_close(found, by_the_paper(space, weights, mixture, x, 2))
    weights |= {n: w + 1 for n, w in weights.items() if ".edge0-2." in n}
    assert torch.equal(space.forward(weights, mixture, x), found)
    nothing = {kind: torch.zeros_like(one) for kind, one in mixture.items()}
    assert torch.equal(space.forward(weights, nothing, x)[0, 0], weights["head.bias"][0])


# Sizes -----------------------------------------------------------------------------------------


def operations_of_darts(channels: int, *, halving_edges: int, edges: int) -> int:
    """Weights of all operations of a cell: depthwise taps and pointwise matrices."""
    pointwise = channels * channels
    separable = [2 * (9 * channels + pointwise), 2 * (25 * channels + pointwise),
                 9 * channels + pointwise, 25 * channels + pointwise]  # fmt: skip
    return edges * sum(separable) + halving_edges * pointwise  # of skips that halve


@pytest.mark.parametrize(("k", "expected"), [(1, 1_930_618), (2, 671_482), (4, 299_578)])
def test_operations_shrink_with_the_square_of_k(k: int, expected: int) -> None:
    """DARTS on CIFAR-10: 8 cells of 16, 32 and 64 channels, 14 edges, of which 8 may halve."""
    space = darts(DartsSpaceParams(partial=k), CIFAR)
    total = sum(w.numel() for w in space.init_weights(rng=rng()).values())
    of_operations = {1: 0, k: 0}
    for channels, halving in (
        (16, 0),
        (16, 0),
        (32, 8),
        (32, 0),
        (32, 0),
        (64, 8),
        (64, 0),
        (64, 0),
    ):
        for part in of_operations:
            of_operations[part] += operations_of_darts(
                channels // part, halving_edges=halving, edges=14
            )
    assert total == 1_930_618 - of_operations[1] + of_operations[k]
    assert total == expected
    even = {
        kind: torch.ones(1, len(found.edges), len(found.primitives))
        for kind, found in space.choices().items()
    }
    assert space.n_weights(even) == [total]
    none = {kind: torch.zeros_like(one) for kind, one in even.items()}
    assert space.n_weights(none, threshold=0.5) == [total - of_operations[k]]


def test_the_network_of_a_genotype_is_whole() -> None:
    strategy, space = Darts(DartsParams()), made(1)
    genotype = strategy.discretize(space, strategy.init_arch(space, rng=rng()))
    sizes = []
    for k in (1, 2):
        weights = made(k).child(genotype).init_weights(rng=rng())
        sizes.append({name: tuple(w.shape) for name, w in weights.items()})
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    ("build", "model"), [(darts, DartsSpaceParams), (metanas, MetaNasParams), (tnas, TnasParams)]
)
def test_all_networks_of_cells_have_it(build: Any, model: Any) -> None:
    assert "partial" not in model().model_dump()
    assert model(partial=4).model_dump()["partial"] == 4
    whole, part = (build(model(channels=8, partial=k), TASK) for k in (1, 4))
    sizes = [sum(math.prod(w.shape) for w in s.init_weights(rng=rng()).values())
             for s in (whole, part)]  # fmt: skip
    assert sizes[1] < sizes[0]
    weights, mixture = doubles(part), mixture_of(part, Darts(DartsParams(init_std=1.0)))
    assert part.forward(weights, mixture, images()).isfinite().all()
    with pytest.raises(UsageError, match="Cells of 6 channels cannot mix 1/4 of them"):
        build(model(channels=6, partial=4), TASK)
    with pytest.raises(UsageError, match="of 4 channels cannot mix 1/4 of them: operations need"):
        build(model(channels=4, partial=4), TASK)


# Runs ------------------------------------------------------------------------------------------


def test_runs_without_it_keep_their_ids(catalog: Catalog) -> None:
    def spec(**network: int) -> Any:
        request = RunRequest(
            learners=("one-shot",), suite="cifar10-pruning", budget="smoke", data="synthetic",
            changes={"space": {"channels": 4, **network}},
        )  # fmt: skip
        return plan(request, catalog)[0].spec

    assert spec().run_id == spec(partial=1).run_id
    assert spec(partial=2).run_id != spec().run_id


def test_pc_darts_runs_from_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            *("run", "--learner", "one-shot", "--suite", "cifar10-pruning", "--data", "synthetic"),
            *(
                "--budget",
                "smoke",
                "--strategy",
                "darts-edge-norm",
                "--set",
                "network.partial=2",
                "--set",
                "network.channels=4",
            ),
            *("--out", str(tmp_path)),
        ],
    )
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert "partial=2" in shown.output
