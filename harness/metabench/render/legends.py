"""What the marks of a table mean, in the words of a format."""

from __future__ import annotations

from itertools import combinations

from metabench.render.text_table import NOT_COMPARED, RUNNING, TRANSDUCTIVE, UNSTATED, TextTable
from metabench.stats import OF_LEARNERS, OF_NETWORKS, SEEDS_AVERAGED, uneven_seeds

_OF_NETWORKS = f"{OF_NETWORKS}, where n counts shared episodes"


def legend(grid: TextTable, *, best: str, tied: str) -> list[str]:
    """A fact per mark that occurs, for formats that show marks by these words.

    Args:
        grid: the table.
        best: how the format shows the best number of a column.
        tied: how it shows a number that is tied with the best.
    """
    return [*_marks(grid, best=best, tied=tied), *_signs(grid)]


def _marks(grid: TextTable, *, best: str, tied: str) -> list[str]:
    if "best" not in grid.marks:
        return []
    among = " among rows with the same letter" if grid.lettered else ""
    sentences = [
        f"{best}: the best of its column{among}, chosen on these episodes.",
        "Each other row is compared with the best by the 95 % interval of the paired difference "
        f"({_formula(grid.n_seeds)}). The intervals are not adjusted for the number of "
        "comparisons.",
    ]
    if "tied" in grid.marks:
        sentences.append(f"{tied}: not distinguishable from the best, the interval contains 0.")
    if "worse" in grid.marks:
        sentences.append("No mark: worse than the best, the interval does not contain 0.")
    return sentences


def _formula(n_seeds: tuple[int, ...]) -> str:
    """How the intervals of differences are computed, for rows with so many seeds."""
    several, without = sum(n > 1 for n in n_seeds), n_seeds.count(0)
    if not several:
        return _OF_NETWORKS
    if several + without < 2:
        return f"{_OF_NETWORKS} and {SEEDS_AVERAGED}"
    cases = ["one of the two rows has one seed"] if 1 in n_seeds else []
    cases += ["neither is trained"] if without > 1 else []
    if not cases:
        return OF_LEARNERS
    averaged = f" and {SEEDS_AVERAGED}" if 1 in n_seeds else ""
    return f"{OF_LEARNERS}; if {' or '.join(cases)}, {_OF_NETWORKS}{averaged}"


def _uneven(n_seeds: tuple[int, ...]) -> str:
    """The reason that two rows of a table may have in their numbers of seeds."""
    pairs = combinations(sorted(set(n_seeds) - {0}), 2)
    reasons = [reason for pair in pairs if (reason := uneven_seeds(*pair))]
    return f", or because {reasons[0]}" if reasons else ""


def _signs(grid: TextTable) -> list[str]:
    sentences = []
    if "not compared" in grid.marks:
        sentences.append(
            f"{NOT_COMPARED}: not compared, because the column has no best that ran under the same "
            "conditions (budget, data, protocol, suite version and, if a user set it, training "
            f"length) on shared episodes{_uneven(grid.n_seeds)}."
        )
    if any(TRANSDUCTIVE in entry.text for row in grid.rows for entry in row):
        sentences.append(f"{TRANSDUCTIVE}: predictions use the statistics of the query set.")
    if any(RUNNING in entry.text for row in grid.rows for entry in row):
        sentences.append(
            f"{RUNNING}: predictions use running statistics, averages from meta-training."
        )
    if any(entry.text.endswith(f" {UNSTATED}") for row in grid.rows for entry in row):
        sentences.append(
            f"{UNSTATED}: the source does not state all of the protocol; the reason names what."
        )
    return sentences
