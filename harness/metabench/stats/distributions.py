"""Normal and Student's distribution; the one place that asks for scipy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import NormalDist
from typing import Any

from metabench.errors import UsageError

_NORMAL = NormalDist()


def quantile(probability: float, degrees: float = math.inf) -> float:
    """Quantile of Student's t; with infinite degrees, the normal one, which needs no scipy.

    >>> round(quantile(0.975), 4)
    1.96
    """
    if math.isinf(degrees):
        return _NORMAL.inv_cdf(probability)
    return float(scipy_special("Student's t").stdtrit(degrees, probability))


def upper_tail(value: float, degrees: float = math.inf) -> float:
    """Probability of more than ``value``.

    >>> upper_tail(0.0)
    0.5
    """
    if math.isinf(degrees):
        return 0.5 * math.erfc(value / math.sqrt(2))
    return float(scipy_special("Student's t").stdtr(degrees, -value))


def has_students_t() -> bool:
    """Whether Student's distribution can be had, which needs scipy."""
    try:
        quantile(0.975, 1)
    except UsageError:
        return False
    return True


def scipy_stats(what: str) -> Any:
    """The module ``scipy.stats``, which takes most of a second to import.

    Args:
        what: what needs it, as the subject of a sentence.

    Raises:
        UsageError: when scipy is not installed.
    """
    with _needed_by(what):
        from scipy import stats
    return stats


def scipy_special(what: str) -> Any:
    """The module ``scipy.special``; argument and error are those of :func:`scipy_stats`.

    Its functions are what ``scipy.stats.t`` calls after 0.1 ms of checks.
    """
    with _needed_by(what):
        from scipy import special
    return special


@contextmanager
def _needed_by(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{what} needs scipy, which is not installed.", hint='pip install "metabench[stats]"'
        ) from error
