"""How scores of a metric are printed: scale, unit and digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

AVERAGE = "average"
"""The column beside the sources."""

Metric = Literal["accuracy", "mse"]

UNITS: Mapping[Metric, str] = {"accuracy": "%", "mse": "mse"}
"""What scores of a metric are printed in."""

SCALES: Mapping[Metric, float] = {"accuracy": 100.0, "mse": 1.0}
"""What scores are multiplied by for that: an accuracy is stored in [0, 1]."""

DECIMALS: Mapping[str, int] = {"%": 2, "mse": 3}
"""Digits after the point that our numbers are printed with, by unit."""


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as tables print it: two decimals of a percentage, three of an error.

    >>> number(95.312, "%"), number(0.1234, "mse", signed=True)
    ('95.31', '+0.123')
    """
    sign = "+" if signed else ""
    return f"{value:{sign}.{DECIMALS[unit]}f}"
