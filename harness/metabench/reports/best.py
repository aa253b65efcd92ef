"""Which cells are the best of their column, and which are tied with the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from string import ascii_uppercase

from metabench.errors import UsageError
from metabench.reports.tables import Mark, Row, TableCell
from metabench.results.comparability import comparable_groups
from metabench.results.configurations import Configuration
from metabench.results.metrics import number
from metabench.results.paired_scores import Shared, shared_scores, sources_of, weights_of
from metabench.stats import ALPHA, Difference, contrast
from metabench.stats.families import MOST_PAIRS, adjust, count_pairs

_Compare = Callable[[int, int], bool | None]
"""Whether two rows, by position, are tied; None where they cannot be compared."""


def mark(
    pairs: Sequence[tuple[Row, Configuration]], columns: Sequence[str], *, adjusted: bool = False
) -> list[tuple[Row, Configuration]]:
    """The same rows, with the mark of each cell and a letter where several groups have a best.

    Only rows that ran under equal conditions are compared, so each group of them has a best. A cell
    that prints like the best mean is ``best``. The others are compared with the best by the
    interval of the paired difference over the episodes that both have
    (:func:`metabench.stats.contrast`): ``tied`` if it contains 0, else ``worse``, and ``not
    compared`` where there is no such interval, as of two seeds against more. A column with one
    cell has no mark. A group with several seeds has none if scipy is not installed.

    With ``adjusted``, each cell also has a ``family_mark``: ``worse`` if the p-value of its
    difference to the best, adjusted over all pairs of the group
    (:func:`metabench.stats.families.adjust`), is below 0.05, and ``tied`` if not, or if two seeds
    give no such p-value.
    """
    rows, configs = [row for row, _ in pairs], [config for _, config in pairs]
    groups = comparable_groups(configs)
    shared = _Sharing(configs)
    marks: list[dict[str, Mark]] = [{} for _ in pairs]
    family_marks: list[dict[str, Mark]] = [{} for _ in pairs]
    for column in columns:
        if sum(column in row.cells for row in rows) < 2:
            continue
        for group in groups:
            larger = configs[group[0]].metric.better == "larger"
            cells = {i: rows[i].cells[column] for i in group if column in rows[i].cells}
            ordered = sorted(cells, key=lambda i: cells[i].mean, reverse=larger)
            by_interval = partial(shared.tied, column)
            _enter(marks, column, cells, ordered, by_interval)
            if adjusted:
                difference = partial(shared.difference, column)
                _enter(family_marks, column, cells, ordered, _in_family(ordered, difference))
    letters = _letters(groups)
    return [
        (_with(row, marks[i], family_marks[i], letters.get(i, "")), config)
        for i, (row, config) in enumerate(pairs)
    ]


def _enter(
    marks: Sequence[dict[str, Mark]],
    column: str,
    cells: dict[int, TableCell],
    ordered: Sequence[int],
    tied: _Compare,
) -> None:
    """Enter the marks of a group in a column."""
    try:
        found = _of_group(ordered, tied)
    except UsageError:  # several seeds, and no scipy
        return
    for i, own in found.items():
        alike = own != "not compared" and _like_the_best(cells, found, i)
        marks[i][column] = "best" if alike else own


def _of_group(ordered: Sequence[int], tied: _Compare) -> dict[int, Mark]:
    """The marks of rows in the order of their means: the best is one that has a rival."""
    found: dict[int, Mark] = dict.fromkeys(ordered, "not compared")
    for rank, best in enumerate(ordered):
        compared = {i: tied(i, best) for i in ordered[rank + 1 :]}
        if any(is_tied is not None for is_tied in compared.values()):
            found[best] = "best"
            for i, is_tied in compared.items():
                if is_tied is not None:
                    found[i] = "tied" if is_tied else "worse"
            break
    return found


def _in_family(
    ordered: Sequence[int], difference: Callable[[int, int], Difference | None]
) -> _Compare:
    """Whether rows are tied by p-values that are adjusted over all of their pairs."""

    def ties(pairs: Iterable[tuple[int, int]]) -> dict[frozenset[int], bool]:
        every = ((pair, difference(*pair)) for pair in pairs)
        found = {frozenset(pair): one for pair, one in every if one is not None}
        adjusted = adjust(
            [one.p_two_sided() for one in found.values()],
            seeds=[one.n_seeds for one in found.values()],
            n_configs=len(ordered),
        )
        shown = (p is not None and p < ALPHA for p in adjusted.p_values)
        return {pair: not apart for pair, apart in zip(found, shown, strict=True)}

    if count_pairs(len(ordered)) > MOST_PAIRS:
        return lambda first, second: ties([(first, second)]).get(frozenset((first, second)))
    family = cache(lambda: ties(combinations(ordered, 2)))
    return lambda first, second: family().get(frozenset((first, second)))


def _like_the_best(cells: dict[int, TableCell], found: dict[int, Mark], position: int) -> bool:
    (best,) = (i for i, own in found.items() if own == "best")
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


def _with(row: Row, marks: dict[str, Mark], family_marks: dict[str, Mark], letter: str) -> Row:
    cells = {
        column: replace(cell, mark=marks.get(column, ""), family_mark=family_marks.get(column, ""))
        for column, cell in row.cells.items()
    }
    return replace(row, cells=cells, conditions=letter)


class _Sharing:
    """Differences of configurations on the episodes that they share, which are found once."""

    def __init__(self, configs: Sequence[Configuration]) -> None:
        self._configs = configs
        self._shared: dict[tuple[int, int], Shared] = {}

    def tied(self, column: str, first: int, second: int) -> bool | None:
        """Whether the interval of the difference in a column contains 0; None without one.

        Raises:
            UsageError: when both have several seeds and scipy is not installed.
        """
        found = self.difference(column, first, second)
        if found is None:
            return None
        low, high = found.interval()
        return low <= 0 <= high

    def difference(self, column: str, first: int, second: int) -> Difference | None:
        """The difference of two rows, by position, in a column; None where there is none."""
        pair = first, second
        left, right = (self._configs[i] for i in pair)
        if pair not in self._shared:
            self._shared[pair] = shared_scores(left, right)
        shared = self._shared[pair]
        weights = weights_of(column, sources_of(left.spec))
        try:
            found = contrast(shared.left, shared.right, weights=weights, seedless=shared.seedless)
        except ValueError:  # no episode of a source is shared, or two seeds are held against more
            return None
        return None if math.isnan(found.standard_error) else found  # NaN of a single episode
