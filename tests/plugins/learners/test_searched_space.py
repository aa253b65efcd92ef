"""MAML under every strategy on the toy cell: gradients, annealing, decoding, random candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, LINES, TASKS, batch, check_gradients, context, generator, in_double
from torch import Tensor

from metabench import conformance
from metabench.inner_steps import inner_loop, share
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.architecture import Mixture, Params
from metabench.plugin.contracts.episode import Labelled
from metabench.plugin.specs import resolve
from metabench_plugins.learners.maml import Maml, MamlSearchParams
from metabench_plugins.learners.metanas.learner import Metanas
from metabench_plugins.learners.metanas.params import MetanasParams
from metabench_plugins.learners.parts.gradient_learner import Start
from metabench_plugins.learners.parts.searched_space import SearchedSpace
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.parts import supernet
from metabench_plugins.spaces.parts.supernet import CellNetwork
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.gumbel import Gumbel, GumbelParams
from metabench_plugins.strategies.random import Random, RandomParams
from metabench_plugins.strategies.soft_pruning import SoftPruning, SoftPruningParams

CATALOG = load_catalog()
SPACE = ToyCell(ToyCellParams(width=5), LINES)
INNER = {"inner_lr": 0.05, "inner_steps": 2}
NAMES = ("darts", "fair-darts", "darts-edge-norm", "soft-pruning", "gumbel", "random", "fixed")
QUICK = ("gumbel", "darts-edge-norm")
"""The strategies that the kit is run under each time: one that draws, and one with own logits."""


def maml(strategy: Any, *, space: Any = SPACE, **params: Any) -> Maml:
    found = MamlSearchParams(**{**INNER, **params})
    learner: Maml = in_double(Maml(context(found, space=space, strategy=strategy)))
    return learner


def strategy_of(name: str, **params: Any) -> Any:
    spec = CATALOG.strategy(name)
    return resolve(spec.factory)(spec.params_model().model_validate(params))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.exhaustive) for name in NAMES],
)
@pytest.mark.parametrize("kind", ["regression"])
def test_maml_passes_the_kit_on_a_searched_network_under(name: str, kind: Any) -> None:
    catalog = dataclasses.replace(
        CATALOG,
        search_spaces={"toy-cell": CATALOG.space("toy-cell")},
        nas_strategies={name: CATALOG.strategy(name)},
    )
    spec = dataclasses.replace(catalog.learner("maml"), kinds=(kind,))
    checks = [c for c in conformance.checks(spec, catalog=catalog) if "searched: " in c.name]
    assert len(checks) > 10
    found = {c.name: conformance.run_check(c) for c in checks}
    assert {n: o for n, o in found.items() if o.status != "ok"} == {}


@pytest.mark.parametrize("name", NAMES)
def test_under_every_strategy_it_learns_and_reports_architectures(name: str) -> None:
    learner = maml(strategy_of(name), outer_lr=0.01, arch_lr=0.01)
    tasks = batch()
    losses = [
        float(learner.meta_step(tasks, progress=0.0, rng=generator(seed))["loss"])
        for seed in range(30)
    ]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    adapted = learner.adapt(tasks.support, rng=generator())
    assert adapted.genotypes is not None
    assert adapted.n_params is not None
    for genotype, n_params in zip(adapted.genotypes, adapted.n_params, strict=True):
        ((cell, edges),) = genotype.cells
        assert (cell, len(edges)) == (CELL, 6)
        weights = SPACE.child(genotype).init_weights(rng=generator())
        assert n_params == sum(w.numel() for w in weights.values())
    assert adapted.curve is not None
    assert torch.equal(adapted.predict(tasks.query.x), adapted.curve[3](tasks.query.x))


@pytest.mark.parametrize(
    "strategy",
    [
        Darts(DartsParams(init_std=0.5)),
        SoftPruning(SoftPruningParams(init_std=0.5, t_min=0.4)),
        Gumbel(GumbelParams(init_std=0.5, t_min=0.4, hard=False)),
    ],
    ids=["darts", "soft-pruning", "gumbel"],
)
def test_meta_gradients_of_weights_and_logits_equal_finite_differences(strategy: Any) -> None:
    # Without batch norm, whose few examples turn the ReLUs' kinks into cliffs.
    space = ToyCell(ToyCellParams(width=5, norm="none"), LINES)
    learner, tasks = maml(strategy, space=space, arch_inner_lr=0.2), batch()

    def loss() -> Tensor:
        start = learner.begin(tasks.support, rng=generator(1), progress=0.0)
        return learner.outer_losses(start, tasks)[0]

    check_gradients(loss, learner.outer.weights)


def test_without_a_step_of_the_logits_it_is_maml_on_the_mixed_network() -> None:
    learner, tasks = maml(Darts(DartsParams(init_std=0.5)), arch_inner_lr=0), batch()
    start = {n: w.detach().clone().requires_grad_() for n, w in learner.outer.weights.items()}
    logits = start.pop(f"arch.{CELL}")

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        out = SPACE.forward(weights, {CELL: logits.softmax(-1)[None]}, x)
        return (out - y).square().mean((1, 2))

    end = inner_loop(
        lambda w: loss(w, tasks.support.x, tasks.support.y),
        share(start, TASKS),
        steps=2,
        lr=0.05,
        order="second",
        adapted=[n for n in start if "norm" not in n],
    )
    expected = {**start, f"arch.{CELL}": logits}
    gradients = torch.autograd.grad(
        loss(end, tasks.query.x, tasks.query.y).mean(), list(expected.values())
    )
    adam = torch.optim.Adam(expected.values(), lr=0.001)
    for weight, gradient in zip(expected.values(), gradients, strict=True):
        weight.grad = gradient
    adam.step()
    learner.meta_step(tasks, progress=0.0, rng=generator())
    for name, weight in expected.items():
        assert torch.allclose(learner.outer.weights[name], weight, rtol=1e-9, atol=1e-11), name


def test_the_inner_rate_of_the_logits_is_their_own() -> None:
    tasks = batch()
    logits, moves = f"arch.{CELL}", []
    for rate in (None, 0.05, 0.5, 0):
        learner = maml(Darts(DartsParams(init_std=0.5)), arch_inner_lr=rate)
        start = learner.begin(tasks.support, rng=generator(), progress=0.0)
        path = list(learner._path(start, tasks.support, steps=1, anneal=1))
        moves.append((path[1][logits] - path[0][logits]).detach())
    assert torch.allclose(moves[0], moves[1], rtol=1e-12)
    assert torch.allclose(10 * moves[0], moves[2], rtol=1e-9)
    assert moves[0].abs().sum() > 0
    assert moves[3].abs().sum() == 0


def test_gradients_of_the_logits_are_those_at_the_present_weights() -> None:
    """MetaNAS's released code took them at the weights the task began with."""
    tasks = batch()
    learner = maml(Darts(DartsParams(init_std=0.5)))
    start = learner.begin(tasks.support, rng=generator(), progress=0.0)
    path = list(learner._path(start, tasks.support, steps=2, anneal=2))
    logits = f"arch.{CELL}"
    first, second = (path[i + 1][logits] - path[i][logits] for i in range(2))
    weights = path[1] | {n: path[0][n] for n in path[0] if n != logits}
    again = learner._loss(start, weights, data=tasks.support)
    (stale,) = torch.autograd.grad(again.sum(), path[1][logits])
    assert not torch.allclose(second, -0.05 * stale, rtol=1e-3)
    assert not torch.allclose(first, second, rtol=1e-3)


