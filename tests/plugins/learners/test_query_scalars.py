"""Learners with query sets in meta-training log the same quantities under the same names."""

from __future__ import annotations

import math

import pytest
import torch

from metabench import QUERY_ACCURACY, QUERY_LOSS, query_scalars
from metabench.conformance.bench import Bench
from metabench.conformance.samples import SHAPES, generator
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.episode import TaskKind
from metabench_plugins.learners.parts.query_log import QueryLog

CATALOG = load_catalog()


def logged_by(name: str, kind: TaskKind) -> dict[str, float]:
    bench = Bench(CATALOG.learner(name), kind, lambda: CATALOG)
    logged = bench.fresh().meta_step(bench.tasks(), progress=0.0, rng=generator())
    return {name: float(value) for name, value in logged.items()}


@pytest.mark.parametrize("name", ["maml", "bmaml", "hsml", "maml++", "mtnet", "mumomaml"])
def test_the_query_loss_is_a_mean_whatever_the_learner_descends(name: str) -> None:
    logged = logged_by(name, "classification")
    assert 0 <= logged[QUERY_ACCURACY] <= 1
    _, shape = SHAPES["classification"]
    if name == "maml":  # descends the sum over queries, divided by K
        expected = logged["loss"] * shape.shots / shape.n_query
        assert logged[QUERY_LOSS] == pytest.approx(expected, rel=1e-5)
    assert logged[QUERY_LOSS] == pytest.approx(math.log(shape.ways), rel=0.6)


@pytest.mark.parametrize("name", ["protonet", "matching-net", "r2d2", "tadam", "anil", "meta-sgd"])
def test_learners_of_images_log_both(name: str) -> None:
    assert logged_by(name, "classification").keys() >= {"loss", QUERY_LOSS, QUERY_ACCURACY}


@pytest.mark.parametrize("name", ["maml", "bmaml", "hsml-notree", "mtnet", "mumomaml", "anil"])
def test_in_regression_there_is_no_accuracy(name: str) -> None:
    logged = logged_by(name, "regression")
    assert QUERY_ACCURACY not in logged
    if name != "bmaml":  # whose loss is a distance of particles
        assert logged[QUERY_LOSS] == pytest.approx(logged["loss"], rel=1e-6)


def test_the_scalars_are_those_of_a_plain_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    y = torch.randint(4, (3, 7), generator=rng)
    found = query_scalars(logits, y, kind="classification")
    for task in range(3):
        loss, hits = 0.0, 0
        for row, label in zip(logits[task].tolist(), y[task].tolist(), strict=True):
            loss += math.log(sum(map(math.exp, row))) - row[label]
            hits += row.index(max(row)) == label
        assert float(found[QUERY_LOSS][task]) == pytest.approx(loss / 7)
        assert float(found[QUERY_ACCURACY][task]) == pytest.approx(hits / 7)
    assert not any(value.requires_grad for value in found.values())


def test_parts_of_unequal_size_have_the_mean_over_tasks() -> None:
    outputs, y = torch.arange(3.0).view(3, 1, 1), torch.zeros(3, 1, 1)
    log = QueryLog("regression")
    assert log.means() == {}
    log.note(outputs[:2], y[:2])
    log.note(outputs[2:], y[2:])
    assert float(log.means()[QUERY_LOSS]) == pytest.approx((0 + 1 + 4) / 3)
