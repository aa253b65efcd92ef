"""How many episodes or seeds a difference needs to be seen, and what could have been seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from metabench.errors import UsageError
from metabench.stats.distributions import quantile, scipy_stats, upper_tail
from metabench.stats.paired import Difference, VarianceParts, degrees_of_freedom

ALPHA = 0.05
POWER = 0.8
"""Cohen's convention (1988): four of five real differences of the given size are seen."""
MOST = 10**15
"""More episodes or seeds are no answer."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """How many episodes are needed if no number of seeds is enough on the present ones.

    Attributes:
        n_tested: the present episodes.
        more_than: more than these are needed, however many seeds there are.
        n: twice as many, on which a number of seeds is enough.
    """

    n_tested: int
    more_than: int
    n: int


@dataclass(frozen=True, slots=True)
class Needed:
    """How many are needed to detect a difference.

    Attributes:
        n: episodes, or seeds on each side.
        unit: ``episodes``; ``seeds on each side``, or ``seeds`` where one side has none; or the
            latter at a number of episodes.
        difference: the true difference, in the unit of the scores.
        power: probability that it is detected.
        alpha: level of the two-sided test.
        episodes: None where seeds alone are enough, or are not asked for.
    """

    n: int
    unit: str
    difference: float
    power: float
    alpha: float
    episodes: Episodes | None = None

    def words(self) -> str:
        """Formula, unit of n and n."""
        shown = (
            f"a true difference of {self.difference:g} with probability {self.power:g} "
            f"(two-sided test at {self.alpha:g})"
        )
        if self.episodes is None:
            return f"{self.n:,} {self.unit} are enough to detect {shown}"
        found = self.episodes
        return (
            f"no number of seeds is enough to detect {shown} on these {found.n_tested:,} episodes; "
            f"more than {found.more_than:,} episodes are needed, and {self.n:,} {self.unit} are "
            "enough"
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

    Raises:
        UsageError: when it would be more than :data:`MOST`.

    >>> episodes_needed(1.0, difference=0.1).n
    785
    """
    factor = quantile(1 - alpha / 2) + quantile(power)
    ratio = factor * std / _size(difference)
    n = _rounded_up(ratio * ratio, difference)
    return Needed(max(n, 2), "episodes", abs(difference), power, alpha)


def seeds_needed(
    parts: VarianceParts,
    *,
    difference: float,
    n_episodes: int,
    power: float = POWER,
    alpha: float = ALPHA,
) -> Needed:
    """The fewest seeds S on each side that show a difference on these episodes.

    ``se^2 = (s_l^2 + s_r^2) / S + e`` and the degrees of freedom are those of
    :func:`~metabench.stats.contrast`; the power is that of :func:`power_of`. More seeds do not
    shrink e. Where e alone is too large, it says how many episodes it takes: e falls as
    their number rises, and s^2 is kept, which errs on the safe side.

    Args:
        parts: of the variance, with several seeds on each side that has seeds.
        difference: to be seen; its sign does not matter.
        n_episodes: behind the parts.
        power: probability to see it.
        alpha: level of the two-sided test.

    Raises:
        UsageError: when scipy is not installed, or it would be more than :data:`MOST`.
    """
    size = _size(difference)
    seeds = "seeds on each side" if len(parts.seeds) > 1 else "seeds"
    if _power(math.sqrt(parts.episodes), math.inf, size, alpha) > power:
        n = _fewest_seeds(parts, size, power, alpha)
        return Needed(n, seeds, size, power, alpha)
    ratio = (quantile(1 - alpha / 2) + quantile(power)) / size
    more_than = _rounded_up(n_episodes * parts.episodes * (ratio * ratio), difference)
    more = replace(parts, episodes=parts.episodes * n_episodes / (2 * more_than))
    n = _fewest_seeds(more, size, power, alpha)
    unit = f"{seeds} at {2 * more_than:,} episodes"
    return Needed(n, unit, size, power, alpha, Episodes(n_episodes, more_than, 2 * more_than))


