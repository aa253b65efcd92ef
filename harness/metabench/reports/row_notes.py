"""What a reader must know about single rows of a table, in sentences for its caption."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.reports.captions import inequality_notes, unequal
from metabench.reports.tables import Row, TableCell
from metabench.results.comparability import comparable_conditions
from metabench.results.configurations import Configuration
from metabench.results.labels import said_name, telling
from metabench.results.metrics import AVERAGE, number
from metabench.results.paired_scores import MIN_EPISODES, own_scores, weights_of
from metabench.results.same_code import unlike
from metabench.stats import has_students_t

FEW = 3
"""Episodes that should not decide a mean."""

MOST_OF_FEW = 0.2
"""A share of the sum of scores above this is reported."""

Entry = tuple[Row, Configuration]


def notes_on(entries: Sequence[Entry], columns: Collection[str]) -> list[str]:
    """The sentences about the rows of one table; none where there is nothing to say.

    Args:
        entries: the rows.
        columns: of scores on meta-test that are shown: sources, and the average.
    """
    unequal_rows = inequality_notes([config for _, config in entries])
    return [*unequal_rows, *filter(None, [_sizes(entries)]), *notes_on_rows(entries, columns)]


def notes_on_rows(entries: Sequence[Entry], columns: Collection[str]) -> list[str]:
    """Those of :func:`notes_on` that are about the making and the marks of single rows."""
    notes = (
        _letters(entries),
        _tuned(entries),
        _unlike_code(entries),
        _no_scipy(entries),
        dominated(entries, columns),
        _few_episodes(entries, columns),
    )
    return [note for note in notes if note]


def warnings_on(entries: Sequence[Entry], columns: Collection[str]) -> tuple[str, ...]:
    """What a reader of the rows must beware of, in a few words each; see :func:`notes_on`."""
    places: dict[tuple[str, str], list[Configuration]] = {}
    for _, config in entries:
        place = config.spec.suite, config.setting_and_evaluation
        places.setdefault(place, []).append(config)
    found = dict.fromkeys(words for group in places.values() for words in unequal(group))
    warnings = (
        f"rows differ in {', '.join(found)}" if found else "",
        "some rows mix code or devices" if _unlike_code(entries) else "",
        f"{FEW} episodes sway some means" if dominated(entries, columns) else "",
        f"marks from fewer than {MIN_EPISODES} episodes are unsure"
        if _few_episodes(entries, columns)
        else "",
        "without scipy, rows with several seeds are not compared" if _no_scipy(entries) else "",
    )
    return tuple(filter(None, warnings))


def _sizes(entries: Sequence[Entry]) -> str:
    """Between which sizes the networks lie, where each task or each seed has its own."""
    rows = [row for row, _ in entries]
    said: dict[str, list[str]] = {}
    for row, config in entries:
        counts = [run.episodes.n_params for run in config.runs]
        low, high = min(map(np.min, counts)), max(map(np.max, counts))
        if row.n_params is not None and low < high:
            of = "tasks" if any(own.min() < own.max() for own in counts) else "seeds"
            said.setdefault(of, []).append(f"{name_among(row, rows)} {low:,.0f} to {high:,.0f}")
    return " ".join(
        f"The number of weights is a mean over the networks of the {of}: {'; '.join(sizes)}."
        for of, sizes in said.items()
    )


def conditions_in_words(entries: Sequence[Entry]) -> dict[str, str]:
    """How the conditions of rows with a letter differ from those of other letters, by letter."""
    groups: dict[str, list[Configuration]] = {}
    for row, config in entries:
        if row.conditions:
            groups.setdefault(row.conditions, []).append(config)
    facts = {letter: comparable_conditions(group) for letter, group in groups.items()}
    return dict(sorted(_conditions(facts)))


def _letters(entries: Sequence[Entry]) -> str:
    """What rows with the same letter have in common, and how the letters differ."""
    said = "; ".join(f"[{letter}] {text}" for letter, text in conditions_in_words(entries).items())
    return f"Rows with the same letter ran under the same conditions: {said}." if said else ""


def _conditions(facts: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Each letter with those of its conditions that not all letters have."""
    names = telling(list(facts.values()))
    for letter, own in facts.items():
        said = [f"{said_name(name)} {own[name]}" for name in names if name in own]
        # Sources often agree; what is not set is the length of training.
        yield letter, ", ".join(dict.fromkeys(said)) or "the training length of the budget"


