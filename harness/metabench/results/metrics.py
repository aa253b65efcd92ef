"""How scores of a metric are printed, and the metrics of records that do not say how."""

from __future__ import annotations

from collections.abc import Mapping

from metabench.plugin.contracts.metric import MetricFacts

AVERAGE = "average"
"""The column beside the sources."""

VAL = "val"
"""The column of scores on meta-validation, whose intervals are over seeds in any case."""

FORMER: Mapping[str, MetricFacts] = {
    "accuracy": MetricFacts(
        name="accuracy",
        title="accuracy",
        better="larger",
        percent=True,
        kinds=("classification",),
    ),
    "mse": MetricFacts(
        name="mse", title="mean squared error", better="smaller", kinds=("regression",)
    ),
}
"""The metrics that there were when records did not keep the facts of theirs."""


MANY_DIGITS = 1e9
"""The size from which a number is printed with an exponent."""


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as tables print it: two decimals of a percentage, else three.

    Means of the same scores that are added up in another order print alike. Errors of runs that
    have diverged are printed with an exponent.

    >>> number(95.312, "%"), number(0.1234, "mse", signed=True)
    ('95.31', '+0.123')
    >>> number(41.275, "%") == number(41.275 + 1e-14, "%")
    True
    >>> number(1.5e30, "mse")
    '1.500e+30'
    """
    sign, form = "+" if signed else "", "f" if abs(value) < MANY_DIGITS else "e"
    return f"{round(value, 9):{sign}.{2 if unit == '%' else 3}{form}}"


def unit_of_difference(unit: str, *, full: bool = False) -> str:
    """What a difference of two scores is in: of percentages points, in full percentage points.

    >>> unit_of_difference("%"), unit_of_difference("%", full=True), unit_of_difference("mse")
    ('points', 'percentage points', 'mse')
    """
    if unit != "%":
        return unit
    return "percentage points" if full else "points"
