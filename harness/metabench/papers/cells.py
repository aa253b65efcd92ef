"""From a paper's table to the runs that fill its cells, and what cannot be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import UsageError, unknown
from metabench.papers.reference import PrintedRow, Reference
from metabench.planning.grid import Grid, settings_by_suite
from metabench.planning.plan import PlannedRun, suite_of
from metabench.planning.source_data import DataKind
from metabench.planning.suite import Suite
from metabench.planning.validation import validated

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a table is run, and how.

    Attributes:
        rows: methods as the table prints them, or learners; all if empty.
        settings: all if empty.
        budget: that of the table if None.
        seeds: of the runs.
        set: further values of parameters, as of :class:`~metabench.planning.grid.Grid`.
        limit: meta-test episodes of a source, in place of the suite's number.
        data: real or synthetic.
    """

    rows: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    budget: str | None = None
    seeds: tuple[int, ...] = (0,)
    set: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    data: DataKind = "real"


@dataclass(frozen=True, slots=True)
class TablePlan:
    """The runs of a table.

    Attributes:
        reference: the table.
        runs: they fill its cells; those whose data is missing say what they lack.
        left_out: why rows or columns cannot be run, one sentence each.
    """

    reference: Reference
    runs: tuple[PlannedRun, ...]
    left_out: tuple[str, ...]


def plan_table(
    reference: Reference,
    catalog: Catalog,
    wanted: Wanted,
    *,
    plugin_files: tuple[Path, ...] = (),
) -> TablePlan:
    """Plan the runs of all cells of a table in which the paper has a number or had one.

    Args:
        reference: the table.
        catalog: the plugins.
        wanted: what of it.
        plugin_files: plugins given by file.

    Raises:
        UsageError: for an unknown row or setting, and where nothing can be run.
    """
    rows = _rows(reference, wanted.rows)
    settings = {setting for row in rows for setting in reference.settings_of(row)}
    for name in wanted.settings:
        if name not in settings:
            raise unknown("setting", name, settings, of=reference.key)
    left_out = [*_without_suite(reference, rows)]
    runs: dict[str, PlannedRun] = {}
    failed: list[UsageError] = []
    for row in rows:
        name = f"{row.method} ({row.group})" if row.group else row.method
        if why := _not_runnable(row, catalog):
            left_out.append(f"{name}: {why}")
            continue
        for suite, places in _places(reference, row, wanted).items():
            try:
                loaded = suite_of(suite, catalog)
                for grid in _grids(reference, row, loaded, places, wanted):
                    suites = {suite: loaded}
                    for run in grid.plan(
                        catalog, suites, plugin_files=plugin_files, without_data=True
                    ):
                        runs.setdefault(run.spec.run_id, run)
            except UsageError as error:
                failed.append(error)
                left_out.append(f"{name} on {suite}: {error.message}")
    if not runs and failed:
        raise failed[0]
    if not runs:
        raise UsageError(
            f"Nothing of {reference.key} can be run: {' '.join(left_out) or 'no cell is left.'}",
            hint="`metabench references list` shows the tables.",
        )
    return TablePlan(reference, tuple(runs.values()), tuple(dict.fromkeys(left_out)))


def _rows(reference: Reference, names: Sequence[str]) -> list[PrintedRow]:
    """The rows of these methods or learners, in the order of the table."""
    by_name: dict[str, list[PrintedRow]] = {}
    for row in reference.rows:
        for name in dict.fromkeys(filter(None, (row.method, row.learner))):
            by_name.setdefault(name, []).append(row)
    found: list[PrintedRow] = []
    for name in names:
        # A learner's name may be a method's as well, in other letters.
        alike = [known for known in by_name if known.casefold() == name.casefold()]
        if not alike:
            once = {known.casefold(): known for known in reversed(by_name)}
            raise unknown("row", name, once.values(), of=reference.key)
        found += [row for known in alike for row in by_name[known]]
    return [row for row in reference.rows if not names or row in found]


def _without_suite(reference: Reference, rows: Sequence[PrintedRow]) -> Iterator[str]:
    for column in reference.columns:
        if column.suite is None and rows:
            yield f"Column {column.heading}: metabench has no such suite."


def _not_runnable(row: PrintedRow, catalog: Catalog) -> str:
    """Why no run of ours can belong to a row; "" if one can."""
    if row.learner is None:
        return "metabench has no such learner."
    if row.learner not in catalog.learners:
        return f"the learner {row.learner} is not installed."
    if row.network is not None and row.network not in catalog.search_spaces:
        return f"the network {row.network} is not installed."
    return ""


def _places(reference: Reference, row: PrintedRow, wanted: Wanted) -> dict[str, tuple[str, ...]]:
    """The settings of a row by suite, without cells that the paper leaves empty."""
    found: dict[str, tuple[str, ...]] = {}
    for column in reference.columns:
        setting = reference.setting_of(row, column)
        if column.suite is None or reference.cell(row, column).status == "not reported":
            continue
        if not wanted.settings or setting in wanted.settings:
            before = found.get(column.suite, ())
            found[column.suite] = tuple(dict.fromkeys((*before, setting)))
    return found


def _grids(
    reference: Reference,
    row: PrintedRow,
    suite: Suite,
    settings: tuple[str, ...],
    wanted: Wanted,
) -> Iterator[Grid]:
    """What a command would ask for; settings whose normalization differs have a grid each."""
    budget = wanted.budget or reference.budget
    settings_by_suite({suite.name: suite}, settings)
    suite.budget(budget)
    by_change: dict[str | None, list[str]] = {}
    for setting in settings:
        by_change.setdefault(_normalization(row, suite, setting, budget), []).append(setting)
    for change, alike in by_change.items():
        params = {f"learner.{name}": value for name, value in row.learner_params.items()}
        params |= {f"network.{name}": value for name, value in row.network_params.items()}
        protocol = {} if change is None else {"protocol.normalization": change}
        fields = {
            "learners": row.learner,
            "suites": suite.name,
            "settings": tuple(alike),
            "budget": budget,
            "network": row.network,
            "seeds": wanted.seeds,
            "set": {**params, **protocol, **wanted.set},
            "limit": wanted.limit,
            "data": wanted.data,
        }
        yield validated(Grid, fields, what=f"{reference.key}:")


def _normalization(row: PrintedRow, suite: Suite, setting: str, budget: str) -> str | None:
    """The normalization that a row asks for, where it is not the suite's."""
    if row.transductive is None:
        return None
    asked = "transductive" if row.transductive else "inductive"
    return None if suite.protocol_of(setting, budget, {}).normalization == asked else asked
