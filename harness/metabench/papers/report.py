"""A paper's table with our runs in it: the paper's rows in its order, then ours that it lacks.

Which of our configurations belongs to a row is decided without looking at results: those of the
row's learner with the parameters and the network that the row names. If some ran in full (the
budget that corresponds to the table, no limit, nothing customized), only these are shown, each on
its own line if there are several; else all are shown. A row names each parameter that is not the
suite's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from metabench.errors import MetabenchError
from metabench.papers.caption import paper_facts
from metabench.papers.deviation_list import DeviationList, ListedDeviation
from metabench.papers.deviations import Deviations, deviations_from_paper, unasked_deviations
from metabench.papers.notes import reasons, remarks
from metabench.papers.protocols import fewer_episodes, unlike_half_widths, unstated
from metabench.papers.reference import Column, PrintedCell, PrintedRow, Reference
from metabench.papers.table import PaperCell, PaperReport, PaperRow, PaperTable
from metabench.papers.verdict import Verdict, verdict_on_cell
from metabench.planning.runspec import Choice
from metabench.plugin.contracts.stamp import CUT_SHORT
from metabench.reports.best import mark
from metabench.reports.build import make_rows, pool_runs
from metabench.reports.captions import IntervalKind
from metabench.reports.row_notes import warnings_on
from metabench.reports.tables import Row, TableCell
from metabench.results.configurations import Configuration
from metabench.results.evaluations import runs_by_evaluation
from metabench.results.further_metrics import of_metric
from metabench.results.metrics import AVERAGE
from metabench.results.reading import Results
from metabench.stats import SpreadRatio, spread_ratio
from metabench.stats import spread as spread_of

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

Entry = tuple[Row, Configuration]


class PooledRuns:
    """The runs of a folder, brought together once for all papers' tables that show them.

    Args:
        results: what :func:`metabench.results.reading.read_runs` found.
        catalog: where the suites are that the runs are held against; what is installed if absent.
    """

    def __init__(self, results: Results, catalog: Catalog | None = None) -> None:
        self.deviations = Deviations(catalog)
        self._results = results
        self._by_metric: dict[str, tuple[list[Configuration], tuple[str, ...]]] = {}

    def of_metric(self, name: str) -> tuple[list[Configuration], tuple[str, ...]]:
        """The configurations, with the scores of a metric where they have it, and the problems."""
        if name not in self._by_metric:
            seen = tuple(of_metric(run, name) for run in self._results.runs)
            configs, problems = pool_runs(replace(self._results, runs=seen))
            for beside in runs_by_evaluation(seen):
                configs += pool_runs(Results(beside.runs, (), ()))[0]
            self._by_metric[name] = configs, problems
        return self._by_metric[name]


def build_paper_report(
    results: Results,
    reference: Reference,
    *,
    interval: IntervalKind = "auto",
    catalog: Catalog | None = None,
    pooled: PooledRuns | None = None,
    adjusted: bool = False,
    columns: Sequence[str] = (),
) -> PaperReport:
    """Put the runs that count next to a paper's table.

    Args:
        results: what :func:`metabench.results.reading.read_runs` found; what the table does not
            concern is left aside.
        reference: the table.
        interval: as :func:`metabench.reports.build.build_report`.
        catalog: where the suites are that the runs are held against; what is installed if absent.
        pooled: the same results and catalog, where several tables are made of them.
        adjusted: as :func:`metabench.reports.best.mark`.
        columns: as :func:`metabench.reports.build.build_report`, by name or heading.

    Raises:
        UsageError: when ``seeds`` is asked for and scipy is not installed.
    """
    pooled = pooled or PooledRuns(results, catalog)
    configs, problems = pooled.of_metric(reference.metric.name)
    entries = _concerned(configs, reference, interval=interval)
    lines = [*_printed_lines(reference, entries), *_further_lines(reference, entries)]
    shown = _marked([entry for _, line in lines for entry in line], reference, adjusted=adjusted)
    judge = _Judge(reference, pooled.deviations, DeviationList())
    rows = [
        _paper_row(row, [shown[_id(config)] for _, config in line], judge) for row, line in lines
    ]
    asked = [one for one in reference.columns if {one.name, one.heading} & {*columns}]
    seen = asked or reference.columns
    sources = {column.source for column in seen if column.source}
    places = _places(reference, seen)
    said = [entry for entry in shown.values() if _place(entry[1], reference) in places]
    concerned = [entry for entry in entries if _place(entry[1], reference) in places]
    table = PaperTable(
        key=reference.key,
        title=reference.title,
        citation=str(reference.citation),
        cited=reference.citation.short,
        facts=paper_facts(said, metric=reference.metric, interval=interval, sources=sources),
        metric=reference.metric,
        columns={column.name: column.heading for column in reference.columns},
        rows=tuple(rows),
        reasons=tuple(reasons(rows, seen)),
        remarks=(
            *remarks(reference, seen),
            *_not_shown(reference, concerned, shown),
        ),
        deviations=judge.listed.listed(),
        warnings=warnings_on(said, sources),
    )
    return PaperReport((table,), problems)


def _concerned(
    configs: Iterable[Configuration], reference: Reference, *, interval: IntervalKind
) -> list[Entry]:
    """Our configurations on the suites and settings of the table."""
    places = _places(reference, reference.columns)
    by_suite: dict[tuple[str, str, str], list[Configuration]] = defaultdict(list)
    for config in configs:
        spec = config.spec
        if _place(config, reference) in places and spec.metric == reference.metric.name:
            by_suite[spec.suite, spec.setting, config.evaluation].append(config)
    return [
        entry
        for _, group in sorted(by_suite.items())
        for entry in make_rows(group, interval=interval)
    ]


def _places(reference: Reference, columns: Sequence[Column]) -> set[tuple[str | None, str, str]]:
    """What the cells of some columns are of, as :func:`_place` says it of ours."""
    return {reference.table_of(row, column) for row in reference.rows for column in columns}


def _printed_lines(
    reference: Reference, entries: Sequence[Entry]
) -> list[tuple[PrintedRow, list[Entry]]]:
    """The paper's rows, each as often as we have lines for it, at least once."""
    return [
        (row, line)
        for row in reference.rows
        for line in _lines([e for e in entries if _is_row(row, e[1])], reference) or [[]]
    ]


