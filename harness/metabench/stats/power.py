"""How many episodes or seeds a difference needs to be seen, and what could have been seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metabench.stats.distributions import quantile, scipy_stats, upper_tail
from metabench.stats.paired import Difference

ALPHA = 0.05
POWER = 0.8
"""Cohen's convention (1988): four of five real differences of the given size are seen."""


@dataclass(frozen=True, slots=True)
class Needed:
    """How many are needed to see a difference.

    Attributes:
        n: episodes, or seeds on each side.
        unit: ``episodes`` or ``seeds on each side``.
        difference: the true difference, in the unit of the scores.
        power: probability that it is seen.
        alpha: level of the two-sided test.
    """

    n: int
    unit: str
    difference: float
    power: float
    alpha: float

    def words(self) -> str:
        """Formula, unit of n and n."""
        return (
            f"{self.n:,} {self.unit} show a difference of {self.difference:g} with probability "
            f"{self.power:g} (two-sided test at {self.alpha:g})"
        )


def episodes_needed(
    std: float, *, difference: float, power: float = POWER, alpha: float = ALPHA
) -> Needed:
    """``n = ((z(1 - alpha/2) + z(power)) std / difference)^2``, rounded up.

    Args:
        std: of the paired differences per episode.
        difference: to be seen; its sign does not matter.
        power: probability to see it.
        alpha: level of the two-sided test.

    >>> episodes_needed(1.0, difference=0.1).n
    785
    """
    factor = quantile(1 - alpha / 2) + quantile(power)
    n = math.ceil((factor * std / _size(difference)) ** 2)
    return Needed(max(n, 2), "episodes", abs(difference), power, alpha)


def seeds_needed(
    left_std: float,
    right_std: float,
    *,
    difference: float,
    power: float = POWER,
    alpha: float = ALPHA,
) -> Needed:
    """The fewest seeds on each side with ``(t(1 - alpha/2) + t(power)) se <= difference``.

    ``se = sqrt((s_l^2 + s_r^2) / n)`` and 2n - 2 degrees of freedom.

    Args:
        left_std: std of the means of single runs, on the left.
        right_std: likewise, on the right.
        difference: to be seen; its sign does not matter.
        power: probability to see it.
        alpha: level of the two-sided test.

    Raises:
        UsageError: when scipy is not installed.
    """
    variance, size = left_std**2 + right_std**2, _size(difference)
    normal = quantile(1 - alpha / 2) + quantile(power)
    n = max(2, math.ceil((normal / size) ** 2 * variance))  # fewer never suffice
    while _factor(2 * n - 2, power, alpha) * math.sqrt(variance / n) > size:
        n += 1
    return Needed(n, "seeds on each side", abs(difference), power, alpha)


def visible_difference(
    difference: Difference, *, power: float = POWER, alpha: float = ALPHA
) -> float:
    """The smallest true difference that such a comparison shows with the given probability.

    ``(t(1 - alpha/2) + t(power)) standard error``. It replaces the "observed power", which is
    but the p-value in other words (Hoenig and Heisey, The American Statistician 55, 2001).
    """
    return _factor(difference.degrees, power, alpha) * difference.standard_error


def power_of(difference: Difference, *, size: float, alpha: float = ALPHA) -> float:
    """The probability that such a comparison shows a true difference of ``size``.

    From the noncentral t distribution, or the normal one where the degrees are infinite.
    """
    if difference.standard_error == 0:
        return float(size != 0)
    shift = size / difference.standard_error
    bound = quantile(1 - alpha / 2, difference.degrees)
    if math.isinf(difference.degrees):
        return upper_tail(bound - shift) + upper_tail(bound + shift)
    distribution = scipy_stats("Student's t").nct(difference.degrees, shift)
    return float(distribution.sf(bound) + distribution.cdf(-bound))


def _factor(degrees: float, power: float, alpha: float) -> float:
    return quantile(1 - alpha / 2, degrees) + quantile(power, degrees)


def _size(difference: float) -> float:
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"no number of episodes shows a difference of {difference}")
    return abs(difference)