def _fewest_seeds(parts: VarianceParts, size: float, power: float, alpha: float) -> int:
    """Power rises with the seeds; that of seeds without end must be above ``power``."""

    def enough(n: int) -> bool:
        seeds = [variance / n for variance in parts.seeds]
        total = sum(seeds) + parts.episodes
        degrees = degrees_of_freedom(total, seeds, [n] * len(seeds))
        return _power(math.sqrt(total), degrees, size, alpha) >= power

    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            raise _too_many(size)
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def visible_difference(
    difference: Difference, *, power: float = POWER, alpha: float = ALPHA
) -> float:
    """The smallest true difference that a comparison like this detects with this probability.

    Where :func:`power_of` reaches ``power``; with infinite degrees that is ``(z(1 - alpha/2) +
    z(power)) standard error``. It replaces the "observed power", which is but the p-value in other
    words (Hoenig and Heisey, The American Statistician 55, 2001). Measured from a margin, it is how
    far beyond it the truth has to be.
    """
    low, high = 0.0, _factor(difference.degrees, power, alpha) * difference.standard_error
    if math.isinf(difference.degrees) or high == 0:
        return high
    while power_of(difference, size=high, alpha=alpha) < power:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        seen = power_of(difference, size=middle, alpha=alpha) >= power
        low, high = (low, middle) if seen else (middle, high)
    return high


def power_within(difference: Difference, *, margin: float, alpha: float = ALPHA) -> float:
    """The probability that the interval lies within ± ``margin`` where there is no difference.

    The power of two one-sided tests (TOST) at a true difference of 0, each at ``alpha / 2``. The
    standard error is taken as known with infinite degrees; else it is random, and the probability
    is the mean over 2,000 quantiles of its chi-square distribution.
    """
    if difference.standard_error == 0:
        return 1.0
    room, bound = margin / difference.standard_error, quantile(1 - alpha / 2, difference.degrees)
    if math.isinf(difference.degrees):
        return max(0.0, 1 - 2 * upper_tail(room - bound))
    shares = (np.arange(2000) + 0.5) / 2000
    stats = scipy_stats("Student's t")
    errors = np.sqrt(stats.chi2.ppf(shares, difference.degrees) / difference.degrees)
    inside = 1 - 2 * stats.norm.sf(room - bound * errors)
    return float(np.maximum(inside, 0.0).mean())


def power_above(difference: Difference, *, margin: float, alpha: float = ALPHA) -> float:
    """The probability that the interval lies above ``-margin`` where there is no difference.

    One-sided at ``alpha / 2``; from the noncentral t distribution, or the normal one.
    """
    if difference.standard_error == 0:
        return 1.0
    shift = margin / difference.standard_error
    bound = quantile(1 - alpha / 2, difference.degrees)
    if math.isinf(difference.degrees):
        return upper_tail(bound - shift)
    with np.errstate(divide="ignore"):  # SciPy 1.11 takes a logarithm of 0 on the way
        return float(scipy_stats("Student's t").nct.sf(bound, difference.degrees, shift))


def power_of(difference: Difference, *, size: float, alpha: float = ALPHA) -> float:
    """The probability that a comparison like this detects a true difference of ``size``.

    From the noncentral t distribution, or the normal one where the degrees are infinite.
    """
    return _power(difference.standard_error, difference.degrees, size, alpha)


def _power(error: float, degrees: float, size: float, alpha: float) -> float:
    if error == 0:
        return float(size != 0)
    shift = abs(size) / error
    bound = quantile(1 - alpha / 2, degrees)
    if math.isinf(degrees):
        return upper_tail(bound - shift) + upper_tail(bound + shift)
    # A frozen distribution takes a millisecond to make, ten times as long as its probabilities.
    noncentral = scipy_stats("Student's t").nct
    with np.errstate(divide="ignore"):  # SciPy 1.11 takes a logarithm of 0 on the way
        wrong_side = float(noncentral.cdf(-bound, degrees, shift))  # nan where it is below 1e-100
        right_side = float(noncentral.sf(bound, degrees, shift))
    return right_side + (0.0 if math.isnan(wrong_side) else wrong_side)


def _factor(degrees: float, power: float, alpha: float) -> float:
    return quantile(1 - alpha / 2, degrees) + quantile(power, degrees)


def _rounded_up(needed: float, difference: float) -> int:
    """How many a difference needs, where that is an answer."""
    if needed > MOST:
        raise _too_many(difference)
    return math.ceil(needed)


def _too_many(difference: float) -> UsageError:
    return UsageError(
        f"A difference of {difference:g} is too small beside the spread of these scores: more than "
        f"{MOST:.0e} episodes or seeds would be needed to see it.",
        hint="Give a larger one with --difference.",
    )


def _size(difference: float) -> float:
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"no number of episodes shows a difference of {difference}")
    return abs(difference)
