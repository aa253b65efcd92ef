import math

import pytest

from metabench.references import FIELD_FORMULA, PrintedCell
from metabench.tables import Cell
from metabench.verdicts import judge


def printed(value=2.0, half_width=0.3, **changes) -> PrintedCell:
    text = "" if value is None else f"{value:.3f}"
    values = {
        "text": text if half_width is None else f"{text} ± {half_width:.3f}",
        "value": value,
        "half_width": half_width,
        "n": None,
        "formula": None,
        "unit": "mse",
        "status": "printed",
        "note": "",
    }
    return PrintedCell(**{**values, **changes})


def ours(mean: float, half_width: float = 0.1) -> Cell:
    return Cell(mean, half_width, 1000, "mse")


def verdict(cell: Cell, other: PrintedCell, *, spread=None, obstacles=()):
    return judge(cell, other, spread=spread, obstacles=obstacles)


@pytest.mark.parametrize(
    ("mean", "half_width", "outcome"),
    [
        (2.0, 0.1, "match"),
        (2.19, 0.1, "match"),
        (1.81, 0.1, "match"),
        (2.21, 0.1, "close"),  # out of the printed interval by 0.01
        (2.0, 0.31, "close"),  # wider than the printed one
        (2.0 + 0.316, 0.1, "close"),  # sqrt(0.1^2 + 0.3^2) = 0.3162
        (2.0 - 0.316, 0.1, "close"),
        (2.0 + 0.317, 0.1, "differs"),
        (2.0 - 0.317, 0.1, "differs"),
    ],
)
def test_three_outcomes_at_their_borders(mean, half_width, outcome):
    found = verdict(ours(mean, half_width), printed())
    assert found.outcome == outcome
    assert found.difference == pytest.approx(mean - 2.0)


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
    found = verdict(ours(2.0), printed(), obstacles=("our runs are stamped smoke", "shots differ"))
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
    known = printed(half_width=0.196, n=400, formula=FIELD_FORMULA)
    assert known.implied_std == pytest.approx(2.0)
    assert printed(n=400).implied_std is None
    assert printed(formula=FIELD_FORMULA).implied_std is None
    assert printed(half_width=None, n=400, formula=FIELD_FORMULA).implied_std is None


@pytest.mark.parametrize(
    ("spread", "comparable"), [(1.01, True), (3.99, True), (0.99, False), (4.01, False)]
)
def test_spreads_that_differ_by_more_than_a_factor_two_are_not_comparable(spread, comparable):
    other = printed(half_width=0.196, n=400, formula=FIELD_FORMULA)
    found = verdict(ours(2.0), other, spread=spread)
    assert (found.outcome == "match") == comparable
    assert f"{spread:.3f} here" in found.reason
    assert "2.000" in found.reason
    if not comparable:
        assert found.outcome == "not comparable"
        assert "protocols cannot be the same" in found.reason


def test_percentages_are_written_with_two_decimals():
    cell = Cell(54.321, 1.4, 1000, "%")
    other = printed(53.94, 1.45, unit="%", text="53.94 ± 1.45")
    assert verdict(cell, other).reason == (
        "our 54.32 ± 1.40 is +0.38 from the printed 53.94 ± 1.45, within the 2.02 of both "
        "intervals."
    )