class Spy(SoftPruning):
    """Writes down at which sharpness it is asked."""

    def __init__(self) -> None:
        super().__init__(SoftPruningParams())
        self.asked: list[float] = []

    def mixture(self, space: Any, arch: Any, *, sharpness: float, rng: Any) -> Mixture:
        self.asked.append(sharpness)
        return super().mixture(space, arch, sharpness=sharpness, rng=rng)


def test_the_annealing_runs_over_the_inner_steps_and_stays() -> None:
    spy = Spy()
    learner = maml(spy, inner_steps=3)
    learner.meta_step(batch(), progress=0.0, rng=generator())
    assert spy.asked == [0.0, 0.5, 1.0, 1.0]  # the last is the query pass
    spy.asked.clear()
    learner.context = dataclasses.replace(learner.context, curve_steps=5)
    adapted = learner.adapt(batch().support, rng=generator())
    assert adapted.curve is not None
    adapted.curve[5](batch().query.x)
    assert spy.asked == [0.0, 0.5, 1.0, 1.0, 1.0]


def test_all_passes_of_a_task_see_the_same_noise() -> None:
    search = SearchedSpace(SPACE, Random(RandomParams()))
    weights = share(search.init_logits(rng=generator()), TASKS)
    mix = search.mixing(rng=generator(1))
    assert torch.equal(mix(weights, 0.0)[CELL], mix(weights, 1.0)[CELL])
    other = search.mixing(rng=generator(2))
    assert not torch.equal(mix(weights, 0.0)[CELL], other(weights, 0.0)[CELL])
    first, second = (search.mixing(rng=generator(seed), at_test=True) for seed in (1, 2))
    assert torch.equal(first(weights, 0.0)[CELL], second(weights, 0.0)[CELL])


def test_each_task_keeps_the_candidate_of_its_lowest_support_loss() -> None:
    learner, tasks = maml(Random(RandomParams(candidates=6))), batch()
    for seed in range(5):
        learner.meta_step(tasks, progress=0.0, rng=generator(seed))
    rng = generator(3)
    (like, *_) = learner._weights.values()
    candidates = learner._search.candidates(TASKS, rng=generator(3), like=like)  # type: ignore[union-attr]
    losses = []
    for candidate in candidates:
        start = Start(
            weights=share(learner._weights, TASKS),
            adapted=learner._adapted,
            mixture=candidate.mixture,
        )
        (*_, end) = learner._path(start, tasks.support, steps=3, anneal=3, order="none")
        losses.append(learner._loss(start, end, data=tasks.support))
    best = torch.stack(losses).argmin(0).tolist()
    assert len(set(best)) > 1
    adapted = learner.adapt(tasks.support, rng=rng)
    assert adapted.genotypes == [candidates[c].genotypes[task] for task, c in enumerate(best)]


