"""A paper's table from our runs, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metabench.api.executing import HowToRun, prepare
from metabench.api.plugins import catalog_with
from metabench.api.reading import (
    ClaimsView,
    ReportView,
    build_tables,
    judge_claims,
    names_of,
    require_runs,
)
from metabench.errors import DataError
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.api.running import Runs
    from metabench.papers.cells import TablePlan
    from metabench.planning.plan import PlannedRun
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.specs import RunEvent
    from metabench.running.engines import EngineName


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A paper's table beside our runs. A notebook shows it; ``print`` gives plain text.

    Attributes:
        runs: how ours ended.
        report: the paper's table with our numbers and the verdicts.
        claims: the verdicts on the claims about these runs; None where no claim is.
        left_out: what of the table cannot be run, one sentence each.
    """

    runs: Runs
    report: ReportView
    claims: ClaimsView | None
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        """As ``metabench reproduce``."""
        return "\n".join(map(str, filter(None, (self.report, self.claims))))

    def _repr_html_(self) -> str:
        return "".join(view._repr_html_() for view in (self.report, self.claims) if view)


def reproduce(
    key: str,
    *,
    row: str | Sequence[str] = (),
    setting: str | Sequence[str] = (),
    budget: str | None = None,
    seeds: int | Iterable[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    limit: int | None = None,
    data: Literal["real", "synthetic"] = "real",
    out: str | Path | None = None,
    jobs: int = 1,
    device: str = "auto",
    engine: EngineName = "eager",
    threads: int = 1,
    plugins: Iterable[str | Path] = (),
    on_event: Callable[[RunEvent], None] | None = None,
    check: bool = True,
) -> Reproduced:
    """Make the runs of a paper's table and show it beside them, as ``metabench reproduce`` does.

    Finished runs are skipped. :func:`metabench.price` says before what it costs. Runs whose data
    is missing are left out, and named.

    Args:
        key: of the table, such as ``m-nas/table-1``, and after a colon a row.
        row: one or several: methods as the table prints them, or learners; all by default.
        setting: one or several; all by default.
        budget: how long to train and test; that of the table by default.
        seeds: one or several.
        changes: values of ``--set``, such as ``{"learner.inner_lr": 0.01}``.
        limit: test on so many episodes per source, in place of the suite's number.
        data: the real data, or its generated look-alike.
        out: the results folder; one of its own in ``results/local`` by default.
        jobs: runs at a time, each in a process of its own if there are several.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        engine: what makes the meta-steps and adapts: ``eager``, ``compiled`` or ``auto``.
        threads: CPU threads of each run.
        plugins: plugin files to load.
        on_event: called with each event; by default one line per run goes to stderr.
        check: raise if a run failed.

    Raises:
        UsageError: for an unknown key, row or name, and where nothing can be run.
        DataError: when the data of all runs is missing.
        MetabenchError: when a run failed and ``check`` is true; the others were still made.
        KeyboardInterrupt: when it was interrupted; the state is saved.
    """
    from metabench.api.running import ended, execute, print_ends

    files = tuple(Path(file) for file in plugins)
    found = catalog_with(files)
    table = plan_of(
        key,
        found,
        plugin_files=files,
        row=row,
        setting=setting,
        budget=budget,
        seeds=seeds,
        changes=changes,
        limit=limit,
        data=data,
    )
    how = HowToRun(
        out=Path(out or folder_of(key)),
        jobs=jobs,
        device=device,
        engine=engine,
        threads=threads,
        plugin_files=files,
    )
    runs = with_data(table.runs)
    work, todo = prepare(runs, how, found)
    outcomes = execute(work, todo, found, show=on_event or print_ends)
    made = ended(outcomes, how.out, check=check)
    lacking = lacks_in_words(table.runs)
    report, claims = shown(table, how.out, found)
    return Reproduced(made, report, claims, (*table.left_out, *lacking))


def plan_of(
    key: str,
    catalog: Catalog,
    *,
    plugin_files: tuple[Path, ...] = (),
    row: str | Sequence[str] = (),
    setting: str | Sequence[str] = (),
    seeds: int | Iterable[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    **others: Any,
) -> TablePlan:
    """The runs of a table; see :func:`reproduce`.

    Args:
        key: of the table, and after a colon a row.
        catalog: the plugins.
        plugin_files: plugins given by file.
        row: one or several.
        setting: one or several.
        seeds: one or several.
        changes: values of ``--set``.
        others: further fields of :class:`~metabench.papers.cells.Wanted`.

    Raises:
        UsageError: as :func:`reproduce`.
    """
    from metabench.papers.cells import Wanted, plan_table
    from metabench.papers.reference_files import find_reference

    name, _, one = key.partition(":")
    wanted = Wanted(
        rows=(*([one] if one else []), *names_of(row)),
        settings=names_of(setting),
        seeds=(seeds,) if isinstance(seeds, int) else tuple(seeds),
        set=dict(changes or {}),
        **others,
    )
    return plan_table(find_reference(catalog, name), catalog, wanted, plugin_files=plugin_files)


def folder_of(key: str) -> Path:
    """Where the runs of a table go by default.

    >>> folder_of("m-nas/table-1:mnas").as_posix()
    'results/local/m-nas-table-1'
    """
    return Path("results/local") / key.partition(":")[0].replace("/", "-")


def with_data(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs whose data is there.

    Raises:
        DataError: when there is none, with how to get the data.
    """
    from metabench.results.price import lacking

    found = [run for run in runs if not run.lacks]
    if not found:
        hint = "\n".join(lacking(runs))
        raise DataError("The data of all runs is missing.", hint=hint)
    return found


def lacks_in_words(runs: Sequence[PlannedRun]) -> list[str]:
    """What is not run because data is missing, one sentence for each piece of data."""
    from metabench.results.price import lacking

    return [f"{counted(n, 'run')} left out: {sentence}" for sentence, n in lacking(runs).items()]


def shown(table: TablePlan, out: Path, catalog: Catalog) -> tuple[ReportView, ClaimsView | None]:
    """The paper's table beside the runs of a folder, and the verdicts on claims about them.

    Raises:
        DataError: when no run is finished.
    """
    results, built = build_tables(
        out, paper=table.reference.key, metric=None, interval="auto", catalog=lambda: catalog
    )
    require_runs(results, out)
    try:
        claims = judge_claims(out, catalog, suite=None)
    except DataError:  # no claim is about them
        return ReportView(built, lambda: catalog), None
    return ReportView(built, lambda: catalog), claims
