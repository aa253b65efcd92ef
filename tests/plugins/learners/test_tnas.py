"""T-NAS: its search is MAML's, and its retrained networks solve the tasks nearest to them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from small_tasks import LINES, TASKS, batch, context, generator

from metabench import conformance
from metabench.conformance.samples import same
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.running.engines.states import copied
from metabench_plugins.learners.maml import Maml
from metabench_plugins.learners.tnas import Tnas, TnasParams, nearest
from metabench_plugins.spaces.toy_cell import ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.random import Random, RandomParams

CATALOG = load_catalog()


pytestmark = pytest.mark.usefixtures("in_float64")


def make(kind: type[Maml] = Tnas, **params: Any) -> Any:
    """Under the strategy ``random``, whose tasks decode to different architectures."""
    values = TnasParams(inner_steps=2, order="first", inner_lr=0.01, **params)
    space = ToyCell(ToyCellParams(width=5), LINES)
    return kind(context(values, space=space, strategy=Random(RandomParams())))


def train(learner: Any, *progress: float) -> list[float]:
    return [
        float(learner.meta_step(batch(), progress=at, rng=generator(i))["loss"])
        for i, at in enumerate(progress)
    ]


def test_while_it_searches_it_is_maml_on_weights_and_logits() -> None:
    ours, maml = make(search_fraction=1.0), make(Maml)
    steps = (0.0, 0.5, 0.95)  # the last one counts architectures as well
    losses = [train(ours, *steps), train(maml, *steps[:2])]
    assert losses[0][:2] == losses[1]
    assert sum(ours._counts.values()) == TASKS
    data = batch()
    found = [one.adapt(data.support, rng=generator()) for one in (make(), make(Maml))]
    assert torch.equal(found[0].predict(data.query.x), found[1].predict(data.query.x))


def test_the_most_common_networks_are_trained_in_turns_and_the_supernet_rests() -> None:
    learner = make(networks=3)
    train(learner, 0.0, 0.45, 0.46)
    rests = {name: w.detach().clone() for name, w in learner.outer.weights.items()}
    assert len(learner._counts) > 3
    train(learner, 0.5)
    assert [*learner._networks] == [g for g, _ in learner._counts.most_common(3)]
    first = [network.state_dict()["adam"] for network in learner._networks.values()]
    assert [bool(adam) for adam in first] == [True, False, False]
    train(learner, 0.6, 0.7, 0.8)
    turns = [
        next(iter(network.state_dict()["adam"].values()))["step"].item()
        for network in learner._networks.values()
    ]
    assert turns == [2, 1, 1]
    assert all(torch.equal(w, rests[name]) for name, w in learner.outer.weights.items())


def test_what_tasks_decode_to_is_counted_when_the_search_ends() -> None:
    values = TnasParams(inner_steps=2, order="first", inner_lr=0.5, networks=2)
    space = ToyCell(ToyCellParams(width=5), LINES)
    learner, maml = (
        kind(context(values, space=space, strategy=Darts(DartsParams(init_std=0.1))))
        for kind in (Tnas, Maml)
    )
    seen: Counter[Genotype] = Counter()
    for index, at in enumerate((0.45, 0.46)):
        data = batch(seed=index)
        seen.update(maml.adapt(data.support, rng=generator(index)).genotypes or ())
        for one in (learner, maml):
            one.meta_step(data, progress=at, rng=generator(index))
    assert not learner._counts
    again = Tnas(learner.context)
    again.load_state_dict(copied(learner.state_dict()))
    for one in (learner, again):
        one.meta_step(batch(), progress=0.5, rng=generator())
        assert one._counts == seen
        assert [*one._networks] == [genotype for genotype, _ in seen.most_common(2)]


def test_a_network_is_trained_from_scratch_by_maml_of_the_same_order() -> None:
    learner = make(networks=1)
    train(learner, 0.5)
    (genotype,) = learner._networks
    space = learner.space.child(genotype)
    # The generator has counted the batch before it draws the network's weights.
    rng = generator(0)
    make().adapt(batch().support, rng=rng)
    alone = Maml(context(learner.params, space=space, rng=rng))
    alone.meta_step(batch(), progress=0.5, rng=rng)
    assert same(alone.state_dict(), learner._networks[genotype].state_dict())


def test_without_a_counted_task_the_first_batch_after_the_search_is_counted() -> None:
    learner = make(networks=2, decode_fraction=0.0)
    train(learner, 0.0, 0.49)
    assert not learner._counts
    train(learner, 0.5)
    assert len(learner._networks) == 2


def test_each_task_is_solved_by_the_trained_network_nearest_to_its_own() -> None:
    learner, data = make(networks=2), batch(seed=3)
    train(learner, 0.0, 0.5, 0.6)
    own = Maml.adapt(learner, data.support, rng=generator())
    found = learner.adapt(data.support, rng=generator())
    assert found.genotypes == [nearest(g, [*learner._networks]) for g in own.genotypes]
    assert found.own_genotypes == own.genotypes
    assert len(set(found.genotypes)) == 2
    predicted = found.predict(data.query.x)
    for task, genotype in enumerate(found.genotypes):
        alone = learner._networks[genotype].adapt(data.support, rng=generator())
        assert torch.allclose(predicted[task], alone.predict(data.query.x)[task], rtol=1e-12)
        for ours, theirs in zip(found.curve, alone.curve, strict=True):
            assert torch.allclose(ours(data.query.x)[task], theirs(data.query.x)[task])
        weights = learner.space.child(genotype).init_weights(rng=generator())
        assert found.n_params[task] == sum(weight.numel() for weight in weights.values())
    assert torch.equal(found.variants["supernet"](data.query.x), own.predict(data.query.x))


def test_a_restored_learner_goes_on_as_the_saved_one() -> None:
    saved, restored = make(networks=2), make(networks=2)
    train(saved, 0.0, 0.5, 0.6)
    restored.load_state_dict(saved.state_dict())
    assert train(saved, 0.7, 0.8) == train(restored, 0.7, 0.8)
    assert same(saved.state_dict(), restored.state_dict())


def test_the_nearest_genotype_shares_most_edges() -> None:
    def genotype(*primitives: str) -> Genotype:
        return Genotype.of({"normal": [Edge(i, 2, p) for i, p in enumerate(primitives)]})

    known = [genotype("skip", "skip"), genotype("skip", "conv"), genotype("conv", "skip")]
    assert nearest(genotype("conv", "skip"), known) == known[2]
    assert nearest(genotype("pool", "conv"), known) == known[1]
    assert nearest(genotype("pool", "pool"), known) == known[0]


@pytest.mark.slow
def test_it_passes_the_kit() -> None:
    torch.set_default_dtype(torch.float32)
    checks = conformance.checks(CATALOG.learner("tnas"), catalog=CATALOG)
    failed = {c.name: o for c in checks if (o := conformance.run_check(c)).status == "FAILED"}
    assert failed == {}
