"""The toy search space and the decoding of architectures."""

from __future__ import annotations

import itertools

import pytest
import torch
from small_tasks import generator as rng
from torch import Tensor

from metabench.inner_steps import inner_loop, share
from metabench.plugin.contracts.architecture import CellChoices
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench_plugins.spaces.toy_cell import CELL, EDGES, PRIMITIVES, ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.parts.decoding import genotypes, harden, straight_through

TASK = TaskShape("regression", (1,), 1)
CHAIN = Genotype.of(
    {
        CELL: [
            Edge(0, 2, "linear"),
            Edge(1, 2, "skip"),
            Edge(2, 3, "linear"),
            Edge(0, 3, "skip"),
            Edge(3, 4, "linear"),
            Edge(2, 4, "skip"),
        ]
    }
)


def count(space: ToyCell) -> int:
    return sum(weight.numel() for weight in space.init_weights(rng=rng()).values())


def test_the_counts_of_the_paper() -> None:
    supernet = ToyCell(ToyCellParams(norm="none"), TASK)
    assert count(supernet) == 23_101
    assert count(supernet.child(CHAIN)) == 7_801
    with_norm = ToyCell(ToyCellParams(norm="batch"), TASK)
    assert count(with_norm) == 23_101 + 10 * 100


WIDTH = 5
COLUMNS = {0: (0, 1, 2, 3, 5, 6), 1: (0, 1, 2, 3, 5, 6), 2: (4, 7), 3: (8,)}
"""Per node, the edges whose operations stand side by side in one matrix."""


def plain(w: dict[str, Tensor], mix: Tensor, x: Tensor, *, norm: bool) -> Tensor:
    """One task, edge by edge, by torch's own functions."""

    def block(name: str, x: Tensor, column: int = 0) -> Tensor:
        own = slice(column * WIDTH, (column + 1) * WIDTH)
        y = torch.relu(x @ w[f"{name}.weight"][:, own] + w[f"{name}.bias"][own])
        if not norm:
            return y
        scale, shift = w[f"{name}.norm.scale"][own], w[f"{name}.norm.shift"][own]
        return torch.nn.functional.batch_norm(y, None, None, scale, shift, training=True)

    nodes = [block("stem", x)] * 2
    for target in (2, 3, 4):
        total = torch.zeros(())
        for source in range(target):
            edge = EDGES.index((source, target))
            column = COLUMNS[source].index(edge)
            name = f"from{source if source > 1 else 0}"
            total = total + mix[edge, 0] * block(name, nodes[source], column)
            total = total + mix[edge, 1] * nodes[source]
        nodes.append(total)
    return torch.stack(nodes[2:]).mean(0) @ w["head.weight"] + w["head.bias"]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_task_axis_equals_a_plain_network(norm: str) -> None:
    space = ToyCell(ToyCellParams(width=WIDTH, norm=norm), TASK)
    shared = {n: w.double() for n, w in space.init_weights(rng=rng()).items()}
    weights = {n: torch.stack([w, 1.3 * w, w - 0.1]) for n, w in shared.items()}
    x = torch.randn(3, 7, 1, generator=rng(1), dtype=torch.float64)
    mix = torch.rand(3, 9, 3, generator=rng(2), dtype=torch.float64)
    out = space.forward(weights, {CELL: mix}, x)
    for t in range(3):
        own = {n: w[t] for n, w in weights.items()}
        assert torch.allclose(out[t], plain(own, mix[t], x[t], norm=norm == "batch"), atol=1e-12)


