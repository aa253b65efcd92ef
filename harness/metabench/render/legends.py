"""What the marks of a table mean, in the words of a format."""

from __future__ import annotations

from metabench.render.text_table import NOT_COMPARED, TRANSDUCTIVE, TextTable
from metabench.stats import FORMULAS

_OF_EPISODES = f"{FORMULAS['field']}, n counts shared episodes"
_AVERAGED = "scores of several seeds averaged per episode"
_CROSSED = (
    "mean ± t standard error, seeds and shared episodes both taken as random, degrees of freedom "
    "after Satterthwaite, n counts seeds and episodes"
)


def legend(grid: TextTable, *, best: str, not_separable: str) -> str:
    """A sentence per mark that occurs, for formats that show marks by these words.

    A number without a mark says something too, wherever there is a best, and so it is named.
    """
    return " ".join([*_marks(grid, best=best, not_separable=not_separable), *_signs(grid)])


def _marks(grid: TextTable, *, best: str, not_separable: str) -> list[str]:
    if "best" not in grid.marks:
        return []
    among = " among rows of equal letter" if grid.lettered else ""
    sentences = [
        f"{best}: the best of its column{among}, picked from the same episodes.",
        "The others are compared with it pair by pair, not adjusted for their number, by the 95 % "
        f"interval of the paired difference ({_formula(grid.n_seeds)}).",
    ]
    if "not separable" in grid.marks:
        sentences.append(f"{not_separable}: not separable, the interval contains 0.")
    return [*sentences, "Unmarked: it does not contain 0."]


def _formula(n_seeds: tuple[int, ...]) -> str:
    """How the intervals of differences are made, for rows of so many seeds."""
    several = sum(n > 1 for n in n_seeds)
    if not several:
        return _OF_EPISODES
    if several < 2:
        return f"{_OF_EPISODES}, {_AVERAGED}"
    if several == len(n_seeds):
        return _CROSSED
    return f"of two rows with several seeds {_CROSSED}; else {_OF_EPISODES}, {_AVERAGED}"


def _signs(grid: TextTable) -> list[str]:
    sentences = []
    if "not compared" in grid.marks:
        sentences.append(
            f"{NOT_COMPARED}: not compared, for want of a best with equal conditions (budget, "
            "data, protocol, suite version, length of training where a user set it) and episodes "
            "in common."
        )
    if any(TRANSDUCTIVE in entry.text for row in grid.rows for entry in row):
        sentences.append(f"{TRANSDUCTIVE}: predictions use the statistics of the query set.")
    return sentences
