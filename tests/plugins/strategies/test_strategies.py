"""The strategies: mixtures, temperatures, samples, decoding, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small_tasks import generator as rng
from torch import Tensor

from metabench.errors import UsageError
from metabench.plugin.contracts.architecture import INPUTS, NEEDED, CellChoices
from metabench.plugin.contracts.genotype import Genotype
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.edge_norm import EdgeNorm, EdgeNormParams
from metabench_plugins.strategies.fair_darts import FairDarts, FairDartsParams
from metabench_plugins.strategies.fixed import Fixed, FixedParams
from metabench_plugins.strategies.gumbel import Gumbel, GumbelParams
from metabench_plugins.strategies.parts.decoding import edges_of, genotypes, harden, one_hot
from metabench_plugins.strategies.parts.logits import log_odds, soften
from metabench_plugins.strategies.parts.pruning import PRUNED, cut, prune_logits
from metabench_plugins.strategies.random import Random, RandomParams, sample
from metabench_plugins.strategies.soft_pruning import SoftPruning, SoftPruningParams

EDGES = tuple((source, target) for target in (2, 3, 4) for source in range(target))
OPERATIONS = ("zero", "a", "b", "c", "d", "e", "f")
TASKS = 5


class Choices:
    """As much of a space as a strategy looks at: two cells of three nodes, seven operations."""

    def __init__(self, *, input_pairs: bool = True) -> None:
        self._cell = CellChoices(EDGES, OPERATIONS, input_pairs=input_pairs)

    def choices(self) -> Mapping[str, CellChoices]:
        return {"normal": self._cell, "reduction": self._cell}


SPACE: Any = Choices()
PLAIN: Any = Choices(input_pairs=False)
STRATEGIES: dict[str, Callable[[], Any]] = {
    "darts": lambda: Darts(DartsParams(init_std=1.0)),
    "operations": lambda: SoftPruning(SoftPruningParams(init_std=1.0)),
    "inputs": lambda: SoftPruning(SoftPruningParams(init_std=1.0, prune="operations-and-inputs")),
    "gumbel": lambda: Gumbel(GumbelParams(init_std=1.0)),
    "random": lambda: Random(RandomParams()),
    "fixed": lambda: Fixed(FixedParams()),
    "fair-darts": lambda: FairDarts(FairDartsParams(init_std=1.0)),
    "edges": lambda: EdgeNorm(EdgeNormParams(init_std=1.0)),
}


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Any:
    return STRATEGIES[request.param]()


def per_task(arch: Mapping[str, Tensor], n_tasks: int = TASKS) -> dict[str, Tensor]:
    return {key: logits.expand(n_tasks, *logits.shape) for key, logits in arch.items()}


def into_each_node(genotype: Genotype) -> list[int]:
    return [
        sum(e.target == node for e in edges) for _, edges in genotype.cells for node in (2, 3, 4)
    ]


def test_a_genotype_has_two_edges_into_each_node_and_no_zero(strategy: Any) -> None:
    for seed in range(20):
        genotype = strategy.discretize(SPACE, strategy.init_arch(SPACE, rng=rng(seed)))
        assert [cell for cell, _ in genotype.cells] == ["normal", "reduction"]
        assert into_each_node(genotype) == [2] * 6
        assert all(e.primitive != "zero" for _, edges in genotype.cells for e in edges)


def test_shared_logits_mix_as_the_same_logits_per_task(strategy: Any) -> None:
    arch = strategy.init_arch(SPACE, rng=rng())
    owned = strategy.mixture(SPACE, per_task(arch, 1), sharpness=0.5, rng=rng(3))
    shared = strategy.mixture(SPACE, arch, sharpness=0.5, rng=rng(3))
    assert owned.keys() == shared.keys()
    for key, weights in shared.items():
        assert torch.equal(weights, owned[key]), key


@pytest.mark.parametrize("name", ["darts", "operations", "inputs", "gumbel"])
def test_gradients_of_a_mixture_equal_finite_differences(name: str) -> None:
    strategy = STRATEGIES[name]() if name != "gumbel" else Gumbel(GumbelParams(hard=False))
    arch = {k: v.double() for k, v in strategy.init_arch(SPACE, rng=rng()).items()}
    keys = list(arch)
    weigh = [
        torch.randn(v.shape, generator=rng(i), dtype=v.dtype) for i, v in enumerate(arch.values())
    ]

    def score(*logits: Tensor) -> Tensor:
        mixture = strategy.mixture(
            SPACE, dict(zip(keys, logits, strict=True)), sharpness=0.6, rng=rng(1)
        )
        return sum((mixture[k] * w).sum() for k, w in zip(keys, weigh, strict=True))  # type: ignore[return-value]

    assert torch.autograd.gradcheck(score, [v.requires_grad_() for v in arch.values()])


def test_the_temperature_makes_a_lead_a_choice() -> None:
    strategy = SoftPruning(SoftPruningParams())
    assert [round(strategy.temperature(s / 4), 3) for s in range(5)] == [
        1.0, 0.775, 0.55, 0.325, 0.1,
    ]  # fmt: skip
    for lead, weight in ((0.3, 0.77), (0.5, 0.96)):
        logits = torch.zeros(len(EDGES), len(OPERATIONS))
        logits[:, 2] = lead
        arch = {"normal": logits, "reduction": logits}
        mixture = strategy.mixture(PLAIN, arch, sharpness=1.0, rng=rng())
        assert torch.allclose(mixture["normal"][0, :, 2], torch.tensor(weight), atol=0.005)


def test_without_pruning_it_is_darts() -> None:
    darts, none = STRATEGIES["darts"](), SoftPruning(SoftPruningParams(prune="none"))
    arch = darts.init_arch(SPACE, rng=rng())
    for sharpness in (0.0, 1.0):
        found, expected = (
            s.mixture(SPACE, arch, sharpness=sharpness, rng=rng()) for s in (none, darts)
        )
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
    assert none.discretize(SPACE, arch) == darts.discretize(SPACE, arch)


def test_a_search_is_decoded_at_the_lowest_temperature() -> None:
    strategy = SoftPruning(SoftPruningParams(init_std=1.0, t_min=0.5))
    starts = [strategy.init_arch(PLAIN, rng=rng(seed)) for seed in range(20)]
    found = [strategy.discretize(PLAIN, arch) for arch in starts]
    warm, cold = (
        [
            genotypes(harden(mixture, PLAIN.choices()), PLAIN.choices())[0]
            for mixture in (strategy.mixture(PLAIN, a, sharpness=s, rng=None) for a in starts)
        ]
        for s in (0.0, 1.0)
    )
    assert found == cold != warm


@pytest.mark.parametrize(("sharpness", "temperature"), [(0.0, 1.0), (0.5, 0.55), (1.0, 0.1)])
def test_weights_of_pairs_are_a_softmax_per_node_at_the_temperature(
    sharpness: float, temperature: float
) -> None:
    strategy = STRATEGIES["inputs"]()
    arch = strategy.init_arch(SPACE, rng=rng())
    assert sum(logits.numel() for logits in arch.values()) == 2 * (9 * 7 + 10)
    found = strategy.mixture(SPACE, arch, sharpness=sharpness, rng=rng())["normal" + INPUTS][0]
    logits = arch["normal" + INPUTS].split([1, 3, 6])
    expected = [(node / temperature).exp() / (node / temperature).exp().sum() for node in logits]
    torch.testing.assert_close(found, torch.cat(expected))


def test_the_best_pair_is_kept_where_pairs_have_weights() -> None:
    strategy = STRATEGIES["inputs"]()
    arch = strategy.init_arch(SPACE, rng=rng())
    arch["normal" + INPUTS] = torch.tensor([0.0, 0, 0, 5, 0, 0, 0, 0, 7, 0])
    cells = dict(strategy.discretize(SPACE, arch).cells)
    assert [(e.source, e.target) for e in cells["normal"]] == [
        (0, 2), (1, 2), (1, 3), (2, 3), (1, 4), (3, 4),
    ]  # fmt: skip


def test_ties_go_to_the_first() -> None:
    even = {"normal": torch.ones(1, 9, 7), "reduction": torch.ones(1, 9, 7)}
    with_pairs = even | {key + INPUTS: torch.ones(1, 10) for key in even}
    for mixture in (even, with_pairs):
        (genotype,) = genotypes(harden(mixture, SPACE.choices()), SPACE.choices())
        assert {(e.source, e.primitive) for _, edges in genotype.cells for e in edges} == {
            (0, "a"),
            (1, "a"),
        }
        assert genotype == Fixed(FixedParams()).discretize(SPACE, {})


def test_a_genotype_and_its_weights_are_the_same_thing() -> None:
    arch = STRATEGIES["darts"]().init_arch(SPACE, rng=rng())
    genotype = STRATEGIES["darts"]().discretize(SPACE, arch)
    hard = one_hot(genotype, SPACE.choices())
    assert genotypes(hard, SPACE.choices()) == [genotype]
    again = harden(hard, SPACE.choices())
    assert all(torch.equal(hard[cell], again[cell]) for cell in hard)


def test_cutting_leaves_the_largest_whatever_the_threshold() -> None:
    mixture = STRATEGIES["inputs"]().mixture(
        SPACE, STRATEGIES["inputs"]().init_arch(SPACE, rng=rng()), sharpness=0.0, rng=rng()
    )
    kept = cut(mixture, SPACE.choices(), threshold=0.05)
    for key, weights in mixture.items():
        assert torch.equal(kept[key], torch.where(kept[key] > 0, weights, 0))
        assert ((weights > 0.05) <= (kept[key] > 0)).all()
    most = cut(mixture, SPACE.choices(), threshold=0.999)
    assert ((most["normal"] > 0).sum(-1) == 1).all()
    assert int((most["normal" + INPUTS] > 0).sum()) == 3


def test_a_weight_at_the_threshold_is_cut_and_what_stays_is_not_scaled_up() -> None:
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0, 0.0, 0.0]).expand(1, 9, 7)
    found = cut({"normal": weights, "reduction": weights}, PLAIN.choices(), threshold=0.125)
    expected = torch.tensor([0.5, 0.25, 0, 0, 0, 0, 0]).expand(1, 9, 7)
    assert torch.equal(found["normal"], expected)


def test_what_is_cut_is_marked_as_not_needed_and_has_no_gradient() -> None:
    arch = per_task(STRATEGIES["inputs"]().init_arch(SPACE, rng=rng()))
    soft = {
        key: w.detach().requires_grad_()
        for key, w in STRATEGIES["inputs"]().mixture(SPACE, arch, sharpness=1.0, rng=rng()).items()
    }
    kept = cut(soft, SPACE.choices(), threshold=0.14)
    edges = edges_of((kept["normal" + INPUTS] > 0).float(), SPACE.choices()["normal"])
    expected = (kept["normal"] > 0) & (edges > 0).unsqueeze(-1)
    assert torch.equal(kept["normal" + NEEDED], expected)
    assert 0 < int(expected.sum()) < expected.numel()
    (gradient,) = torch.autograd.grad(kept["normal"].sum(), soft["normal"])
    assert (gradient[kept["normal"] == 0] == 0).all()


def test_pruning_for_good_is_for_good() -> None:
    logits = torch.zeros(9, 7)
    logits[:, 0], logits[:, 1] = 1.0, -1.0
    arch = {"normal": logits, "reduction": per_task({"x": logits})["x"]}
    pruned = prune_logits(arch, SPACE.choices(), temperature=0.1, threshold=0.01)
    for cell in arch:
        assert (pruned[cell][..., 0] == 1.0).all()
        assert (pruned[cell][..., 1:] == PRUNED).all()
    mixture = STRATEGIES["operations"]().mixture(SPACE, pruned, sharpness=0.0, rng=rng())
    assert (mixture["reduction"][..., 1:] == 0).all()
    assert torch.equal(logits[:, 1], torch.full((9,), -1.0))


def test_gumbel_samples_in_proportion_to_the_softmax() -> None:
    strategy = Gumbel(GumbelParams())
    logits = torch.randn(1, len(OPERATIONS), generator=rng()).expand(9, -1)
    arch = per_task({"normal": logits, "reduction": logits}, 3000)
    mixture = strategy.mixture(PLAIN, arch, sharpness=1.0, rng=rng(1))["normal"]
    assert torch.equal(mixture, mixture.round())
    assert torch.equal(mixture.sum(-1), torch.ones(3000, 9))
    found = mixture.mean((0, 1))
    deviation = (found * (1 - found) / 27000).sqrt()
    assert ((found - logits[0].softmax(0)).abs() < 4 * deviation).all()


@pytest.mark.parametrize(("sharpness", "temperature"), [(0.0, 1.0), (0.5, 0.55), (1.0, 0.1)])
def test_gumbel_cools_down_as_it_sharpens(sharpness: float, temperature: float) -> None:
    logits = torch.randn(9, 7, generator=rng())
    strategy = Gumbel(GumbelParams(hard=False))
    arch = {"normal": logits, "reduction": logits}
    found = strategy.mixture(PLAIN, arch, sharpness=sharpness, rng=None)["normal"][0]
    powers = (logits / temperature).exp()
    torch.testing.assert_close(found, powers / powers.sum(dim=1, keepdim=True))


def test_gumbel_passes_the_gradient_of_its_relaxed_sample() -> None:
    weigh = torch.randn(1, 9, 7, generator=rng(2))
    gradients = []
    for hard in (True, False):
        logits = torch.randn(9, 7, generator=rng()).requires_grad_()
        mixture = Gumbel(GumbelParams(hard=hard)).mixture(
            PLAIN, {"normal": logits, "reduction": logits}, sharpness=0.5, rng=rng(1)
        )
        gradients += torch.autograd.grad((mixture["normal"] * weigh).sum(), logits)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


@pytest.mark.parametrize("hard", [True, False])
def test_gumbel_without_a_generator_says_what_the_logits_say(hard: bool) -> None:
    logits = torch.randn(9, 7, generator=rng())
    strategy = Gumbel(GumbelParams(hard=hard))
    arch = {"normal": logits, "reduction": logits}
    found = strategy.mixture(PLAIN, arch, sharpness=1.0, rng=None)["normal"][0]
    assert torch.equal(found.argmax(-1), logits.argmax(-1))
    assert bool(((found == 0) | (found == 1)).all()) == hard


def test_random_architectures_are_uniform() -> None:
    n = 4000
    drawn = sample(SPACE.choices(), n, rng=rng())["normal"]
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    edges = drawn.sum(-1).mean(0)  # chance that an edge is kept: 2 of 2, of 3, of 4
    expected = torch.tensor([1.0] * 2 + [2 / 3] * 3 + [1 / 2] * 4)
    assert torch.allclose(edges, expected, atol=4 * 0.5 / n**0.5)
    operations = drawn.sum((0, 1)) / drawn.sum()
    assert operations[0] == 0
    assert torch.allclose(operations[1:], torch.tensor(1 / 6), atol=4 * 0.4 / (6 * n) ** 0.5)


def test_random_draws_per_task_and_learns_nothing() -> None:
    strategy = STRATEGIES["random"]()
    arch = {k: v.requires_grad_() for k, v in strategy.init_arch(SPACE, rng=rng()).items()}
    first, again, other = (
        strategy.mixture(SPACE, per_task(arch), sharpness=0.0, rng=rng(seed)) for seed in (1, 1, 2)
    )
    assert len(set(genotypes(first, SPACE.choices()))) == TASKS
    assert torch.equal(first["normal"], again["normal"])
    assert not torch.equal(first["normal"], other["normal"])
    assert not first["normal"].requires_grad
    tried = Random(RandomParams(candidates=3)).candidates(SPACE, 2, rng=rng())
    assert len({genotypes(one, SPACE.choices())[0] for one in tried}) == 3
    runs = {strategy.discretize(SPACE, strategy.init_arch(SPACE, rng=rng(s))) for s in range(5)}
    assert len(runs) == 5


def test_fixed_takes_a_file_or_text_for_the_same_architecture(tmp_path: Path) -> None:
    genotype = STRATEGIES["darts"]().discretize(
        SPACE, STRATEGIES["darts"]().init_arch(SPACE, rng=rng())
    )
    file = tmp_path / "cells.json"
    file.write_text(json.dumps(genotype.to_json()), encoding="utf-8")
    from_file, inline = FixedParams(genotype=str(file)), FixedParams(genotype=genotype.to_json())  # type: ignore[arg-type]
    assert from_file == inline
    assert FixedParams.model_validate(from_file.model_dump(mode="json")) == inline
    strategy = Fixed(inline)
    arch = strategy.init_arch(SPACE, rng=rng())
    assert strategy.discretize(SPACE, arch) == genotype
    mixture = strategy.mixture(SPACE, arch, sharpness=0.0, rng=rng())
    assert genotypes(mixture, SPACE.choices()) == [genotype]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(FixedParams(genotype="tnas-1-shot")), "but this network has only "),
        (lambda: Fixed(FixedParams(genotype={"cell": [(0, 2, "a")]})), r"cells \['cell'\]"),
        (STRATEGIES["inputs"], "no weights for pairs of inputs"),
    ],
)
def test_what_does_not_fit_the_space_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make().init_arch(PLAIN, rng=rng())
    assert "--network" in caught.value.hint


def test_impossible_parameters_are_refused(tmp_path: Path) -> None:
    for genotype in ("tnas", str(tmp_path / "absent.json")):
        with pytest.raises(ValidationError, match=r"no such genotype|cannot be read"):
            FixedParams(genotype=genotype)
    for params in (SoftPruningParams, GumbelParams):
        with pytest.raises(ValidationError, match="t_min must not be above t_max"):
            params(t_max=0.1, t_min=1.0)


@pytest.mark.parametrize("tasks", [(), (1,)])
def test_edges_whose_operations_all_weigh_one_are_ranked_by_their_logits(
    tasks: tuple[int, ...],
) -> None:
    leads = torch.tensor([2.0, 2.5, 2.0, 3.0, 6.0, 2.0, 2.5, 7.0, 8.0])
    logits = torch.zeros(*tasks, len(EDGES), len(OPERATIONS))
    logits[..., 1] = leads
    strategy = SoftPruning(SoftPruningParams(prune="operations", t_min=0.02))
    arch = dict.fromkeys(PLAIN.choices(), logits)
    weights = strategy.mixture(PLAIN, arch, sharpness=1.0, rng=None)
    assert (weights["normal"][..., 1] == 1).all(), "the leads of this test must saturate"

    found = dict(strategy.discretize(PLAIN, arch).cells)["normal"]

    kept = [(edge.source, edge.target) for edge in found]
    assert kept == [(0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]


def test_log_odds_are_those_of_the_weights() -> None:
    arch = SoftPruning(SoftPruningParams(init_std=1.0, prune="operations-and-inputs")).init_arch(
        SPACE, rng=rng()
    )
    weights = soften({key: x.double() for key, x in arch.items()}, SPACE.choices(), temperature=0.7)
    odds = log_odds(arch, SPACE.choices(), temperature=0.7)

    assert odds.keys() == weights.keys()
    torch.testing.assert_close(odds["normal"], weights["normal"].logit())