def _further_lines(
    reference: Reference, entries: Sequence[Entry]
) -> list[tuple[PrintedRow, list[Entry]]]:
    """Rows of the same shape for configurations that belong to no row of the paper."""
    others = [e for e in entries if not any(_is_row(row, e[1]) for row in reference.rows)]
    groups: dict[str | None, set[str]] = {}
    for row in reference.rows:
        groups.setdefault(row.setting, set()).add(row.group)
    lines = []
    for learner in sorted({row.learner for row, _ in others}):
        for setting, names in groups.items():
            # Of several blocks of one setting, ours belongs to none.
            group = min(names) if len(names) == 1 else ""
            here = [
                (row, config)
                for row, config in others
                if row.learner == learner and setting in (None, config.spec.setting)
            ]
            absent = PrintedRow(
                method=learner, learner=learner, group=group, setting=setting, cells={}
            )
            lines += [(absent, line) for line in _lines(here, reference)]
    return lines


def _is_row(row: PrintedRow, config: Configuration) -> bool:
    spec = config.spec
    return (
        spec.learner.name == row.learner
        and row.setting in (None, config.spec.setting)
        and has_params(spec.learner, row.learner_params)
        and has_params(spec.space, row.network_params)
        and row.network in (None, spec.space and spec.space.name)
        and row.transductive in (None, config.runs[0].record.transductive)
    )


def has_params(choice: Choice | None, asked: Mapping[str, Any]) -> bool:
    """Whether a learner or network has the parameters that a row asks for."""
    params = {} if choice is None else choice.params
    return all(name in params and params[name] == value for name, value in asked.items())


def _lines(entries: Sequence[Entry], reference: Reference) -> list[list[Entry]]:
    """Which configurations are shown, and which of them share a line.

    Those of one budget share it where each stands in another place; else each configuration has
    one of its own.
    """
    full = {_place(config, reference) for row, config in entries if _is_full(row, reference)}
    by_budget: dict[str, list[Entry]] = defaultdict(list)
    for row, config in entries:
        if _place(config, reference) not in full or _is_full(row, reference):
            by_budget[row.budget].append((row, config))
    lines: list[list[Entry]] = []
    for group in by_budget.values():
        most = max(Counter(_place(config, reference) for _, config in group).values())
        if most == 1:
            lines.append(group)
            continue
        by_config: dict[str, list[Entry]] = defaultdict(list)
        for entry in group:
            by_config[entry[1].config_id].append(entry)
        lines += by_config.values()
    return lines


def _is_full(row: Row, reference: Reference) -> bool:
    return row.budget == reference.budget and not CUT_SHORT & set(row.stamps)


def _place(config: Configuration, reference: Reference) -> tuple[str, str, str]:
    """The suite, or the one that it is shown for, the setting and the evaluation."""
    suite = config.spec.suite
    return reference.substitutes.get(suite, suite), config.spec.setting, config.evaluation


def _id(config: Configuration) -> tuple[str, str]:
    return config.config_id, config.evaluation


def _marked(
    entries: Iterable[Entry], reference: Reference, *, adjusted: bool
) -> dict[tuple[str, str], Entry]:
    """What is shown, with the marks of its cells, by configuration and evaluation."""
    sources = [column.source for column in reference.columns if column.source]
    by_suite: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for row, config in entries:
        by_suite[config.spec.suite, config.spec.setting, config.evaluation].append((row, config))
    marked = {}
    for group in by_suite.values():
        for row, config in mark(group, sources, adjusted=adjusted):
            marked[_id(config)] = row, config
    return marked