def test_a_child_is_the_supernet_with_hard_weights() -> None:
    supernet = ToyCell(ToyCellParams(width=WIDTH), TASK)
    weights = share(supernet.init_weights(rng=rng()), 2)
    strategy = Darts(DartsParams(init_std=1.0))
    arch = strategy.init_arch(supernet, rng=rng(3))
    genotype = strategy.discretize(supernet, arch)
    child = supernet.child(genotype)
    own = child.init_weights(rng=rng())
    assert own.keys() <= weights.keys()
    hard = harden(strategy.mixture(supernet, arch, sharpness=1.0, rng=rng()), supernet.choices())
    x = torch.randn(2, 8, 1, generator=rng(4))
    linears = {(e.source, e.target) for e in genotype.cells[0][1] if e.primitive == "linear"}
    kept = {name: weights[name] for name in own}
    for source in (0, 2, 3):
        columns = [
            units
            for column, edge in enumerate(COLUMNS[source])
            if EDGES[edge] in linears
            for units in range(column * WIDTH, (column + 1) * WIDTH)
        ]
        kept |= {n: w[..., columns] for n, w in kept.items() if n.startswith(f"from{source}.")}
    expected = supernet.forward(weights, hard, x)
    assert torch.allclose(child.forward(kept, {}, x), expected, atol=1e-6)
    assert not child.choices()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_gradients_of_weights_and_mixture_through_two_steps_equal_finite_differences(
    norm: str,
) -> None:
    space = ToyCell(ToyCellParams(width=4, norm=norm), TASK)
    weights = {n: w.double().requires_grad_() for n, w in space.init_weights(rng=rng()).items()}
    logits = torch.randn(9, 3, generator=rng(1), dtype=torch.float64, requires_grad=True)
    x, y, qx, qy = torch.randn(4, 2, 6, 1, generator=rng(2), dtype=torch.float64)

    def meta_loss() -> Tensor:
        mixture = {CELL: logits.softmax(-1)[None]}

        def loss(w: dict[str, Tensor]) -> Tensor:
            return (space.forward(w, mixture, x) - y).square().mean((1, 2))

        adapted = inner_loop(loss, share(weights, 2), steps=2, lr=0.05, order="second")
        return (space.forward(adapted, mixture, qx) - qy).square().mean()

    leaves = [logits, *weights.values()]
    gradients = torch.autograd.grad(meta_loss(), leaves)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        direction = torch.randn(leaf.shape, generator=rng(5), dtype=torch.float64)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf.add_(direction, alpha=sign * 1e-6)
            values.append(meta_loss().item())
            with torch.no_grad():
                leaf.add_(direction, alpha=-sign * 1e-6)
        numeric = (values[0] - values[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_decoding_keeps_two_edges_a_node_and_never_zero() -> None:
    space = ToyCell(ToyCellParams(), TASK)
    mixture = {CELL: torch.rand(200, 9, 3, generator=rng())}
    mixture[CELL][..., PRIMITIVES.index("zero")] += 5
    hard = harden(mixture, space.choices())[CELL]
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert (hard[..., PRIMITIVES.index("zero")] == 0).all()
    for node in (2, 3, 4):
        into = [e for e, (_, target) in enumerate(EDGES) if target == node]
        assert (hard[:, into].sum((1, 2)) == 2).all()
    assert (hard.sum(-1) <= 1).all()


def test_decoding_follows_the_rule_on_every_order_of_three_strengths() -> None:
    """Against the rule written down for one node at a time."""
    choices = {CELL: CellChoices(((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), ("a", "zero", "b"))}
    for order in itertools.permutations([0.1, 0.2, 0.3]):
        weights = torch.tensor(
            [[[0.5, 0.9, 0.1], [0.1, 0.9, 0.5], *([[s, 0.9, s / 2] for s in order])]]
        )
        (genotype,) = genotypes(harden({CELL: weights}, choices), choices)
        best = sorted(range(3), key=lambda source: -order[source])[:2]
        wanted = [Edge(0, 2, "a"), Edge(1, 2, "b"), *(Edge(s, 3, "a") for s in best)]
        assert genotype == Genotype.of({CELL: wanted})


def test_ties_go_to_the_earlier_edge_and_operation() -> None:
    choices = {CELL: CellChoices(((0, 3), (1, 3), (2, 3)), ("a", "b"))}
    (genotype,) = genotypes(harden({CELL: torch.full((1, 3, 2), 0.5)}, choices), choices)
    assert genotype == Genotype.of({CELL: [Edge(0, 3, "a"), Edge(1, 3, "a")]})


def test_straight_through_has_the_hard_value_and_the_soft_gradient() -> None:
    logits = torch.randn(1, 9, 3, generator=rng(), requires_grad=True)
    mixture = {CELL: logits.softmax(-1)}
    space = ToyCell(ToyCellParams(), TASK)
    hard = harden(mixture, space.choices())
    through = straight_through(mixture, hard)[CELL]
    assert torch.allclose(through, hard[CELL], atol=1e-6)
    factor = torch.randn(1, 9, 3, generator=rng(1))
    (found,) = torch.autograd.grad((through * factor).sum(), logits, retain_graph=True)
    (wanted,) = torch.autograd.grad((mixture[CELL] * factor).sum(), logits)
    assert torch.equal(found, wanted)


def all_decoded() -> list[Genotype]:
    """Every architecture of two edges into each node, with an operation on each."""
    per_node = [
        [
            [Edge(s, node, p) for s, p in zip(sources, kinds, strict=True)]
            for sources in itertools.combinations(range(node), 2)
            for kinds in itertools.product(("linear", "skip"), repeat=2)
        ]
        for node in (2, 3, 4)
    ]
    return [
        Genotype.of({CELL: [*itertools.chain(*parts)]}) for parts in itertools.product(*per_node)
    ]


def expression(genotype: Genotype) -> str:
    """What a cell computes, unfolded, with the terms of each sum in order."""
    ((_, edges),) = genotype.cells
    value = {0: "x", 1: "x"}
    for node in (2, 3, 4):
        terms = [f"{e.primitive}({value[e.source]})" for e in edges if e.target == node]
        value[node] = "+".join(sorted(terms))
    return " | ".join(sorted(value[node] for node in (2, 3, 4)))


def test_canonical_genotypes_are_equal_where_cells_differ_in_names_alone() -> None:
    cell, found = ToyCell(ToyCellParams(width=2), TASK), {}
    everything = all_decoded()
    assert len(everything) == len(set(everything)) == 4 * 12 * 24
    for genotype in everything:
        canonical = cell.canonical(genotype)
        assert cell.canonical(canonical) == canonical
        assert canonical in everything
        assert expression(canonical) == expression(genotype)
        found.setdefault(expression(genotype), set()).add(canonical)
    assert {len(names) for names in found.values()} == {1}
    one, other = (Genotype.of({CELL: [Edge(s, 2, "linear"), Edge(2, 3, "skip")]}) for s in (0, 1))
    assert cell.canonical(one) == cell.canonical(other) == one


def test_the_network_of_a_canonical_genotype_computes_the_same() -> None:
    """With one matrix in all linear operations, only the names of nodes differ."""
    x = torch.randn(1, 5, 1, generator=rng(), dtype=torch.float64)
    cell = ToyCell(ToyCellParams(width=3, norm="none"), TASK)
    shared = torch.randn(3, 3, generator=rng(1), dtype=torch.float64)

    def output(genotype: Genotype) -> Tensor:
        child = cell.child(genotype)
        weights = {n: w[None].double() for n, w in child.init_weights(rng=rng()).items()}
        outer = torch.randn(3, 3, generator=rng(2), dtype=torch.float64)
        weights["stem.weight"], weights["head.weight"] = outer[None, :1], outer[None, :, :1]
        for name in weights:
            if name.startswith("from") and name.endswith("weight"):
                weights[name] = shared.repeat(1, weights[name].shape[2] // 3)[None]
            elif name.endswith("bias"):
                weights[name] = torch.zeros_like(weights[name])
        return child.forward(weights, {}, x)

    for genotype in all_decoded()[::17]:
        canonical = cell.canonical(genotype)
        torch.testing.assert_close(output(canonical), output(genotype))
        assert count(cell.child(canonical)) == count(cell.child(genotype))
