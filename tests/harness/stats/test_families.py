import pytest

from metabench.stats import families, holm
from metabench.stats.families import adjust, count_pairs


def test_few_pairs_are_adjusted_by_holm():
    raw = [0.001, 0.04, 0.3, 0.02, 0.5, 0.9]
    found = adjust(raw, n_configs=4)
    assert list(found.p_values) == pytest.approx(list(holm(raw)))
    assert found.words == "by Holm's procedure over all 6 pairs of the 4 configurations"
    assert adjust([0.2], n_configs=2).words == "by Holm's procedure over the one pair"


def test_many_pairs_are_adjusted_by_bonferroni_and_need_not_all_be_known(monkeypatch):
    monkeypatch.setattr(families, "MOST_PAIRS", 5)
    found = adjust([0.001, 0.4], n_configs=4)
    assert list(found.p_values) == pytest.approx([0.006, 1.0])
    assert found.words == "by Bonferroni's correction for all 6 pairs of the 4 configurations"
    monkeypatch.setattr(families, "MOST_PAIRS", 6)
    assert "Holm's procedure" in adjust([0.001, 0.4], n_configs=4).words


def test_pairs_are_counted():
    assert [count_pairs(n) for n in (0, 1, 2, 5)] == [0, 0, 1, 10]


def test_pairs_that_cannot_be_compared_are_not_among_all_pairs():
    assert adjust([0.01, 0.02], n_configs=3).words == (
        "by Holm's procedure over all 2 pairs of the 3 configurations that can be compared"
    )