@dataclass(frozen=True, slots=True)
class _Judge:
    """What every verdict of a report needs."""

    reference: Reference
    deviations: Deviations
    listed: DeviationList

    def verdict(
        self,
        printed: PrintedCell,
        row: PrintedRow,
        column: Column,
        entry: Entry,
        cell: TableCell,
        spread: float | None,
        found: Sequence[ListedDeviation],
    ) -> Verdict:
        """On one of our cells; beside it, what the source leaves open."""
        ours, config = entry
        verdict = verdict_on_cell(
            cell,
            printed,
            spread=spread,
            chance=_chance(config, column.source or "", printed),
            deviations=[
                *deviations_from_paper(self.reference, row, ours, config, self.deviations),
                *unlike_half_widths(printed, cell.over),
            ],
            listed=found,
        )
        if verdict.outcome == "not comparable":
            return verdict
        open_facts = unstated(self.reference, row, column)
        conditions = self.reference.conditions_of(row, config.spec.setting)
        sentences = [
            verdict.reason,
            fewer_episodes(conditions, printed, config),
            f"Not stated: {', '.join(open_facts)}." if open_facts else "",
        ]
        return replace(verdict, reason=" ".join(filter(None, sentences)), unstated=open_facts)


def _paper_row(row: PrintedRow, line: Sequence[Entry], judge: _Judge) -> PaperRow:
    line = [(_named(row, ours, config, judge.deviations), config) for ours, config in line]
    columns = judge.reference.columns
    cells = {column.name: _paper_cell(row, column, line, judge) for column in columns}
    return PaperRow(
        group=row.group,
        method=row.method,
        arch=row.arch,
        params=row.params,
        in_paper=bool(row.cells),
        ours=tuple(ours for ours, _ in line),
        cells=_with_others(cells, judge.reference),
    )


def _with_others(cells: Mapping[str, PaperCell], reference: Reference) -> dict[str, PaperCell]:
    """The cells of a row; where means agree, with the columns that differ."""
    outcomes = {name: cell.verdict and cell.verdict.outcome for name, cell in cells.items()}
    differing = [c.heading for c in reference.columns if outcomes[c.name] == "differs"]
    found = dict(cells)
    for name, cell in cells.items():
        if differing and cell.verdict and cell.verdict.outcome in ("match", "close"):
            reason = (
                f"{cell.verdict.reason} Other columns of this row differ: {'; '.join(differing)}."
            )
            found[name] = replace(cell, verdict=replace(cell.verdict, reason=reason))
    return found


def _named(printed: PrintedRow, row: Row, config: Configuration, deviations: Deviations) -> Row:
    """The row with its differences from other rows, then its differences from the suite."""
    try:
        found = unasked_deviations(printed, config, deviations)
    except MetabenchError:  # the verdict says so
        return row
    labels = [deviation.label for deviation in found]
    said = {f"{one.version.whose} version {one.version.number}" for one in found if one.version}
    facts = [fact for fact in row.facts if fact not in said]  # a label names the plugin as well
    return replace(
        row,
        facts=tuple(dict.fromkeys([*facts, *labels])),
        versions=tuple(one.version for one in found if one.version is not None),
    )


def _paper_cell(row: PrintedRow, column: Column, line: Sequence[Entry], judge: _Judge) -> PaperCell:
    reference = judge.reference
    printed = reference.cell(row, column) if row.cells else None
    place = reference.table_of(row, column)
    for ours, config in line:
        cell = ours.cells.get(column.source or "")
        if cell is None or _place(config, reference) != place:
            continue
        spread = _spread(config, column.source or "")
        found = judge.listed.add(row.method, judge.deviations.from_sources(config))
        verdict = None
        if printed is not None:
            verdict = judge.verdict(printed, row, column, (ours, config), cell, spread, found)
        labels = tuple(one.label for one in found)
        return PaperCell(ours, cell, spread, printed, verdict, labels)
    return PaperCell(None, None, None, printed, None)


def _spread(config: Configuration, source: str) -> float | None:
    """Standard deviation over the episodes of a source within a run, of several the rms."""
    if source == AVERAGE:
        return None
    return config.metric.scale * spread_of(config.of_source(source))


def _chance(config: Configuration, source: str, printed: PrintedCell) -> SpreadRatio | None:
    """What sampling gives for the ratio of the spreads, where the printed cell implies one."""
    if source == AVERAGE or printed.implied_std is None or printed.n is None:
        return None
    return spread_ratio(config.of_source(source), printed.n)


def _not_shown(
    reference: Reference, entries: Sequence[Entry], shown: Mapping[tuple[str, str], Entry]
) -> Iterator[str]:
    for row, config in entries:
        if _id(config) not in shown:
            variant = f" ({row.variant})" if row.variant else ""
            stamps = f", stamped {', '.join(row.stamps)}" if row.stamps else ""
            yield (
                f"Not shown: {config.label}{variant}{stamps}, because {row.learner} also ran in "
                f"full at budget {reference.budget}."
            )
