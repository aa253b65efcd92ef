"""Architectures and the sources of their tasks: association by chance, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metabench.stats.association import N_PERMUTATIONS, association

SOURCES = ["sine", "line", "quadratic", "harmonics"] * 250


def test_one_task_that_deviates_says_nothing() -> None:
    found = association(["common"] * 999 + ["other"], SOURCES)
    assert found.p == 1.0
    assert found.v == pytest.approx(np.sqrt(3 / 999))  # chi-square of 1 in 1,000: 3.003


def test_architectures_that_go_with_a_source_are_found() -> None:
    apart = ["wavy" if source == "harmonics" else "plain" for source in SOURCES]
    found = association(apart, SOURCES)
    assert found.p == 1 / (N_PERMUTATIONS + 1)
    assert found.v == pytest.approx(1.0)
    assert found.strength() == "Cramér's V 1.00"
    assert "chi-square test of architecture and source" in found.method()
    assert "n = 1,000 episodes" in found.method()


def test_a_few_tasks_of_one_source_are_found_and_weak() -> None:
    few = ["wavy" if i < 40 and s == "harmonics" else "plain" for i, s in enumerate(SOURCES)]
    found = association(few, SOURCES)
    assert found.p < 0.01
    assert found.v < 0.2


def test_its_level_is_kept_where_most_architectures_are_rare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metabench.stats.association.N_PERMUTATIONS", 199)  # of 1,999 it takes 3 s
    rng = np.random.default_rng(3)
    sources = SOURCES[:80]
    names = rng.geometric(0.3, size=(100, 80)).astype(str)
    p = [association(list(row), sources).p for row in names]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.05)
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_the_statistic_is_that_of_scipy() -> None:
    names = list(np.random.default_rng(4).choice(list("abc"), size=len(SOURCES)))
    table = [[sum(n == a and s == b for n, s in zip(names, SOURCES, strict=True))
              for b in set(SOURCES)] for a in "abc"]  # fmt: skip
    test = stats.chi2_contingency(table)
    found = association(names, SOURCES)
    assert found.v == pytest.approx(np.sqrt(test.statistic / (len(SOURCES) * 2)))
    assert found.p == pytest.approx(test.pvalue, abs=0.04)


def test_one_architecture_or_one_source_leaves_nothing_to_test() -> None:
    assert (association(["a"] * 4, list("wxyz")).p, association(list("wxyz"), ["a"] * 4).p) == (
        1,
        1,
    )
