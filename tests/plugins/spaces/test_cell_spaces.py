"""The networks of cells: published sizes, what a child is, what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import BaseModel
from small_tasks import generator as rng

from metabench.errors import UsageError
from metabench.plugin.contracts.architecture import INPUTS, CellChoices, Mixture
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench_plugins.spaces.darts import DartsSpaceParams, darts
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.parts.published_cells import NORMAL, PUBLISHED, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork
from metabench_plugins.spaces.tnas import TnasParams, tnas

MINI = TaskShape("classification", (3, 84, 84), 5)
OMNIGLOT = TaskShape("classification", (1, 28, 28), 20)
CIFAR = TaskShape("classification", (3, 32, 32), 10)
SMALL = TaskShape("classification", (2, 9, 10), 3)


def count(space: CellNetwork) -> int:
    return sum(weight.numel() for weight in space.init_weights(rng=rng()).values())


def random_genotype(choices: CellChoices, *, seed: int, without: str = "none") -> Genotype:
    """Two edges into each node, each with an operation other than zero, for both cells."""
    draw = rng(seed)
    operations = [p for p in choices.primitives if p != "zero" and without not in p]
    cells = {}
    for kind in (NORMAL, REDUCTION):
        cells[kind] = [
            Edge(source, node, operations[int(torch.randint(len(operations), (), generator=draw))])
            for node in choices.pairs()
            for source in torch.randperm(node, generator=draw)[:2].tolist()
        ]
    return Genotype.of(cells)


def test_supernets_have_the_published_numbers_of_weights() -> None:
    assert count(tnas(TnasParams(), MINI)) == 201_181
    assert count(tnas(TnasParams(nodes=3), MINI)) == 135_581
    assert count(metanas(MetaNasParams(), MINI)) == 462_509
    assert count(metanas(MetaNasParams(), OMNIGLOT)) == 462_272
    assert count(darts(DartsSpaceParams(), CIFAR)) == 1_930_618


@pytest.mark.parametrize(
    ("name", "channels", "cells", "task", "expected"),
    [
        ("metanas-miniimagenet", 96, 5, MINI, 1_160_741),
        ("metanas-omniglot", 96, 5, OMNIGLOT, 1_056_116),
        ("auto-meta", 22, 5, OMNIGLOT, 116_532),
        ("auto-meta", 24, 5, MINI, 137_117),
    ],
)
def test_published_cells_of_one_width_have_the_published_numbers_of_weights(
    name: str, channels: int, cells: int, task: TaskShape, expected: int
) -> None:
    space = metanas(MetaNasParams(channels=channels, cells=cells), task)
    assert count(space.child(PUBLISHED[name])) == expected


def test_cells_of_tnas_have_the_published_numbers_of_weights() -> None:
    space = tnas(TnasParams(), MINI)
    assert count(space.child(PUBLISHED["tnas-1-shot"])) == 23_213
    assert count(space.child(PUBLISHED["tnas-5-shot"])) == 26_061


@pytest.mark.parametrize(("nodes", "mean"), [(4, 32_700), (3, 28_300)])
def test_random_networks_of_tnas_are_as_large_as_reported(nodes: int, mean: int) -> None:
    space = tnas(TnasParams(nodes=nodes), MINI)
    choices = space.choices()[NORMAL]
    sizes = [count(space.child(random_genotype(choices, seed=seed))) for seed in range(40)]
    assert sum(sizes) / len(sizes) == pytest.approx(mean, rel=0.06)
    if nodes == 3:
        assert sum(20_000 < size < 35_000 for size in sizes) >= 36


def test_metanas_has_146_logits() -> None:
    choices = metanas(MetaNasParams(), MINI).choices()
    assert sorted(choices) == [NORMAL, REDUCTION]
    logits = 0
    for found in choices.values():
        assert found.input_pairs
        assert [len(pairs) for pairs in found.pairs().values()] == [1, 3, 6]
        logits += len(found.edges) * len(found.primitives) + sum(map(len, found.pairs().values()))
    assert logits == 146


@pytest.mark.parametrize("name", ["tnas-1-shot", "tnas-5-shot"])
def test_no_node_of_a_cell_that_darts_decoded_reads_one_node_twice(name: str) -> None:
    """The two strongest edges into a node come from two nodes; pools have no weights to count."""
    for _, edges in PUBLISHED[name].cells:
        read = [(edge.target, edge.source) for edge in edges]
        assert len(set(read)) == len(read)


def test_the_cell_of_tnas_for_5_shots_is_that_of_its_released_code() -> None:
    last = [edge for edge in dict(PUBLISHED["tnas-5-shot"].cells)[REDUCTION] if edge.target == 5]
    assert last == [Edge(1, 5, "max-pool-3x3"), Edge(2, 5, "skip")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_add_two_operations_in_each_node_and_make_networks(name: str) -> None:
    genotype = PUBLISHED[name]
    for _, edges in genotype.cells:
        targets = [edge.target for edge in edges]
        assert sorted(targets) == sorted(2 * list(range(2, max(targets) + 1)))
    child = metanas(MetaNasParams(channels=3, cells=3), SMALL).child(genotype)
    weights = {name: w[None] for name, w in child.init_weights(rng=rng()).items()}
    out = child.forward(weights, {}, torch.randn(2, 3, 2, 9, 10, generator=rng(1)))
    assert out.shape == (2, 3, 3)
    assert not child.choices()


def test_an_edge_that_a_cell_holds_twice_has_weights_of_its_own_each_time() -> None:
    names = metanas(MetaNasParams(), MINI).child(PUBLISHED["auto-meta"]).init_weights(rng=rng())
    assert "cell0.edge3-5.conv-3x3.depthwise1" in names
    assert "cell0.edge3-5.conv-3x3.again1.depthwise1" in names


@pytest.mark.parametrize("build", ["metanas", "tnas", "darts"])
def test_a_child_is_the_supernet_with_hard_weights(build: str) -> None:
    """Where pools are normalized in both, or absent: a child of DARTS or T-NAS has no such norm."""
    space = {
        "metanas": metanas(MetaNasParams(channels=4, cells=3), SMALL),
        "tnas": tnas(TnasParams(channels=4, nodes=3), SMALL),
        "darts": darts(DartsSpaceParams(channels=4, cells=4, nodes=2), SMALL),
    }[build]
    choices = space.choices()[NORMAL]
    without = "none" if build == "metanas" else "pool"
    genotype = random_genotype(choices, seed=3, without=without)
    child = space.child(genotype)
    weights = {name: w[None] for name, w in space.init_weights(rng=rng()).items()}
    own = {
        name: weights.get(name, first[None])
        for name, first in child.init_weights(rng=rng(1)).items()
    }
    assert sum(name in weights for name in own) > 10
    x = torch.randn(2, 5, *SMALL.inputs, generator=rng(2))
    expected = child.forward(own, {}, x)
    hard = hard_mixture(genotype, choices)
    torch.testing.assert_close(space.forward(weights, hard, x), expected, atol=1e-5, rtol=1e-5)
    edges_alone = {kind: weight for kind, weight in hard.items() if not kind.endswith(INPUTS)}
    torch.testing.assert_close(
        space.forward(weights, edges_alone, x), expected, atol=1e-5, rtol=1e-5
    )


def hard_mixture(genotype: Genotype, choices: CellChoices) -> Mixture:
    """One for each kept operation, and for each pair of kept edges."""
    mixture: Mixture = {}
    for kind, edges in genotype.cells:
        weight = torch.zeros(1, len(choices.edges), len(choices.primitives))
        for edge in edges:
            position = choices.edges.index((edge.source, edge.target))
            weight[0, position, choices.primitives.index(edge.primitive)] = 1
        kept = weight[0].any(1).tolist()
        pairs = [pair for of_node in choices.pairs().values() for pair in of_node]
        mixture[kind] = weight
        mixture[kind + INPUTS] = torch.tensor([[float(kept[a] and kept[b]) for a, b in pairs]])
    return mixture


def test_the_weights_a_task_uses_are_those_of_its_operations_and_pairs() -> None:
    space = metanas(MetaNasParams(), OMNIGLOT)
    choices = space.choices()[NORMAL]
    genotype = random_genotype(choices, seed=4)
    hard = hard_mixture(genotype, choices)
    child = space.child(genotype)
    affine = sum(
        weight.numel()
        for name, weight in child.init_weights(rng=rng()).items()
        if name.startswith("cell") and ".norm." in name
    )
    every = {kind: torch.ones_like(weight) for kind, weight in hard.items()}
    both = {kind: torch.cat([hard[kind], every[kind]]) for kind in hard}
    assert space.n_weights(both, threshold=0.5) == [count(child) - affine, 462_272]
    assert child.n_weights({}) == [count(child)]
    # Without its pair, an edge does not count, however heavy its operations are.
    no_pair = hard | {kind: every[kind] for kind in (NORMAL, REDUCTION)}
    per_edge = {
        kind: hard[kind].any(2, keepdim=True).expand_as(hard[kind]).float()
        for kind in hard
        if not kind.endswith(INPUTS)
    }
    assert space.n_weights(no_pair, threshold=0.5) == space.n_weights(per_edge, threshold=0.5)


def test_what_cannot_be_built_is_refused() -> None:
    space = tnas(TnasParams(), MINI)
    with pytest.raises(UsageError, match="reduction"):
        space.child(Genotype.of({NORMAL: [Edge(0, 2, "skip")]}))
    with pytest.raises(UsageError, match="sepconv"):
        space.child(Genotype.of({NORMAL: [Edge(0, 2, "sepconv")], REDUCTION: []}))
    with pytest.raises(UsageError, match="inputs of shape"):
        tnas(TnasParams(), TaskShape("classification", (1, 3, 3), 5))
    with pytest.raises(UsageError, match="inputs of shape"):
        metanas(MetaNasParams(), TaskShape("classification", (1,), 5))


@pytest.mark.parametrize("model", [MetaNasParams, TnasParams, DartsSpaceParams])
def test_every_parameter_has_help(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())
