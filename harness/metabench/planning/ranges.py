"""Ranges of values that a tuning draws from: ``0.001..0.1``, ``1..10`` and ``1e-4..1e-1:log``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from metabench.errors import UsageError
from metabench.planning.yaml_files import MAX_NUMBER, read_yaml

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER}?)\.\.(?P<high>{_NUMBER})(?::(?P<scale>.*))?")
DIGITS = 4
"""Significant digits of a number that is drawn, so that names of rows and commands stay short."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds, both included; whole numbers where both bounds are whole.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether equal ratios are equally likely, as 0.001 to 0.01 and 0.01 to 0.1; otherwise
            equal distances are.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> float:
        """The value at a share of the way from the lower to the upper bound.

        >>> Range(0.001, 0.1, log=True).at(0.5), Range(1, 4).at(0.99), Range(0.0, 1.0).at(0.12345)
        (0.01, 4, 0.1235)

        Args:
            share: in [0, 1).
        """
        if not self.log:
            width = self.high - self.low + int(self.whole)
            value = self.low + share * width
            return self.rounded(math.floor(value) if self.whole else value)
        half = 0.5 * int(self.whole)  # so that the bounds are as likely as their neighbours
        low, high = math.log(self.low - half), math.log(self.high + half)
        return self.rounded(math.exp(low + share * (high - low)))

    def rounded(self, value: float) -> float:
        """A value as it is tried: short, and within the bounds."""
        short = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(short, self.low), self.high)

    def __str__(self) -> str:
        """As it is written, ``0.0001..0.1:log``."""
        return f"{self.low}..{self.high}{':log' if self.log else ''}"


def read_range(text: str, *, of: str) -> Range | None:
    """Read a range; None for text that is none.

    >>> print(read_range("1e-4..1e-1:log", of="learner.inner_lr"))
    0.0001..0.1:log

    Args:
        text: what may be a range.
        of: the parameter, for errors.

    Raises:
        UsageError: when its bounds contradict each other, or its scale is unknown.
    """
    parts = _RANGE.fullmatch(text.strip())
    if parts is None:
        return None
    log = parts["scale"] is not None
    if log and parts["scale"] != "log":
        raise UsageError(
            f"The range {text} of {of} ends in an unknown :{parts['scale']}.",
            hint="A range may end in :log, as in 1e-4..1e-1:log, or in nothing.",
        )
    low, high = (_number(parts[name]) for name in ("low", "high"))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(
            f"The range {text} of {of} has a bound that is no finite number.",
            hint="A range goes from the smaller to the larger number: 0.001..0.1.",
        )
    if low >= high:
        raise UsageError(
            f"The range {text} of {of} is empty.",
            hint="A range goes from the smaller to the larger number: 0.001..0.1.",
        )
    if log and low <= 0:
        raise UsageError(
            f"The range {text} of {of} begins at {low:g}, which has no logarithm.",
            hint="Begin above 0, or leave out :log.",
        )
    return Range(low, high, log=log)


def _number(digits: str) -> float:
    if len(digits) > MAX_NUMBER:
        return math.inf
    value = read_yaml(digits)
    return value if isinstance(value, int) else float(value)
