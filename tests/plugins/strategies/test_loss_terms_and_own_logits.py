"""Strategies with a loss term and with logits of their own, and the learners that use both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, LINES, batch, check_gradients, context, generator, in_double
from torch import Tensor
from typer.testing import CliRunner

from metabench import RegularizedStrategy
from metabench.cli import app
from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import Arch, CellChoices
from metabench.plugin.contracts.episode import Labelled, TaskBatch
from metabench_plugins.learners.auto_maml import AutoMaml, AutoMamlParams
from metabench_plugins.learners.maml import Maml, MamlSearchParams
from metabench_plugins.learners.metanas.learner import Metanas
from metabench_plugins.learners.metanas.params import MetanasParams
from metabench_plugins.learners.mnas import Mnas, MnasParams, drop_paths
from metabench_plugins.learners.one_shot import OneShot, OneShotParams
from metabench_plugins.learners.parts.searched_space import ARCH
from metabench_plugins.learners.tnas import Tnas, TnasParams
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.edge_norm import EDGES, EdgeNorm, EdgeNormParams, weights_of_edges
from metabench_plugins.strategies.fair_darts import FairDarts, FairDartsParams

SPACE = ToyCell(ToyCellParams(width=5, norm="none"), LINES)
INTO = [sum(target == edge[1] for edge in SPACE.choices()[CELL].edges) for target in (2, 3, 4)]


def fair(weight: float = 10.0, **params: Any) -> FairDarts:
    return FairDarts(FairDartsParams(zero_one=weight, **{"init_std": 1.0, **params}))


def logits(strategy: Any, n_tasks: int | None = None) -> Arch:
    """Logits in float64, leaves with gradients; of several tasks, each has others."""
    arch = {k: v.double() for k, v in strategy.init_arch(SPACE, rng=generator()).items()}
    if n_tasks is not None:
        draw = generator(1)
        arch = {k: v + torch.randn(n_tasks, *v.shape, generator=draw) for k, v in arch.items()}
    return {k: v.requires_grad_() for k, v in arch.items()}


def single(tasks: TaskBatch) -> TaskBatch:
    """The same tasks in float32, but for labels."""

    def part(data: Labelled) -> Labelled:
        y = data.y.float() if data.y.is_floating_point() else data.y
        return Labelled(data.x.float(), y)

    return dataclasses.replace(tasks, support=part(tasks.support), query=part(tasks.query))


def slope_of_term(alpha: Tensor, weight: float) -> Tensor:
    """``d/dalpha_i of -w/N sum (s_i - 0.5)^2`` is ``-2 w/N (s_i - 0.5) s_i (1 - s_i)``."""
    s = alpha.detach().sigmoid()
    return -2 * weight / s.numel() * (s - 0.5) * s * (1 - s)


def test_the_zero_one_loss_is_its_closed_form() -> None:
    strategy, arch = fair(3.0), logits(fair())
    (term,) = strategy.loss_term(SPACE, arch, sharpness=0.0)
    numbers = [1 / (1 + math.exp(-a)) for a in arch[CELL].flatten().tolist()]
    by_hand = -3.0 * sum((n - 0.5) ** 2 for n in numbers) / len(numbers)
    assert term.item() == pytest.approx(by_hand, rel=1e-12)
    (slope,) = torch.autograd.grad(term, [arch[CELL]])
    assert torch.allclose(slope, slope_of_term(arch[CELL], 3.0), atol=1e-14)
    for value, wanted in ((0.0, 0.0), (50.0, -0.75), (-50.0, -0.75)):
        even = {CELL: torch.full_like(arch[CELL], value)}
        assert float(strategy.loss_term(SPACE, even, sharpness=0.0)) == pytest.approx(wanted)


def test_each_task_has_its_own_term_and_operations_do_not_compete() -> None:
    strategy, arch = fair(), logits(fair(), 3)
    terms = strategy.loss_term(SPACE, arch, sharpness=0.0)
    for task in range(3):
        own = {CELL: arch[CELL][task]}
        assert torch.allclose(strategy.loss_term(SPACE, own, sharpness=0.0), terms[task : task + 1])
    changed = arch[CELL].detach().clone()
    changed[0, 0, 0] += 1
    mixtures = [
        strategy.mixture(SPACE, {CELL: a}, sharpness=0.0, rng=None)[CELL]
        for a in (arch[CELL], changed)
    ]
    assert int((mixtures[0] != mixtures[1]).sum()) == 1


@pytest.mark.parametrize("strategy", [fair(), EdgeNorm(EdgeNormParams(init_std=1.0))])
def test_gradients_of_mixture_and_term_equal_finite_differences(strategy: Any) -> None:
    arch = logits(strategy, 2)
    weigh = torch.randn(arch[CELL].shape, generator=generator(2), dtype=torch.float64)

    def score(*values: Tensor) -> Tensor:
        own = dict(zip(arch, values, strict=True))
        total = (strategy.mixture(SPACE, own, sharpness=0.5, rng=None)[CELL] * weigh).sum()
        if isinstance(strategy, RegularizedStrategy):
            total = total + strategy.loss_term(SPACE, own, sharpness=0.5).sum()
        return total

    assert torch.autograd.gradcheck(score, list(arch.values()))
    assert torch.autograd.gradgradcheck(score, list(arch.values()))


def test_edges_into_a_node_share_a_weight_of_one() -> None:
    strategy = EdgeNorm(EdgeNormParams(init_std=1.0))
    arch = logits(strategy, 4)
    choices = SPACE.choices()[CELL]
    weights = weights_of_edges(arch[CELL + EDGES], choices)
    for task in range(4):
        for node in (2, 3, 4):
            edges = [i for i, (_, target) in enumerate(choices.edges) if target == node]
            powers = [math.exp(arch[CELL + EDGES][task, i].item()) for i in edges]
            for edge, power in zip(edges, powers, strict=True):
                assert weights[task, edge].item() == pytest.approx(power / sum(powers), rel=1e-12)
    mixture = strategy.mixture(SPACE, arch, sharpness=0.0, rng=None)
    assert list(mixture) == [CELL]
    assert torch.allclose(mixture[CELL].sum(2), weights)


def test_edges_in_any_order_are_normalized_by_their_node() -> None:
    mixed = CellChoices(((0, 3), (0, 2), (1, 3), (1, 2), (2, 3)), ("a", "b"))
    values = torch.tensor([1.0, 5.0, 1.0, 5.0, 1.0], dtype=torch.float64)
    third, half = 1 / 3, 1 / 2
    assert torch.allclose(
        weights_of_edges(values, mixed),
        torch.tensor([[third, half, third, half, third]], dtype=torch.float64),
    )


def test_with_equal_edges_it_is_darts_whose_nodes_are_means() -> None:
    strategy, darts = EdgeNorm(EdgeNormParams()), Darts(DartsParams())
    arch = logits(strategy, 3)
    even = {CELL: arch[CELL], CELL + EDGES: torch.full_like(arch[CELL + EDGES], 0.7)}
    mixture = strategy.mixture(SPACE, even, sharpness=0.0, rng=None)[CELL]
    plain = darts.mixture(SPACE, {CELL: arch[CELL]}, sharpness=0.0, rng=None)[CELL]
    n_into = torch.tensor([INTO[target - 2] for _, target in SPACE.choices()[CELL].edges])
    assert torch.allclose(mixture * n_into[None, :, None], plain, atol=1e-15)
    for task in range(3):
        own = {key: values[task] for key, values in even.items()}
        assert strategy.discretize(SPACE, own) == darts.discretize(SPACE, {CELL: own[CELL]})


def test_a_heavy_edge_is_kept() -> None:
    strategy = EdgeNorm(EdgeNormParams(init_std=0.0))
    arch = strategy.init_arch(SPACE, rng=generator())
    edges = SPACE.choices()[CELL].edges
    for wanted in ((2, 4), (3, 4)):
        arch[CELL + EDGES][edges.index(wanted)] = 2.0
    ((_, kept),) = strategy.discretize(SPACE, arch).cells
    assert [(e.source, e.target) for e in kept if e.target == 4] == [(2, 4), (3, 4)]


def maml(strategy: Any, kind: type[Maml] = Maml, **params: Any) -> Maml:
    model = TnasParams if kind is Tnas else MamlSearchParams
    found = model(**{"inner_lr": 0.05, "inner_steps": 2, **params})
    learner: Maml = in_double(kind(context(found, space=SPACE, strategy=strategy)))
    return learner


@pytest.mark.parametrize(
    "strategy",
    [fair(0.5), EdgeNorm(EdgeNormParams(init_std=0.5))],
    ids=["fair-darts", "darts-edge-norm"],
)
def test_meta_gradients_through_terms_and_own_logits_equal_finite_differences(
    strategy: Any,
) -> None:
    learner, tasks = maml(strategy, arch_inner_lr=0.2), batch()

    def loss() -> Tensor:
        start = learner.begin(tasks.support, rng=generator(1), progress=0.0)
        loss, penalty = learner.outer_losses(start, tasks)
        return loss if penalty is None else loss + penalty

    check_gradients(loss, learner.outer.weights)


@pytest.mark.parametrize("kind", [Maml, Tnas])
def test_the_inner_and_the_outer_loop_of_maml_add_the_term(kind: type[Maml]) -> None:
    def ends(weight: float) -> tuple[Tensor, Tensor, Tensor]:
        learner = maml(fair(weight), kind, inner_steps=1, arch_inner_lr=0.3)
        tasks = batch()
        start = learner.begin(tasks.support, rng=generator(), progress=0.0)
        *_, adapted = learner._path(start, tasks.support, steps=1, anneal=1)
        first = start.weights[ARCH + CELL].detach().clone()
        found = learner.meta_step(tasks, progress=0.0, rng=generator())
        return first, adapted[ARCH + CELL].detach(), found["penalty"]

    first, without, nothing = ends(0.0)
    _, with_term, penalty = ends(4.0)
    slope = torch.stack([slope_of_term(alpha, 4.0) for alpha in first])
    assert torch.allclose(with_term, without - 0.3 * slope, atol=1e-12)
    assert float(nothing) == 0.0
    distances = with_term.sigmoid() - 0.5
    assert float(penalty) == pytest.approx(-4.0 * float(distances.square().mean()), rel=1e-9)


@pytest.mark.parametrize("arch_tasks", ["half", "all"])
def test_the_shared_logits_of_auto_maml_descend_the_term_once(
    monkeypatch: pytest.MonkeyPatch, arch_tasks: str
) -> None:
    slopes = []
    for weight in (0.0, 4.0):
        params = AutoMamlParams.model_validate(
            {"inner_lr": 0.05, "inner_steps": 1, "arch_inner_lr": 0.0, "arch_tasks": arch_tasks}
        )
        learner = in_double(AutoMaml(context(params, space=SPACE, strategy=fair(weight))))
        taken: list[Sequence[Tensor | None]] = []
        apply = learner.outer.apply

        def seen(
            found: Sequence[Tensor | None], by: Any = apply, to: Any = taken, **rate: Any
        ) -> Any:
            to.append(found)
            return by(found, **rate)

        monkeypatch.setattr(learner.outer, "apply", seen)
        alpha = learner.outer.weights[ARCH + CELL].detach().clone()
        learner.meta_step(batch(), progress=0.0, rng=generator())
        slopes.append(taken[0][[*learner.outer.weights].index(ARCH + CELL)])
    assert torch.allclose(slopes[1] - slopes[0], slope_of_term(alpha, 4.0), atol=1e-12)


class WithoutTerm:
    """FairDARTS that lacks the capability."""

    def __init__(self) -> None:
        own = fair(1.0)
        self.init_arch, self.mixture, self.discretize = own.init_arch, own.mixture, own.discretize


def test_a_term_of_weight_zero_is_none() -> None:
    assert not isinstance(WithoutTerm(), RegularizedStrategy)
    first, second = maml(fair(0.0)), maml(WithoutTerm())
    for step in range(3):
        one, two = (
            learner.meta_step(batch(seed=step), progress=0.0, rng=generator(step))
            for learner in (first, second)
        )
        assert float(one["loss"]) == float(two["loss"])
        assert "penalty" not in two
    for name, weight in first.outer.weights.items():
        assert torch.equal(weight, second.outer.weights[name])


@pytest.mark.parametrize("order", ["first", "second"])
def test_the_architecture_of_one_shot_descends_the_term(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = ToyCell(ToyCellParams(width=6, norm="none"), IMAGES)
    slopes, starts, losses = [], [], []
    for weight in (0.0, 4.0):
        params = OneShotParams.model_validate({"crop": 0, "flip": False, "order": order})
        made = OneShot(context(params, kind="classification", space=space, strategy=fair(weight)))
        starts.append(made._arch[CELL].detach().clone())
        apply = made._adam.apply
        monkeypatch.setattr(
            made._adam, "apply", lambda found, by=apply: (slopes.append(found[0]), by(found))[1]
        )
        found = made.meta_step(single(batch("classification")), progress=0.0, rng=generator())
        losses.append(float(found["loss"]))
    assert torch.equal(*starts)
    assert torch.allclose(slopes[1] - slopes[0], slope_of_term(starts[0], 4.0), atol=1e-6)


def test_a_step_of_metanas_descends_the_term_and_reports_the_loss_on_the_data() -> None:
    ends, reported = [], []
    for weight in (0.0, 4.0):
        params = MetanasParams.model_validate(
            {
                "inner_optimizer": "sgd",
                "inner_steps": 1,
                "inner_batch": 4,
                "warm_up": 0.0,
                "arch_decay": 0.0,
                "arch_inner_lr": 0.3,
                "drop_path": 0.0,
                "threshold": 0.0,
                "prune_every": None,
                "arch_meta_lr": 1.0,
            }
        )
        learner = Metanas(context(params, space=SPACE, strategy=fair(weight)))
        start = learner._state.leaves[ARCH + CELL].clone()
        found = learner.meta_step(single(batch()), progress=0.5, rng=generator())
        ends.append(learner._state.leaves[ARCH + CELL])
        reported.append(float(found["loss"]))
    assert torch.allclose(ends[1] - ends[0], -0.3 * slope_of_term(start, 4.0), atol=1e-5)
    assert reported[0] == pytest.approx(reported[1], rel=1e-5)


@pytest.mark.parametrize("architecture", ["task", "shared"])
def test_the_outer_loss_of_mnas_has_the_term_of_the_logits_before_dropping(
    architecture: str,
) -> None:
    params = MnasParams.model_validate({"architecture": architecture, "penalty": 0.0})
    learner = Mnas(context(params, space=SPACE, strategy=fair(4.0)))
    tasks = single(batch())
    if architecture == "task":
        z, _ = learner._encoder(tasks.support)
        assert learner._controller is not None
        alpha = learner._controller(z)[CELL]
    else:
        alpha = learner._arch[CELL]
    wanted = -4.0 * float((alpha.detach().sigmoid() - 0.5).square().mean())
    found = learner.meta_step(tasks, progress=0.0, rng=generator())
    assert float(found["penalty"]) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    retrains = params.model_copy(update={"retrain_fraction": 0.5})
    if architecture == "task":
        learner = Mnas(context(retrains, space=SPACE, strategy=fair(4.0)))
        found = learner.meta_step(tasks, progress=0.9, rng=generator())
        assert "penalty" not in found


def test_the_controller_of_mnas_makes_own_logits_and_drops_none_of_them() -> None:
    strategy = EdgeNorm(EdgeNormParams())
    learner = Mnas(context(MnasParams(), space=SPACE, strategy=strategy))
    tasks = single(batch())
    learner.meta_step(tasks, progress=0.0, rng=generator())
    z, _ = learner._encoder(tasks.support)
    assert learner._controller is not None
    arch = learner._controller(z)
    assert arch[CELL + EDGES].shape == (len(tasks), len(SPACE.choices()[CELL].edges))
    dropped = drop_paths(arch, rate=0.9, rng=generator())
    assert torch.equal(dropped[CELL + EDGES], arch[CELL + EDGES])
    assert not dropped[CELL].isfinite().all()
    adapted = learner.adapt(tasks.support, rng=generator())
    assert adapted.genotypes is not None


@pytest.mark.parametrize("strategy", ["fair-darts", "darts-edge-norm"])
@pytest.mark.parametrize("learner", ["maml", "mnas", "metanas", "tnas", "tnas++", "auto-maml"])
def test_searching_learners_take_them_in_the_suites(
    catalog: Catalog, learner: str, strategy: str
) -> None:
    for suite, space in (("toy-regression", "toy-cell"), ("omniglot", "metanas")):
        request = RunRequest(
            learners=(learner,),
            suite=suite,
            budget="smoke",
            space=space,
            strategy=strategy,
            data="synthetic" if suite == "omniglot" else "real",
        )
        (planned,) = plan(request, catalog)
        assert planned.spec.strategy is not None
        assert planned.spec.strategy.name == strategy


def test_a_learner_that_does_not_add_terms_is_refused(catalog: Catalog) -> None:
    deaf = dataclasses.replace(catalog.learner("maml"), adds_loss_terms=False)
    changed = dataclasses.replace(catalog, learners={**catalog.learners, "maml": deaf})
    request = RunRequest(
        learners=("maml",),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell",
        strategy="fair-darts",
    )
    with pytest.raises(UsageError) as caught:
        plan(request, changed)
    assert caught.value.message == (
        "Strategy fair-darts adds a term to the loss, but learner maml does not use it."
    )
    assert "tnas" in caught.value.hint
    assert plan(dataclasses.replace(request, strategy="darts-edge-norm"), changed)


@pytest.mark.parametrize("strategy", ["fair-darts", "darts-edge-norm"])
def test_they_run_from_the_command_line(tmp_path: Path, strategy: str) -> None:
    words = ["run", "--learner", "maml,mnas", "--suite", "toy-regression", "--network", "toy-cell"]
    words += ["--strategy", strategy, "--budget", "smoke", "--limit", "2"]
    words += ["--set", "budget.meta_steps=2", "--set", "budget.meta_batch=2"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.rglob("genotypes.jsonl"))) == 2
