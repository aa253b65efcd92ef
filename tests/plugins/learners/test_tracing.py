"""Learners that show how their mixture changes: it ends where adaptation decodes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import LINES, batch, context, generator

from metabench.conformance.samples import same
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.episode import Labelled
from metabench.plugin.specs import resolve
from metabench.running.engines.states import copied
from metabench_plugins.learners.maml import Maml, MamlParams, MamlSearchParams
from metabench_plugins.learners.metanas.learner import Metanas
from metabench_plugins.learners.metanas.params import MetanasParams
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.parts.decoding import genotypes, harden

CATALOG = load_catalog()
SPACE = ToyCell(ToyCellParams(width=5), LINES)
STEPS = 3


def strategy_of(name: str) -> Any:
    spec = CATALOG.strategy(name)
    # At a lower temperature operations tie in float32, and the traced weights do not decide.
    params = {"t_min": 0.5} if name == "soft-pruning" else {}
    return resolve(spec.factory)(spec.params_model()(**params))


def support() -> Labelled:
    found = batch().support
    return Labelled(found.x.float(), found.y.float())


def maml(strategy: str) -> Any:
    params = MamlSearchParams(inner_lr=0.5, inner_steps=2, arch_inner_lr=50.0)
    return Maml(context(params, space=SPACE, strategy=strategy_of(strategy), steps_at_test=STEPS))


def metanas(strategy: str) -> Any:
    params = MetanasParams(
        test_steps=1,
        test_steps_arch=STEPS,
        test_batch=4,
        inner_batch=4,
        arch_inner_lr=0.3,
        threshold_at_test=0.0,
    )
    return Metanas(
        context(params, space=SPACE, strategy=strategy_of(strategy), steps_at_test=STEPS)
    )


@pytest.mark.parametrize("make", [maml, metanas])
@pytest.mark.parametrize("strategy", ["darts", "soft-pruning", "gumbel"])
def test_a_trace_ends_at_the_architecture_of_adapt(make: Any, strategy: str) -> None:
    learner = make(strategy)
    before = copied(learner.state_dict())
    path = learner.trace(support(), rng=generator())
    assert same(before, learner.state_dict())
    assert len(path) == 1 + STEPS
    for mixture in path:
        assert mixture[CELL].shape[0] == len(support().x)
        torch.testing.assert_close(
            mixture[CELL].sum(dim=-1), torch.ones_like(mixture[CELL][..., 0])
        )
    assert not torch.equal(path[0][CELL], path[-1][CELL])
    if strategy != "gumbel":  # what it draws is not what it decodes
        found = genotypes(harden(path[-1], SPACE.choices()), SPACE.choices())
        assert found == list(learner.adapt(support(), rng=generator()).genotypes)


def test_a_trace_shows_each_step_at_the_temperature_that_it_descended_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, asked = maml("soft-pruning"), []
    strategy = learner.context.strategy
    mixture = strategy.mixture

    def watched(*args: Any, sharpness: float, **others: Any) -> Any:
        asked.append(sharpness)
        return mixture(*args, sharpness=sharpness, **others)

    monkeypatch.setattr(strategy, "mixture", watched)
    learner.trace(support(), rng=generator())
    # What is shown before the first step, then in turns what a step descends and what is shown.
    assert asked == [0.0, *(0.0, 0.0), *(0.5, 0.5), *(1.0, 1.0)]


@pytest.mark.parametrize("make", [maml, metanas])
def test_what_is_drawn_has_no_trace(make: Any) -> None:
    assert make("random").trace(support(), rng=generator()) == []


def test_a_fixed_network_has_no_trace() -> None:
    assert Maml(context(MamlParams())).trace(support(), rng=generator()) == []
