"""T-NAS++ and Auto-MAML: what they share with T-NAS, and what they do otherwise."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from small_tasks import LINES, TASKS, batch, context, generator
from torch import Tensor

from metabench import conformance
from metabench.conformance.samples import same
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.episode import Labelled, TaskBatch
from metabench.plugin.specs import resolve
from metabench_plugins.learners.auto_maml import AutoMaml, AutoMamlParams
from metabench_plugins.learners.maml import Maml
from metabench_plugins.learners.maml_plus import MamlPlus
from metabench_plugins.learners.parts.conditions import of_maml_plus
from metabench_plugins.learners.parts.searched_space import is_arch
from metabench_plugins.learners.tnas import Tnas, TnasParams
from metabench_plugins.learners.tnas_plus import TnasPlus, TnasPlusParams
from metabench_plugins.spaces.toy_cell import ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.random import Random, RandomParams

CATALOG = load_catalog()
SEARCH: dict[str, Any] = {
    "inner_steps": 2,
    "order": "first",
    "inner_lr": 0.01,
    "adapt_norm": True,
    "networks": 2,
}
OFF: dict[str, Any] = {
    "learn_rates": False,
    "norm_per_step": False,
    "multi_step_parts": 0,
    "outer_lr_end": None,
    "network_order": "first",
    "network_adapt_norm": True,
}


pytestmark = pytest.mark.usefixtures("in_float64")


def make(kind: type[Tnas], params: Any, *, strategy: Any = None) -> Any:
    """Under the strategy ``random``, whose tasks decode to different architectures."""
    space = ToyCell(ToyCellParams(width=5), LINES)
    return kind(context(params, space=space, strategy=strategy or Random(RandomParams())))


def train(learner: Any, *progress: float) -> list[Tensor]:
    return [
        learner.meta_step(batch(seed=i), progress=at, rng=generator(i))["loss"]
        for i, at in enumerate(progress)
    ]


# T-NAS++ -----------------------------------------------------------------------------------------


def test_with_the_options_of_maml_plus_off_it_is_tnas_bit_for_bit() -> None:
    learners = [
        make(Tnas, TnasParams(**SEARCH)),
        make(TnasPlus, TnasPlusParams(**SEARCH, **OFF)),
    ]
    steps = (0.0, 0.45, 0.5, 0.6, 0.7, 0.9)
    losses = [train(learner, *steps) for learner in learners]
    assert all(torch.equal(*pair) for pair in zip(*losses, strict=True))
    assert same(*(learner.state_dict() for learner in learners))
    data = batch(seed=9)
    tnas, ours = (learner.adapt(data.support, rng=generator()) for learner in learners)
    assert torch.equal(tnas.predict(data.query.x), ours.predict(data.query.x))
    assert tnas.genotypes == ours.genotypes
    assert tnas.own_genotypes == ours.own_genotypes
    assert all(isinstance(network, MamlPlus) for network in learners[1]._networks.values())


def test_its_search_is_that_of_tnas_and_its_networks_have_schedules_of_their_own() -> None:
    params = TnasPlusParams(**SEARCH, multi_step_parts=50)
    learner, tnas = make(TnasPlus, params), make(Tnas, TnasParams(**SEARCH))
    losses = [train(one, 0.0, 0.45) for one in (learner, tnas)]
    assert all(torch.equal(*pair) for pair in zip(*losses, strict=True))
    train(learner, 0.5)
    network = next(iter(learner._networks.values()))
    of_network = params.of_networks
    assert (of_network.order, of_network.adapt_norm) == ("second", False)
    assert network.params == of_network
    norms = {n: w for n, w in network.outer.weights.items() if ".norm." in n}
    assert norms
    assert {len(w) for w in norms.values()} == {2}
    assert not any(n.startswith("rate.") and ".norm." in n for n in network.outer.weights)
    seen: list[float] = []
    for one in learner._networks.values():
        one.meta_step = partial(_noted, seen, one.meta_step)
    train(learner, 0.5, 0.75, 0.95)
    assert seen == pytest.approx([0.0, 0.5, 0.9])


def _noted(seen: list[float], step: Any, tasks: TaskBatch, *, progress: float, rng: Any) -> Any:
    seen.append(progress)
    return step(tasks, progress=progress, rng=rng)


def test_a_restored_learner_goes_on_as_the_saved_one() -> None:
    params = TnasPlusParams(**SEARCH)
    saved, restored = make(TnasPlus, params), make(TnasPlus, params)
    train(saved, 0.0, 0.5, 0.6)
    restored.load_state_dict(saved.state_dict())
    pairs = zip(train(saved, 0.7, 0.8), train(restored, 0.7, 0.8), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert same(saved.state_dict(), restored.state_dict())


def test_its_conditions_say_the_schedule_of_its_networks() -> None:
    falls = TnasPlusParams(outer_lr=0.002, outer_lr_end=1e-4)
    assert of_maml_plus(falls).outer_schedule == "cosine, 0.002 to 0.0001"
    spec = CATALOG.learner("tnas++")
    assert of_maml_plus(spec.params_model()(**spec.preset)).outer_schedule == "constant"


# Auto-MAML ---------------------------------------------------------------------------------------


def auto(**params: Any) -> Any:
    values = AutoMamlParams(
        **SEARCH | {"networks": 1, "arch_inner_lr": 0.0, "decode_fraction": 0.0} | params
    )
    return make(AutoMaml, values, strategy=Darts(DartsParams()))


def half(tasks: TaskBatch, part: slice) -> TaskBatch:
    support, query = (Labelled(one.x[part], one.y[part]) for one in (tasks.support, tasks.query))
    return replace(
        tasks, support=support, query=query, sources=tasks.sources[part], keys=tasks.keys[part]
    )


def gradients(learner: Maml, tasks: TaskBatch) -> dict[str, Tensor]:
    """Of the mean query loss, to all leaves: first-order MAML's."""
    start = Maml.begin(learner, tasks.support, rng=generator(), progress=0.0)
    leaves = learner.outer.weights
    found = torch.autograd.grad(learner.outer_losses(start, tasks)[0], [*leaves.values()])
    return dict(zip(leaves, found, strict=True))