def _tuned(entries: Sequence[Entry]) -> str:
    """How the values of tuned rows were chosen."""
    rows = [row for row, _ in entries]
    said = [
        f"{name_among(row, rows)}: {way.sentence}"
        for row, config in entries
        for way in config.tuned
    ]
    return f"Values were tuned: {'; '.join(said)}." if said else ""


def _unlike_code(entries: Sequence[Entry]) -> str:
    """The rows whose seeds were not made by the same code, on the same kind of device."""
    rows = [row for row, _ in entries]
    named: dict[str, list[str]] = {}
    for row, config in entries:
        if difference := unlike([run.record for run in config.runs]):
            named.setdefault(difference, []).append(name_among(row, rows))
    said = ". ".join(f"{', '.join(names)}: {difference}" for difference, names in named.items())
    return f"Seeds of a row were made by different code or devices: {said}." if said else ""


def _no_scipy(entries: Sequence[Entry]) -> str:
    if sum(len(config.runs) > 1 for _, config in entries) < 2:
        return ""
    if has_students_t():
        return ""
    return (
        "Rows with several seeds are not compared, because scipy is not installed "
        '(pip install "metabench[stats]").'
    )


def _few_episodes(entries: Sequence[Entry], columns: Collection[str]) -> str:
    """The rows whose marks rest on so few episodes that ``compare`` decides nothing."""
    rows = [row for row, _ in entries]
    said = [
        name_among(row, rows)
        for row, config in entries
        if any(
            cell.mark in ("best", "tied", "worse") and _too_few(config, name)
            for name, cell in row.cells.items()
            if name in columns
        )
    ]
    few = f"With fewer than {MIN_EPISODES} episodes per source"
    return f"{few} marks are unsure, as of {', '.join(said)}." if said else ""


def _too_few(config: Configuration, column: str) -> bool:
    """Whether a column is of a source with few episodes.

    A single one may be a whole test set of several seeds.
    """
    scores = own_scores(config)
    shapes = [scores[name].shape for name in weights_of(column, [*scores])]
    whole = all(seeds > 1 and n == 1 for seeds, n in shapes)
    return not whole and any(n < MIN_EPISODES for _, n in shapes)


def dominated(entries: Sequence[Entry], columns: Collection[str]) -> str:
    """The means that a few episodes dominate, each beside its median.

    They are those of the columns, and of the sources of an average that is one. The interval of
    such a mean hides how most episodes compare.
    """
    rows = [row for row, _ in entries]
    found = [
        f"{name_among(row, rows)}, {source} "
        f"({100 * share:.0f} % from {FEW} of {scores.shape[1]:,} episodes; "
        f"median {_median(row.cells[source])}, mean {_mean(row.cells[source])})"
        for row, config in entries
        for source, scores in own_scores(config).items()
        if {source, AVERAGE} & {*columns}
        and scores.shape[1] >= MIN_EPISODES
        and (share := _share_of_few(scores)) > MOST_OF_FEW
    ]
    if not found:
        return ""
    percent = f"{100 * MOST_OF_FEW:.0f} %"
    return f"In some means, {FEW} episodes contribute more than {percent}: {'; '.join(found)}."


def _mean(cell: TableCell) -> str:
    return number(cell.mean, cell.unit)


def _median(cell: TableCell) -> str:
    assert cell.median is not None  # only an average over sources has none
    return number(cell.median, cell.unit)


def _share_of_few(scores: NDArray[np.float64]) -> float:
    """The share of the highest :data:`FEW` episodes in the sum of all; scores over seeds averaged.

    Args:
        scores: ``[seeds, episodes]``; where some are below 0, there are no shares, and it is 0.
    """
    means = scores.mean(axis=0)
    total = float(means.sum())
    return float(np.sort(means)[-FEW:].sum()) / total if total and means.min() >= 0 else 0.0


def name_among(row: Row, rows: Sequence[Row]) -> str:
    """A row in as many words as it needs among the rows of its table.

    The name of a learner alone could mean all of its rows.
    """
    name = row.name
    if network_tells(row, rows):
        name = f"{name} on {row.network}"
    if len({other.budget for other in _alike(row, rows)}) > 1:
        name = f"{name} at budget {row.budget}"
    return name


def network_tells(row: Row, rows: Sequence[Row]) -> bool:
    """Whether rows that the name of a row could mean have different networks."""
    return len({other.network for other in _alike(row, rows)}) > 1


def _alike(row: Row, rows: Sequence[Row]) -> list[Row]:
    return [other for other in rows if row.name in (other.name, other.learner)]
