"""Reading results from Python: tables, comparisons and verdicts as values."""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.api.plugins import catalog_with
from metabench.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from metabench.papers.arranging import Arrangement
    from metabench.papers.claims.evaluate import ClaimResult
    from metabench.papers.claims.schema import Claim
    from metabench.papers.table import PaperReport
    from metabench.plugin.catalog import Catalog
    from metabench.render.small_table import SmallTable
    from metabench.render.text_table import TextTable
    from metabench.reports.captions import IntervalKind
    from metabench.reports.comparison import Comparison
    from metabench.reports.comparison_sides import Wanted
    from metabench.reports.tables import Report
    from metabench.results.reading import FinishedRun, Results
    from metabench.results.selection import Selection


@dataclass(frozen=True, slots=True)
class ReportView:
    """The tables of a results folder. A notebook shows them; ``print`` gives plain text.

    Attributes:
        content: the tables as values.
        catalog: has the names that papers print; names are as on the command line if absent.
    """

    content: Report | PaperReport
    catalog: Callable[[], Catalog] | None = field(default=None, repr=False, compare=False)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read or counted."""
        return tuple(self.content.problems)

    def to_frame(self) -> pd.DataFrame:
        """One row per number; the columns are those of the CSV format."""
        import pandas as pd

        return pd.read_csv(io.StringIO(self._rendered("csv")))

    def to_latex(self, *, width: float | None = None) -> str:
        """As ``metabench report --format tex``.

        Args:
            width: points across the text of the paper, 345 if absent; a wider table is stacked.
        """
        from metabench.render.as_tex import render
        from metabench.render.print_names import print_names
        from metabench.render.tex_layout import ARTICLE

        names = None if self.catalog is None else print_names(self.catalog())
        return render(self.content, names=names, width=width or ARTICLE)

    def to_markdown(self) -> str:
        """As ``metabench report --format md``."""
        return self._rendered("md")

    def __str__(self) -> str:
        """As ``metabench report``."""
        return self._rendered("table")

    def _repr_html_(self) -> str:
        from metabench.render.text_table import text_table_of

        return "".join(
            _small_table(text_table_of(table)).to_html() for table in self.content.tables
        )

    def _rendered(self, format: str) -> str:
        from metabench.render import Format, render

        return render(self.content, Format(format))


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Paired differences A - B. A notebook shows them; ``print`` gives plain text.

    Attributes:
        comparisons: one for each suite and setting that both sides have.
        alone: runs without a counterpart on the other side.
        problems: what could not be read or counted.
    """

    comparisons: Sequence[Comparison]
    alone: Sequence[str]
    problems: Sequence[str] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per source and average, with the numbers of ``metabench compare --json``."""
        import pandas as pd

        from metabench.render.comparison_text import comparison_values

        return pd.DataFrame(
            [
                {"A": one["left"], "B": one["right"], "unit": one["unit"], **column}
                for one in map(comparison_values, self.comparisons)
                for column in one["columns"]
            ]
        )

    def to_latex(self) -> str:
        """A table for each comparison; they need booktabs, and fit a plain article."""
        return "\n".join(table.to_latex() for table in self._tables())

    def __str__(self) -> str:
        """As ``metabench compare``."""
        from metabench.render.comparison_text import comparison_text

        return comparison_text(self.comparisons, self.alone)

    def _repr_html_(self) -> str:
        return "".join(table.to_html() for table in self._tables())

    def _tables(self) -> list[SmallTable]:
        from metabench.render.comparison_text import comparison_table

        return [comparison_table(one) for one in self.comparisons]


@dataclass(frozen=True, slots=True)
class ClaimsView:
    """Verdicts on papers' claims. A notebook shows them; ``print`` gives plain text.

    Attributes:
        results: one for each claim.
        problems: what could not be read or counted.
    """

    results: Sequence[ClaimResult]
    problems: Sequence[str] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per claim: id, verdict, sentence, paper, suite, setting, budget, stamps."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "id": one.claim.id,
                    "verdict": one.said,
                    "sentence": one.claim.sentence,
                    "paper": one.paper,
                    "suite": one.claim.suite,
                    "setting": one.claim.setting,
                    "budget": one.budget,
                    "stamps": ", ".join(one.stamps),
                }
                for one in self.results
            ]
        )

    def to_latex(self) -> str:
        """One table of all verdicts; it needs booktabs, and fits a plain article."""
        return self._table().to_latex()

    def __str__(self) -> str:
        """As ``metabench claims``."""
        from metabench.render.claims_text import claims_overview

        return claims_overview(self.results)

    def _repr_html_(self) -> str:
        return self._table().to_html()

    def _table(self) -> SmallTable:
        from metabench.render.small_table import SmallTable

        header = ("claim", "verdict", "sentence", "suite", "setting", "budget")
        rows = [
            (c.claim.id, c.said, c.claim.sentence, c.claim.suite, c.claim.setting, c.budget or "")
            for c in self.results
        ]
        return SmallTable("Claims of the papers", header, rows)


def report(
    directory: str | Path = "results",
    *,
    paper: str | None = None,
    metric: str | None = None,
    interval: IntervalKind = "auto",
    learner: str | Iterable[str] = (),
    suite: str | Iterable[str] = (),
    setting: str | Iterable[str] = (),
    budget: str | Iterable[str] = (),
    seed: int | Iterable[int] = (),
    columns: str | Iterable[str] = (),
    sort: str | None = None,
    plugins: Iterable[str | Path] = (),
) -> ReportView:
    """Make the tables of a results folder, as ``metabench report`` does.

    Args:
        directory: the results folder, or the folder of one run.
        paper: key of a paper's table to show beside ours, such as ``m-nas/table-1``.
        metric: a further metric to show instead of the headline's, such as ``nll``.
        interval: how half-widths are computed: ``auto``, ``field``, ``seeds`` or ``bootstrap``.
        learner: use only runs of this learner, or of one of these; all if empty.
        suite: use only runs of this suite, or of one of these.
        setting: use only runs of this setting, or of one of these.
        budget: use only runs of this budget, or of one of these.
        seed: use only runs with this seed, or with one of these.
        columns: show only these columns of scores, such as ``average``, in this order.
        sort: a column by which rows are sorted, the best first; or ``learner``, ``network``,
            ``params`` or ``budget``.
        plugins: plugin files to load.

    Raises:
        DataError: when there is no finished run.
        UsageError: for an unknown key, name or column, if nothing is selected, or for a metric
            together with a paper.
    """
    from metabench.papers.arranging import Arrangement
    from metabench.results.selection import Selection

    if paper is not None and metric is not None:
        raise UsageError(
            "A paper's table names its metric, so metric does not apply.",
            hint="Leave out metric or paper.",
        )
    files = tuple(plugins)
    catalog = partial(catalog_with, files)
    results, built = build_tables(
        directory,
        paper=paper,
        metric=metric,
        interval=interval,
        catalog=catalog,
        selection=Selection(
            learners=names_of(learner),
            suites=names_of(suite),
            settings=names_of(setting),
            budgets=names_of(budget),
            seeds=(seed,) if isinstance(seed, int) else tuple(seed),
        ),
        arrangement=Arrangement(columns=names_of(columns), sort=sort),
    )
    require_runs(results, directory)
    return ReportView(built, catalog)


def names_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """The names that a call gives as one text or as several."""
    return (given,) if isinstance(given, str) else tuple(given)


def build_tables(
    directory: str | Path,
    *,
    paper: str | None,
    metric: str | None,
    interval: IntervalKind,
    catalog: Callable[[], Catalog],
    selection: Selection | None = None,
    arrangement: Arrangement | None = None,
) -> tuple[Results, Report | PaperReport]:
    """Read a folder and make its tables, or those of a paper beside ours; see :func:`report`."""
    from metabench.papers.arranging import Arrangement, arrange, say_selected
    from metabench.papers.reference_files import find_reference
    from metabench.papers.report import build_paper_report
    from metabench.reports.build import build_report
    from metabench.reports.validation import with_validation
    from metabench.results.further_metrics import through_metric
    from metabench.results.metrics import VAL
    from metabench.results.reading import read_runs
    from metabench.results.selection import ALL, select

    selection = selection or ALL
    arrangement = arrangement or Arrangement()
    built: Report | PaperReport
    if paper is None:
        results = select(read_runs(directory), selection)
        if metric is not None:
            results = through_metric(results, metric)
        built = build_report(results, interval=interval, columns=arrangement.columns)
        if VAL in (*arrangement.columns, arrangement.sort):
            said = not arrangement.columns or VAL in arrangement.columns
            built = with_validation(built, results.runs, said=said)
    else:
        plugins = catalog()
        reference = find_reference(plugins, paper)
        results = select(read_runs(directory), selection)
        built = build_paper_report(
            results,
            reference,
            interval=interval,
            catalog=plugins,
            columns=arrangement.columns,
        )
    return results, arrange(say_selected(built, selection), arrangement)


def refuse_trials(results: Results, directory: str | Path) -> None:
    """Refuse a folder that holds a tuning and no run that counts; say what to run instead.

    Raises:
        DataError: it is one.
    """
    from metabench.results.folders import look_below
    from metabench.results.tunings import FILE, read_tuning, tuning_above

    if results.runs:
        return
    held = look_below(Path(directory)).holding(FILE)
    folder = held[0] if held else tuning_above(Path(directory))
    tuning = None if folder is None else read_tuning(folder)
    if folder is None or tuning is None:
        return
    plans = [str(folder / study.plan) for study in tuning.studies if study.plan]
    command = shlex.join(["metabench", "run", *plans[:1]])
    raise DataError(
        f"No run in {directory} is tested: {folder} is the folder of a tuning, whose trials are "
        "judged on meta-validation only and are in no table.",
        hint=f"Test the chosen values: {command}"
        if plans
        else "Nothing is chosen yet: give the command of the tuning again.",
    )


def require_runs(results: Results, directory: str | Path) -> None:
    """Refuse a folder without a run that counts.

    Raises:
        DataError: there is none.
    """
    refuse_trials(results, directory)
    if not results.runs:
        raise DataError(
            f"There is no finished and readable run in {directory}.",
            hint="Run the command of an unfinished run again to finish it.",
        )


def compare(
    first: str | Path,
    second: str | Path,
    directory: str | Path = "results",
    *,
    suite: str | None = None,
    setting: str | None = None,
    budget: str | None = None,
    evaluation: str | None = None,
    metric: str | None = None,
    difference: float | None = None,
) -> ComparisonView:
    """Compare two learners, runs or folders on the same episodes, as ``metabench compare`` does.

    Args:
        first: a results folder, the first characters of a run id, or a learner.
        second: what it is compared with.
        directory: the results folder in which run ids and learners are looked up.
        suite: use only runs of this suite.
        setting: use only runs of this setting.
        budget: use only runs of this budget.
        evaluation: compare on this evaluation or prediction instead of the headline.
        metric: compare this metric of the headline's predictions, such as ``nll``.
        difference: also say how many episodes or seeds detect this difference.

    Raises:
        DataError: when a side has no finished run.
        UsageError: for an unknown name, or where a choice is left.
    """
    from metabench.reports.comparison_sides import Wanted

    wanted = Wanted(
        suite=suite, setting=setting, budget=budget, evaluation=evaluation, metric=metric
    )
    return compare_sides(str(first), str(second), Path(directory), wanted, difference=difference)


def compare_sides(
    first: str,
    second: str,
    directory: Path,
    wanted: Wanted,
    *,
    difference: float | None,
    tell: Callable[[str], None] = lambda problem: None,
) -> ComparisonView:
    """Compare what two names stand for; see :func:`compare`.

    Args:
        first: a results folder, the first characters of a run id, or a learner.
        second: what it is compared with.
        directory: the results folder in which run ids and learners are looked up.
        wanted: which runs to use.
        difference: also say how many episodes or seeds detect this difference.
        tell: called with what could not be read or counted, before anything is compared.
    """
    from metabench.reports.comparison import compare_pairs
    from metabench.reports.comparison_sides import find_sides

    if difference is not None and (difference == 0 or not math.isfinite(difference)):
        raise UsageError(
            f"No number of episodes shows a --difference of {difference:g}.",
            hint="Give the smallest difference that matters to you, such as --difference 1.",
        )
    sides = find_sides(first, second, folder=directory, wanted=wanted)
    for problem in sides.problems:
        tell(problem)
    found = compare_pairs(sides.pairs, difference=difference, evaluation=wanted.evaluation)
    return ComparisonView(found, sides.alone, sides.problems)


def claims(
    directory: str | Path = "results",
    *,
    suite: str | None = None,
    plugins: Iterable[str | Path] = (),
) -> ClaimsView:
    """Judge the papers' claims by the records of a folder, as ``metabench claims`` does.

    Args:
        directory: the results folder.
        suite: judge only the claims about this suite.
        plugins: plugin files to load.

    Raises:
        DataError: when no claim is about a finished run.
        UsageError: for an unknown suite.
    """
    return judge_claims(Path(directory), catalog_with(plugins), suite=suite)


def judge_claims(
    directory: Path,
    catalog: Catalog,
    *,
    suite: str | None,
    tell: Callable[[str], None] = lambda problem: None,
) -> ClaimsView:
    """Judge the claims that a catalog has; see :func:`claims`.

    Args:
        directory: the results folder.
        catalog: of plugins.
        suite: judge only the claims about this suite.
        tell: called with what could not be read or counted, before anything is judged.
    """
    from metabench.papers.claims import evaluate, load_claims
    from metabench.results.reading import read_runs

    if suite is not None:
        catalog.suite(suite)
    results = read_runs(directory)
    for problem in results.problems:
        tell(problem)
    files = [load_claims(file) for file in catalog.claims.values()]
    runs = [run for run in results.runs if suite in (None, run.record.spec.suite)]
    judged = evaluate(files, runs, catalog=catalog)
    if not judged:
        raise DataError(
            f"No claim is about the finished runs in {directory}.",
            hint=_what_claims_are_about([claim for file in files for claim in file.claims], runs),
        )
    return ClaimsView(judged, results.problems)


def _what_claims_are_about(claims: Sequence[Claim], runs: Sequence[FinishedRun]) -> str:
    """The learners of the claims about the runs' suites; if there is no such claim, all suites."""
    mine = {f"{run.record.spec.suite} @ {run.record.spec.setting}" for run in runs}
    learners: dict[str, set[str]] = {}
    for claim in claims:
        place = f"{claim.suite} @ {claim.setting}"
        learners.setdefault(place, set()).update(party.learner for party in claim.left)
    if shared := sorted(mine & learners.keys()):
        said = (
            f"those about {place} are of {', '.join(sorted(learners[place]))}" for place in shared
        )
        return f"Of the claims, {'; '.join(said)}."
    return f"There are claims about {', '.join(sorted(learners)) or 'nothing'}."


def _small_table(grid: TextTable) -> SmallTable:
    from metabench.render.legends import legend
    from metabench.render.small_table import SmallTable

    signs = {"best": " *", "tied": " =", "not compared": " ‡"}
    rows = [[f"{e.text}{signs.get(e.mark, '')}" for e in row] for row in grid.rows]
    notes = [" ".join([*grid.facts, *legend(grid, best="*", tied="=")])]
    notes += [f"{heading}: {' '.join(lines)}" for heading, lines in grid.notes if lines]
    return SmallTable(grid.title, [entry.text for entry in grid.headings], rows, notes)
