import pytest

from metabench.stats import families, holm
from metabench.stats.families import adjust, count_pairs


def test_few_pairs_are_adjusted_by_holm():
    raw = [0.001, 0.04, 0.3, 0.02, 0.5, 0.9]
    found = adjust(raw, seeds=[(3, 3)] * 6, n_configs=4)
    assert list(found.p_values) == pytest.approx(list(holm(raw)))
    assert found.words == "by Holm's procedure over all 6 pairs of the 4 configurations"
    alone = adjust([0.2], seeds=[(2, 2)], n_configs=2)  # one pair is not adjusted
    assert (alone.p_values, alone.untested) == ([0.2], "")
    assert alone.words == "by Holm's procedure over the one pair"


def test_many_pairs_are_adjusted_by_bonferroni_and_need_not_all_be_known(monkeypatch):
    monkeypatch.setattr(families, "MOST_PAIRS", 5)
    two = {"seeds": [(1, 1)] * 2}
    found = adjust([0.001, 0.4], **two, n_configs=4)
    assert list(found.p_values) == pytest.approx([0.006, 1.0])
    assert found.words == "by Bonferroni's correction for all 6 pairs of the 4 configurations"
    monkeypatch.setattr(families, "MOST_PAIRS", 6)
    assert "Holm's procedure" in adjust([0.001, 0.4], **two, n_configs=4).words


def test_pairs_are_counted():
    assert [count_pairs(n) for n in (0, 1, 2, 5)] == [0, 0, 1, 10]


def test_pairs_that_cannot_be_compared_are_not_among_all_pairs():
    assert adjust([0.01, 0.02], seeds=[(1, 1)] * 2, n_configs=3).words == (
        "by Holm's procedure over all 2 pairs of the 3 configurations that can be tested"
    )


@pytest.mark.parametrize("many", [False, True])
def test_two_seeds_have_no_p_value_among_several_pairs(
    monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Theirs would be too small; of the others, Holm's family is what is tested."""
    if many:
        monkeypatch.setattr(families, "MOST_PAIRS", 2)
    found = adjust([1e-9, 0.02, 1e-9], seeds=[(2, 2), (2, 1), (0, 2)], n_configs=3)
    assert found.p_values == [None, pytest.approx(0.06 if many else 0.02), None]
    assert found.untested == (
        "with 2 seeds, intervals adjusted for 3 pairs are too narrow: each side needs at least 3"
    )
    none = adjust([1e-9] * 3, seeds=[(2, 2)] * 3, n_configs=3)
    assert (none.p_values, none.words) == ([None] * 3, "")