def test_a_diverged_candidate_is_not_kept() -> None:
    learner, tasks = maml(Random(RandomParams(candidates=2))), batch()
    start = learner.begin(tasks.support, rng=generator(), progress=None)
    broken, sound = start.candidates
    broken = dataclasses.replace(
        broken, mixture={CELL: broken.mixture[CELL].double() * float("nan")}
    )
    start = dataclasses.replace(start, candidates=(broken, sound))
    with torch.no_grad():
        settled = learner._settle(start, tasks.support)
    assert torch.equal(_mixture(settled)[CELL], sound.mixture[CELL])


def _mixture(start: Start) -> Mapping[str, Tensor]:
    assert not callable(start.mixture)
    return start.mixture


def test_at_test_the_decoded_or_the_mixed_network_predicts() -> None:
    tasks, strategy = batch(), SoftPruning(SoftPruningParams(init_std=0.5))
    hard, soft = (
        maml(strategy, arch_at_test=kind).adapt(tasks.support, rng=generator())
        for kind in ("hard", "soft")
    )
    assert hard.genotypes == soft.genotypes
    assert not torch.allclose(hard.predict(tasks.query.x), soft.predict(tasks.query.x), rtol=1e-3)
    supernet = sum(w.numel() for w in SPACE.init_weights(rng=generator()).values())
    assert soft.n_params == [supernet] * TASKS
    # Where all but one operation of an edge count as 0, there is less to mix.
    cut = maml(strategy, arch_at_test="soft", threshold_at_test=0.9)
    start = cut.begin(tasks.support, rng=generator(), progress=None)
    assert callable(start.mixture)
    assert ((start.mixture(start.weights, 1.0)[CELL] > 0).sum(-1) == 1).all()
    trained = cut.begin(tasks.support, rng=generator(), progress=0.0)
    assert callable(trained.mixture)
    assert (trained.mixture(trained.weights, 1.0)[CELL] > 0).all()


@pytest.mark.parametrize("kind", ["maml", "metanas"])
def test_the_number_of_weights_is_that_of_the_operations_that_a_threshold_leaves(kind: str) -> None:
    """Of each task, under a strategy whose mixture all tasks share as well."""
    space = metanas(MetaNasParams(channels=2, cells=2, nodes=2), IMAGES)
    total = sum(w.numel() for w in space.init_weights(rng=generator()).values())
    sharp = {"init_std": 1.0, "t_min": 0.2}
    for name, params in (("soft-pruning", sharp), ("fixed", {}), ("darts", {})):
        found = {"inner_steps": 1, "threshold_at_test": 0.3 if params else 1e-9}
        values: dict[str, Any] = {"kind": "classification", "space": space}
        values["strategy"] = strategy_of(name, **params)
        learner: Any
        if kind == "maml":
            learner = Maml(context(MamlSearchParams(**found, arch_at_test="soft"), **values))
        else:
            own = MetanasParams(**found, test_steps=1, test_steps_arch=1)
            learner = Metanas(context(own, **values))
        tasks = batch("classification")
        support = Labelled(tasks.support.x.float(), tasks.support.y)
        sizes = list(learner.adapt(support, rng=generator()).n_params)
        assert len(sizes) == TASKS
        assert all(size == total if name == "darts" else size < total for size in sizes)


def test_a_task_may_end_at_an_architecture_of_its_own() -> None:
    learner, tasks = maml(Darts(DartsParams()), arch_inner_lr=20.0), batch()
    adapted = learner.adapt(tasks.support, rng=generator())
    assert adapted.genotypes is not None
    assert len(set(adapted.genotypes)) > 1
    learner = maml(Darts(DartsParams()), arch_inner_lr=0)
    adapted = learner.adapt(tasks.support, rng=generator())
    assert adapted.genotypes is not None
    assert len(set(adapted.genotypes)) == 1


@pytest.mark.parametrize("name", ["darts", "soft-pruning", "gumbel", "random"])
def test_at_test_the_graphs_of_few_image_tasks_live_at_a_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = metanas(MetaNasParams(channels=2, cells=2, nodes=2), IMAGES)
    found = MamlSearchParams(inner_lr=0.05, arch_inner_lr=5.0, arch_at_test="soft")
    setting = context(found, kind="classification", space=space, strategy=strategy_of(name))
    learner, tasks = in_double(Maml(setting)), batch("classification")
    forward, with_graph = CellNetwork.forward, set()

    def watched(self: CellNetwork, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            with_graph.add(len(x))
        return forward(self, weights, mixture, x)

    monkeypatch.setattr(CellNetwork, "forward", watched)
    predictions = []
    for limit, at_once in ((1, {1}), (10**6, {TASKS})):
        monkeypatch.setattr(supernet, "MAPS_AT_ONCE", limit)
        with_graph.clear()
        adapted = learner.adapt(tasks.support, rng=generator())
        with torch.no_grad():
            predictions.append(adapted.predict(tasks.query.x))
        assert with_graph == at_once
    torch.testing.assert_close(*predictions, rtol=1e-8, atol=1e-8)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
