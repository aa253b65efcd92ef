"""Which cells are the best of their column, and which cannot be told from the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from string import ascii_uppercase

from metabench.errors import UsageError
from metabench.reports.tables import Row, Standing, TableCell
from metabench.results.comparability import comparable_groups
from metabench.results.configurations import Configuration
from metabench.results.metrics import Metric, number
from metabench.results.paired_scores import Shared, shared_scores, sources_of, weights_of
from metabench.stats import contrast

_Compare = Callable[[int, int], bool | None]
"""Whether two rows, by position, cannot be told apart; None where they cannot be compared."""


def mark(
    pairs: Sequence[tuple[Row, Configuration]], columns: Sequence[str], *, metric: Metric
) -> list[tuple[Row, Configuration]]:
    """The same rows, with the standing of each cell and a letter where several groups have a best.

    Only rows made under equal conditions are compared, so each group of them has a best. What
    prints like the best mean is ``best``; ``not separable`` is what has a paired difference to
    the best, over the episodes that both have, whose interval (:func:`metabench.stats.contrast`,
    seeds and episodes random) contains 0; ``not compared`` is what has no such difference. A
    column with one cell has no standing, nor has a group of several seeds without scipy.
    """
    rows, configs = [row for row, _ in pairs], [config for _, config in pairs]
    groups = comparable_groups(configs)
    shared = _Sharing(configs)
    standings: list[dict[str, Standing]] = [{} for _ in pairs]
    for column in columns:
        if sum(column in row.cells for row in rows) < 2:
            continue
        for group in groups:
            cells = {i: rows[i].cells[column] for i in group if column in rows[i].cells}
            ordered = sorted(cells, key=lambda i: cells[i].mean, reverse=metric == "accuracy")
            try:
                found = _of_group(ordered, partial(shared.inseparable, column))
            except UsageError:  # several seeds, and no scipy
                found = {}
            for i, standing in found.items():
                alike = standing != "not compared" and _like_the_best(cells, found, i)
                standings[i][column] = "best" if alike else standing
    letters = _letters(groups)
    return [
        (_with(row, standing, letters.get(i, "")), config)
        for i, ((row, config), standing) in enumerate(zip(pairs, standings, strict=True))
    ]


def _of_group(ordered: Sequence[int], inseparable: _Compare) -> dict[int, Standing]:
    """The standing of rows in the order of their means: the best is one that has a rival."""
    found: dict[int, Standing] = dict.fromkeys(ordered, "not compared")
    for rank, best in enumerate(ordered):
        compared = {i: inseparable(i, best) for i in ordered[rank + 1 :]}
        if any(open_ is not None for open_ in compared.values()):
            found[best] = "best"
            for i, open_ in compared.items():
                if open_ is not None:
                    found[i] = "not separable" if open_ else ""
            break
    return found


def _like_the_best(cells: dict[int, TableCell], found: dict[int, Standing], position: int) -> bool:
    (best,) = (i for i, standing in found.items() if standing == "best")
    here, there = cells[position], cells[best]
    return number(here.mean, here.unit) == number(there.mean, there.unit)


def _letters(groups: Iterable[Sequence[int]]) -> dict[int, str]:
    """A letter per group of several rows, by row, where there are several such groups."""
    several = [group for group in groups if len(group) > 1]
    if len(several) < 2:
        return {}
    return {i: _letter(n) for n, group in enumerate(several) for i in group}


def _letter(n: int) -> str:
    """A, B, ... Z, A1, B1, ..."""
    turn, letter = divmod(n, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{turn or ''}"


def _with(row: Row, standings: dict[str, Standing], letter: str) -> Row:
    cells = {
        column: replace(cell, standing=standings.get(column, ""))
        for column, cell in row.cells.items()
    }
    return replace(row, cells=cells, conditions=letter)


class _Sharing:
    """Differences of configurations on the episodes that they share, which are found once."""

    def __init__(self, configs: Sequence[Configuration]) -> None:
        self._configs = configs
        self._shared: dict[tuple[int, int], Shared] = {}

    def inseparable(self, column: str, first: int, second: int) -> bool | None:
        """Whether the interval of the difference in a column contains 0; None without one.

        Raises:
            UsageError: when both have several seeds and scipy is not installed.
        """
        pair = first, second
        left, right = (self._configs[i] for i in pair)
        if pair not in self._shared:
            self._shared[pair] = shared_scores(left, right)
        shared = self._shared[pair]
        weights = weights_of(column, sources_of(left.spec))
        try:
            low, high = contrast(shared.left, shared.right, weights=weights).interval()
        except ValueError:  # no episode of a source is shared
            return None
        if math.isnan(low):  # a single episode
            return None
        return low <= 0 <= high
