"""Tests whether architectures depend on the sources of their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_PERMUTATIONS = 1999
"""The smallest p-value is one over one more: 0.0005."""


@dataclass(frozen=True, slots=True)
class Association:
    """A test that architecture and source are independent.

    Attributes:
        p: of the test.
        v: Cramér's V, how strong the association is: 0 for none, 1 if one determines the other.
        n: episodes.
    """

    p: float
    v: float
    n: int

    def strength(self) -> str:
        """How strong the association is, in words."""
        return f"Cramér's V {self.v:.2f}"

    def method(self) -> str:
        """Formula, unit of n and n."""
        return (
            f"chi-square test of architecture and source with {N_PERMUTATIONS:,} permutations of "
            f"the sources, n = {self.n:,} episodes"
        )


def association(architectures: Sequence[str], sources: Sequence[str]) -> Association:
    """Test independence by permutation, which holds for rare architectures as well.

    The statistic is Pearson's chi-square of the table of counts, ``p = (1 + permutations that reach
    it) / (1 + permutations)``, always the same permutations. ``V = sqrt(chi-square / (n (k - 1)))``
    with k the smaller number of rows or columns (Cramér, 1946). With one architecture or one
    source, p is 1 and V is 0.

    >>> found = association(["a"] * 20 + ["b"] * 20, ["sine"] * 20 + ["line"] * 20)
    >>> found.p, found.v
    (0.0005, 1.0)
    """
    row, rows = _codes(architectures)
    column, columns = _codes(sources)
    n, smaller = len(row), min(len(rows), len(columns))
    if smaller < 2:
        return Association(1.0, 0.0, n)
    expected = np.outer(rows, columns) / n

    def chi_square(column: NDArray[np.int64]) -> float:
        cells = np.bincount(row * len(columns) + column, minlength=expected.size)
        return float((cells.reshape(expected.shape) ** 2 / expected).sum() - n)

    found = chi_square(column)
    rng = np.random.default_rng(0)
    reached = sum(
        chi_square(rng.permutation(column)) >= found - 1e-9 * n for _ in range(N_PERMUTATIONS)
    )
    return Association(
        p=(1 + reached) / (1 + N_PERMUTATIONS),
        v=float(np.sqrt(max(found, 0.0) / (n * (smaller - 1)))),
        n=n,
    )


def _codes(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every name as a number, and how often each number stands there."""
    _, code, count = np.unique(np.array(names, dtype=str), return_inverse=True, return_counts=True)
    return code.astype(np.int64), count.astype(np.int64)
