"""What scores of a metric are printed in, and with how many digits."""

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


DECIMALS = {"%": 2, "mse": 3}
"""Digits after the point that our numbers are printed with, by unit."""
