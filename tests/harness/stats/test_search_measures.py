"""Measures of searches: hand-worked values, and what noise and separation give."""

from __future__ import annotations

import numpy as np
import pytest

from metabench.stats import search_measures as measures
from metabench.stats.search_measures import (
    MEASURES,
    of_embeddings,
    of_genotypes,
    of_own_genotypes,
    probe,
    silhouette,
    wilson,
)

LABELS = [name for _ in range(60) for name in ("bird", "car", "sky")]


def clouds(*, apart: float) -> np.ndarray:
    """Points of unit spread around three centers on the axes."""
    noise = np.random.default_rng(0).normal(size=(len(LABELS), 8))
    return noise + apart * np.eye(8)[np.arange(len(LABELS)) % 3]


def test_silhouette_by_hand() -> None:
    x = np.array([[0.0], [2.0], [5.0], [5.0], [9.0]])
    labels = ["a", "a", "b", "b", "c"]
    # a: inside 2; nearest other b at 5 and 3. b: inside 0. c is alone.
    assert silhouette(x, labels) == pytest.approx((3 / 5 + 1 / 3 + 1 + 1 + 0) / 5)


def test_silhouette_of_equal_points_is_zero() -> None:
    assert silhouette(np.full((6, 3), 0.1), list("aabbcc")) == 0.0


def test_silhouette_equals_plain_loops() -> None:
    x, values = clouds(apart=2.0), []
    for i, mine in enumerate(LABELS):
        distance = np.linalg.norm(x - x[i], axis=1)
        means = {
            name: distance[[j for j, other in enumerate(LABELS) if other == name and j != i]].mean()
            for name in set(LABELS)
        }
        a, b = means.pop(mine), min(means.values())
        values.append((b - a) / max(a, b))
    assert silhouette(x, LABELS) == pytest.approx(np.mean(values), rel=1e-9)


def test_probe_tells_apart_what_is_apart() -> None:
    assert probe(clouds(apart=8.0), LABELS) == 1.0
    assert 0.6 < probe(clouds(apart=2.0), LABELS) < 1.0


def test_probe_of_noise_and_of_nothing_is_chance() -> None:
    low, high = wilson(probe(clouds(apart=0.0), LABELS), len(LABELS))
    assert low < 1 / 3 < high
    assert probe(np.ones((len(LABELS), 4)), LABELS) == pytest.approx(1 / 3)
    few_and_many = ["bird"] * 20 + ["car"] * 40
    assert probe(np.ones((60, 4)), few_and_many) == pytest.approx(2 / 3)  # the most common one


def test_probe_does_not_depend_on_units() -> None:
    x = clouds(apart=1.5)
    assert probe(x * np.logspace(-3, 3, x.shape[1]) + 7.0, LABELS) == probe(x, LABELS)


def test_probe_is_never_shown_what_it_is_asked() -> None:
    """With more features than points, whoever is fitted to all of them makes no error."""
    x = np.random.default_rng(1).normal(size=(30, 200))
    assert probe(x, [name for _ in range(10) for name in "abc"]) < 0.7


def test_embeddings_need_sources_and_tasks() -> None:
    x = clouds(apart=3.0)
    assert of_embeddings(x, ["one"] * len(x)) == {}
    assert of_embeddings(x[:27], LABELS[:27]) == {}  # 9 of each
    found = of_embeddings(x, LABELS)
    assert found["embeddings"] == 180
    assert found["embedding_silhouette"] == pytest.approx(silhouette(x, LABELS), rel=1e-5)


def test_every_measure_is_described() -> None:
    found = of_genotypes(["a"]) | of_own_genotypes([True])
    found |= of_embeddings(clouds(apart=1.0), LABELS)
    assert found.keys() == MEASURES.keys()
    assert set(measures.PROPORTIONS.items()) <= {(a, b) for a in found for b in found}


def test_wilson_interval() -> None:
    # Published: 81 of 263 gives 0.2553 to 0.3662 (Newcombe, 1998).
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(1.0, 50)[1] == pytest.approx(1.0)
    assert wilson(0.0, 50)[0] == 0.0
