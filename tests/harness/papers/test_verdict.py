import math

import pytest

from metabench.papers.reference import PrintedCell
from metabench.papers.verdict import verdict_on_cell
from metabench.reports.tables import TableCell
from metabench.stats import FIELD_HALF_WIDTH, SpreadRatio


def printed(value=2.0, half_width=0.3, **changes) -> PrintedCell:
    text = "" if value is None else f"{value:.3f}"
    values = {
        "text": text if half_width is None else f"{text} ± {half_width:.3f}",
        "value": value,
        "half_width": half_width,
        "n": None,
        "over": "episodes",
        "formula": None,
        "unit": "mse",
        "status": "printed",
        "note": "",
    }
    return PrintedCell(**{**values, **changes})


def ours(mean: float, half_width: float = 0.1) -> TableCell:
    return TableCell(mean, half_width, 1000, "mse")


def verdict(cell: TableCell, other: PrintedCell, *, spread=None, chance=None, deviations=()):
    return verdict_on_cell(cell, other, spread=spread, chance=chance, deviations=deviations)


@pytest.mark.parametrize(
    ("mean", "half_width", "outcome"),
    [
        (2.0, 0.1, "match"),
        (2.19, 0.1, "match"),
        (1.81, 0.1, "match"),
        (2.21, 0.1, "close"),  # out of the printed interval by 0.01
        (2.0, 0.31, "close"),  # wider than the printed one, by chance
        (2.0, 0.329, "close"),
        (2.0, 0.331, "inconclusive"),  # by more
        (5.0, 0.9, "differs"),  # a wide interval does not hide a difference
        (2.0 + 0.316, 0.1, "close"),  # sqrt(0.1^2 + 0.3^2) = 0.3162
        (2.0 - 0.316, 0.1, "close"),
        (2.0 + 0.317, 0.1, "differs"),
        (2.0 - 0.317, 0.1, "differs"),
    ],
)
def test_the_outcomes_at_their_borders(mean, half_width, outcome):
    found = verdict(ours(mean, half_width), printed())
    assert found.outcome == outcome
    assert found.difference == pytest.approx(mean - 2.0)


def test_the_reason_says_over_how_many_seeds_ours_is():
    cell = TableCell(2.0, 0.1, 3, "mse", over="seeds")
    said = verdict(cell, printed()).reason
    assert said == "our 2.000 ± 0.100 (over 3 seeds) lies inside the printed 2.000 ± 0.300."
    assert "seeds" not in verdict(ours(2.0), printed()).reason


@pytest.mark.parametrize(
    ("mean", "outcome"), [(2.09, "close"), (1.91, "close"), (2.11, "differs"), (1.89, "differs")]
)
def test_without_a_printed_interval_ours_decides_and_the_reason_says_so(mean, outcome):
    found = verdict(ours(mean), printed(half_width=None))
    assert found.outcome == outcome
    assert "has no interval" in found.reason


@pytest.mark.parametrize("mean", [2.0, 2.25, 5.0])
def test_the_reason_has_the_numbers_and_the_sign(mean):
    found = verdict(ours(mean), printed())
    assert f"{mean:.3f} ± 0.100" in found.reason
    assert "2.000 ± 0.300" in found.reason
    assert found.outcome == "match" or f"{mean - 2:+.3f}" in found.reason
    assert found.reason.endswith(".")


def test_obstacles_come_before_the_numbers():
    found = verdict(ours(2.0), printed(), deviations=("our runs are stamped smoke", "shots differ"))
    assert found.outcome == "not comparable"
    assert found.reason == "our runs are stamped smoke; shots differ."
    assert found.difference == 0.0


@pytest.mark.parametrize(
    ("status", "words"), [("missing", "is not known"), ("not reported", "prints a dash")]
)
def test_nothing_printed_is_not_comparable(status, words):
    other = printed(None, None, status=status, note="only the sum is known")
    found = verdict(ours(2.0), other)
    assert found.outcome == "not comparable"
    assert words in found.reason
    assert "(only the sum is known)" in found.reason
    assert found.difference is None


def test_no_interval_of_ours_is_not_comparable():
    found = verdict(ours(2.0, math.nan), printed())
    assert found.outcome == "not comparable"
    assert "our 2.000 has no interval" in found.reason


