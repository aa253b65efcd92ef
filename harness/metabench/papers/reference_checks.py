"""Checks of a reference: against itself, and against the suites and plugins that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metabench.errors import unknown
from metabench.papers.reference import Column, PrintedRow, Reference
from metabench.planning.suite import Suite, load_suite
from metabench.plugin.catalog import Catalog
from metabench.results.metrics import AVERAGE


def problems_of(reference: Reference, catalog: Catalog) -> list[str]:
    """A sentence with the place for each problem; none if all is well.

    Raises:
        UsageError: when a suite that the reference names cannot be read.
    """
    named = {column.suite for column in reference.columns if column.suite}
    known = sorted(named & catalog.suites.keys())
    suites = {name: load_suite(catalog.suite(name)) for name in known}
    return [
        *_duplicates(reference),
        *_strangers(reference, catalog, suites),
        *_numbers(reference),
        *_averages(reference, suites),
    ]


def not_installed(reference: Reference, catalog: Catalog) -> list[str]:
    """A sentence for each learner and network of its rows that no plugin has.

    This is no problem of the table: these rows have no runs of ours until the plugin is installed.
    """
    named = [
        *(("learner", row.learner, catalog.learners) for row in reference.rows),
        *(("network", row.network, catalog.search_spaces) for row in reference.rows),
    ]
    found = {}
    for kind, name, known in named:
        if name is not None and name not in known:
            nearest = unknown(kind, name, known).hint
            hint = f" {nearest}" if nearest.startswith("Did you mean") else ""
            found[kind, name] = f"The {kind} {name!r} is not installed.{hint}"
    return list(found.values())


def _duplicates(reference: Reference) -> Iterator[str]:
    printed = Counter((row.method, row.group, row.setting) for row in reference.rows)
    for (method, group, _), count in printed.items():
        if count > 1:
            yield f"{_joined(method, group)} appears {count} times."
    ours = Counter(
        (
            row.learner,
            str(sorted(row.learner_params.items())),
            row.network,
            str(sorted(row.network_params.items())),
            row.transductive,
            row.setting,
        )
        for row in reference.rows
        if row.learner
    )
    for (learner, *_), count in ours.items():
        if count > 1:
            yield f"{count} rows take the same runs of {learner}."


def _strangers(reference: Reference, catalog: Catalog, suites: dict[str, Suite]) -> Iterator[str]:
    """Suites that no plugin has, what suites do not have, and a metric said otherwise."""
    metric = reference.metric
    if metric.name not in catalog.metrics:
        yield catalog.unknown("metric", metric.name, catalog.metrics).message
    else:
        facts = catalog.metric(metric.name).facts
        if (metric.better, metric.percent) != (facts.better, facts.percent):
            yield f"The metric {metric.name} of the table differs from the installed one."
    for suite_name in sorted(reference.substitutes):
        if suite_name not in catalog.suites:
            yield catalog.unknown("suite", suite_name, catalog.suites).message
    for column in reference.columns:
        if column.suite is None:
            continue
        if column.suite not in suites:
            yield catalog.unknown("suite", column.suite, catalog.suites).message
            continue
        suite = suites[column.suite]
        if column.source not in (*(source.name for source in suite.sources), AVERAGE):
            yield f"{column.name}: the suite {suite.name} has no source {column.source!r}."
        if reference.budget not in suite.budgets:
            yield f"{column.name}: the suite {suite.name} has no budget {reference.budget!r}."
        for setting in sorted({reference.setting_of(row, column) for row in reference.rows}):
            if setting not in suite.settings:
                yield f"{column.name}: the suite {suite.name} has no setting {setting!r}."
        known = _evaluations(reference, suite, catalog)
        if known is not None and column.evaluation not in (None, *known):
            yield (
                f"{column.name}: neither the suite {suite.name} nor a learner of the rows has "
                f"{column.evaluation!r} as an evaluation or prediction."
            )


def _evaluations(reference: Reference, suite: Suite, catalog: Catalog) -> set[str] | None:
    """What the rows may have besides the headline; None where a learner is not installed."""
    learners = {row.learner for row in reference.rows if row.learner is not None}
    if not learners <= catalog.learners.keys():
        return None
    predictions = {name for one in learners for name in catalog.learner(one).predictions}
    return predictions | suite.evaluations.keys()


def _numbers(reference: Reference) -> Iterator[str]:
    for row in reference.rows:
        for column in reference.columns:
            cell = reference.cell(row, column)
            where = _joined(row.method, row.group, column.name)
            if cell.half_width == 0:
                yield f"{where}: the half-width of {cell.text} is not positive."
            if cell.value is not None and cell.unit == "%" and cell.value > 100:
                yield f"{where}: {cell.text} is more than 100 %."


def _averages(reference: Reference, suites: dict[str, Suite]) -> Iterator[str]:
    """Averages that are not the mean of the sources, where the table has every source."""
    for column in reference.columns:
        if column.source != AVERAGE or column.suite not in suites:
            continue
        wanted = {source.name for source in suites[column.suite].sources}
        for row in reference.rows:
            parts = [
                other
                for other in reference.columns
                if other.suite == column.suite
                and other.source in wanted
                and reference.table_of(row, other) == reference.table_of(row, column)
            ]
            if {part.source for part in parts} == wanted:
                yield from _average(reference, row, column, parts)


def _average(
    reference: Reference, row: PrintedRow, column: Column, parts: list[Column]
) -> Iterator[str]:
    average = reference.cell(row, column)
    cells = [reference.cell(row, part) for part in parts]
    values = [cell.value for cell in cells if cell.value is not None]
    if average.value is None or len(values) < len(cells):
        return
    mean = sum(values) / len(values)
    slack = _rounding(average.text) + sum(_rounding(cell.text) for cell in cells) / len(cells)
    if abs(mean - average.value) > slack + 1e-9:
        yield (
            f"{_joined(row.method, row.group, column.name)}: {average.text} is printed, but the "
            f"mean of its sources is {mean:.4f}."
        )


def _rounding(text: str) -> float:
    """Half a unit of the last digit of the first number in ``text``."""
    digits = text.partition(" ")[0].partition(".")[2]
    return 0.5 * 10.0 ** -len(digits)


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