@pytest.mark.parametrize("n_tasks", [TASKS, TASKS - 1, 1])
def test_one_half_of_the_tasks_trains_the_weights_and_the_other_the_logits(n_tasks: int) -> None:
    learner, tasks = auto(skip_above=None), half(batch(), slice(0, n_tasks))
    n = (n_tasks + 1) // 2
    of_weights = gradients(learner, half(tasks, slice(0, n)))
    of_logits = gradients(learner, half(tasks, slice(n_tasks - n, n_tasks)))
    expected = {name: (of_logits if is_arch(name) else of_weights)[name] for name in of_weights}
    assert sum(map(is_arch, expected)) == 1
    learner.meta_step(tasks, progress=0.0, rng=generator())
    moments = learner.outer.moments().values()
    for name, state in zip(learner.outer.weights, moments, strict=True):
        beta1 = 0.9
        torch.testing.assert_close(
            state["exp_avg"], (1 - beta1) * expected[name], rtol=1e-9, atol=1e-14, msg=name
        )


def test_all_tasks_train_both_if_asked_to() -> None:
    """Then its search is that of T-NAS with logits that tasks do not adapt."""
    ours = auto(arch_tasks="all")
    params = TnasParams(**SEARCH | {"networks": 1, "arch_inner_lr": 0.0, "decode_fraction": 0.0})
    tnas = make(Tnas, params, strategy=Darts(DartsParams()))
    steps = (0.0, 0.4, 0.5, 0.7)
    losses = [train(learner, *steps) for learner in (ours, tnas)]
    assert all(torch.equal(*pair) for pair in zip(*losses, strict=True))
    assert same(ours.state_dict(), tnas.state_dict())


def test_all_tasks_have_the_architecture_of_the_shared_logits_whose_network_is_trained() -> None:
    learner, data = auto(), batch(seed=3)
    train(learner, 0.0, 0.2, 0.4)
    logits = {n: w.detach().clone() for n, w in learner.outer.weights.items() if is_arch(n)}
    train(learner, 0.5, 0.6)
    assert all(torch.equal(w, logits[n]) for n, w in learner.outer.weights.items() if n in logits)
    (trained,) = learner._networks
    found = learner.adapt(data.support, rng=generator())
    assert found.genotypes == found.own_genotypes == [trained] * TASKS
    arch = {name.removeprefix("arch."): w for name, w in logits.items()}
    assert Darts(DartsParams()).discretize(learner.space, arch) == trained


@pytest.mark.parametrize("name", ["tnas++", "auto-maml"])
def test_the_presets_are_those_of_the_paper(name: str) -> None:
    spec, tnas = CATALOG.learner(name), CATALOG.learner("tnas")
    assert spec.preset.items() > {"order": "first", "inner_lr": 0.1, "arch_beta1": 0.5}.items()
    params = spec.params_model()(**spec.preset)
    assert issubclass(resolve(spec.factory), resolve(tnas.factory))
    shared = {"arch_inner_lr": 30.0, "multi_step_parts": 15, "networks": 4, "outer_lr": 0.001}
    alone = {"arch_inner_lr": 0.0, "arch_lr": 3e-4, "networks": 1, "arch_tasks": "half"}
    assert params.model_dump().items() > (shared if name == "tnas++" else alone).items()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tnas++", pytest.param("auto-maml", marks=pytest.mark.exhaustive)]
)
def test_it_passes_the_kit(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    checks = conformance.checks(CATALOG.learner(name), catalog=CATALOG)
    failed = {c.name: o for c in checks if (o := conformance.run_check(c)).status == "FAILED"}
    assert failed == {}