def test_the_printed_half_width_implies_a_spread():
    known = printed(half_width=0.196, n=400, formula=FIELD_HALF_WIDTH)
    assert known.implied_std == pytest.approx(2.0)
    assert printed(n=400).implied_std is None
    assert printed(formula=FIELD_HALF_WIDTH).implied_std is None
    assert printed(half_width=None, n=400, formula=FIELD_HALF_WIDTH).implied_std is None
    for over in ("seeds", "episodes and seeds", None):
        other = printed(half_width=0.196, n=400, over=over, formula=FIELD_HALF_WIDTH)
        assert other.implied_std is None


@pytest.mark.parametrize(
    ("spread", "comparable"), [(1.01, True), (3.99, True), (0.99, False), (4.01, False)]
)
@pytest.mark.parametrize("mean", [2.0, 5.0])
def test_spreads_a_factor_two_apart_and_beyond_sampling_are_not_comparable(
    spread, comparable, mean
):
    other = printed(half_width=0.196, n=400, formula=FIELD_HALF_WIDTH)
    found = verdict(ours(mean), other, spread=spread, chance=SpreadRatio(0.9, 1.1))
    assert f"{spread:.3f} in our runs" in found.reason
    assert "2.000 implied" in found.reason
    assert (found.outcome == "differs") == (comparable and mean == 5.0)
    assert ("protocols cannot be the same" in found.reason) != comparable


def test_spreads_a_factor_two_apart_are_compared_where_sampling_gives_that():
    other = printed(half_width=0.196, n=400, formula=FIELD_HALF_WIDTH)
    found = verdict(ours(2.0), other, spread=0.9, chance=SpreadRatio(0.3, 3.0))
    assert found.outcome == "match"
    assert "a ratio of 2.22; sampling alone gives 0.30 to 3.00" in found.reason


@pytest.mark.parametrize(("chance", "outcome"), [(1.29, "inconclusive"), (1.31, "match")])
def test_means_that_agree_say_little_where_the_spreads_are_further_apart_than_by_chance(
    chance, outcome
):
    other = printed(half_width=0.196, n=400, formula=FIELD_HALF_WIDTH)
    found = verdict(ours(2.0), other, spread=2 / 1.3, chance=SpreadRatio(0.8, chance))
    assert found.outcome == outcome
    assert ("so the agreement says little" in found.reason) == (outcome == "inconclusive")


def test_a_wide_interval_of_ours_says_little_and_the_reason_says_so():
    found = verdict(ours(2.1, 0.6), printed())
    assert found.outcome == "inconclusive"
    assert found.reason.endswith(
        "within the 0.671 that both intervals allow, but our interval is wider than the printed "
        "one, so the agreement says little."
    )


def test_no_spread_of_ours_is_infinitely_far_from_one():
    other = printed(half_width=0.196, n=400, formula=FIELD_HALF_WIDTH)
    found = verdict(ours(2.0, 0.0), other, spread=0.0, chance=SpreadRatio(1.0, 1.0))
    assert found.outcome == "not comparable"
    assert (
        "0.000 in our runs, 2.000 implied by the printed half-width, a ratio of inf" in found.reason
    )


def test_percentages_are_written_with_two_decimals():
    cell = TableCell(54.321, 1.4, 1000, "%")
    other = printed(53.94, 1.45, unit="%", text="53.94 ± 1.45")
    assert verdict(cell, other).reason == (
        "our 54.32 ± 1.40 differs by +0.38 from the printed 53.94 ± 1.45, within the 2.02 that "
        "both intervals allow."
    )


def test_two_samples_without_spread_are_alike():
    """Every episode right, here and in the paper."""
    facts = {"n": 600, "formula": FIELD_HALF_WIDTH}
    alike = SpreadRatio(1.0, 1.0)
    none = verdict(ours(2.0, 0.0), printed(half_width=0.0, **facts), spread=0.0, chance=alike)
    assert none.outcome == "match"
    some = verdict(ours(2.0, 0.0), printed(half_width=0.1, **facts), spread=0.0, chance=alike)
    assert some.outcome == "not comparable"
