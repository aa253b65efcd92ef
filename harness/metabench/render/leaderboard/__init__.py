"""A leaderboard as a static site: an index, a page for each version of a suite, and a JSON file.

Equal runs and entries give equal bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from metabench.data.plain_files import MAX_ROWS, read_plain
from metabench.errors import MetabenchError, UsageError
from metabench.render.page.differences import find_differences
from metabench.render.page.html import render_page
from metabench.render.page.origins import find_provenance
from metabench.render.page.values import Page
from metabench.render.templates import environment
from metabench.reports.build import build_report
from metabench.reports.entries import Claim, Submission, claims_of, folder_digest
from metabench.reports.tables import Row, Table
from metabench.results.metrics import number
from metabench.results.reading import FinishedRun, Results
from metabench.values import NAME_PATTERN, NAME_RULE

if TYPE_CHECKING:
    from jinja2 import Template

FORMAT = 1
"""Raised when a reader of ``leaderboard.json`` would misread a newer one."""
DATA = "leaderboard.json"
"""The file by which a site is known. It is the first that is written."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the index.

    Attributes:
        claim: what it says.
        row: of the table.
        submissions: where its runs are from, each once.
        code: what made its runs: versions, revision, and whether that was changed.
        better: which scores are better, ``larger`` or ``smaller``.
    """

    claim: Claim
    row: Row
    submissions: tuple[Submission, ...]
    code: tuple[str, ...]
    better: str

    @property
    def number(self) -> str:
        """The number with its half-width, as tables print it."""
        mean = number(self.claim.mean, self.claim.unit)
        width = self.claim.half_width
        return mean if width is None else f"{mean} ± {number(width, self.claim.unit)}"

    @property
    def interval(self) -> str:
        """What the interval is over; "" where there is none."""
        over = self.row.cells[self.claim.column].over
        return "" if self.claim.half_width is None else f"over {over}"

    @property
    def order(self) -> tuple[bool, float, str]:
        """Unstamped rows first, then the better ones."""
        sign = -1 if self.better == "larger" else 1
        return bool(self.claim.stamps), sign * self.claim.mean, self.claim.config


@dataclass(frozen=True, slots=True)
class Board:
    """The rows of one setting at one budget.

    Attributes:
        setting: its name.
        budget: its name.
        column: what the number is of.
        unit: of the number.
        lines: the best first, stamped ones last.
    """

    setting: str
    budget: str
    column: str
    unit: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class SuiteVersion:
    """A version of a suite.

    Attributes:
        name: of the suite.
        version: of the suite.
        boards: by setting and budget.
    """

    name: str
    version: int
    boards: tuple[Board, ...]

    @property
    def page(self) -> str:
        """The path of its page, from the index."""
        return f"{self.name}-v{self.version}/index.html"


def render_site(submissions: Sequence[Submission], *, title: str) -> dict[PurePosixPath, str]:
    """The files of the site, by path, in the order in which they are written.

    Args:
        submissions: entries and folders; a run that two of them have is counted in the first.
        title: of the site.

    Raises:
        UsageError: when two submissions have one name.
    """
    for name, n in Counter(one.name for one in submissions).items():
        if n > 1:
            raise UsageError(
                f"{n} entries or folders are called {name}, so the site could not tell them apart.",
                hint="Name each once, under a name of its own.",
            )
    runs, problems, of = _together(submissions)
    suites = _suites(runs, of)
    versions = {(suite.name, suite.version): suite for suite in suites}
    found = {PurePosixPath(DATA): _as_json(suites, title)}
    for (name, version), suite in versions.items():
        own = tuple(run for run in runs if _key(run) == (name, version))
        page = _page(own, title=f"{name}, version {version}")
        found[PurePosixPath(suite.page)] = render_page(page)
    shown = sorted(submissions, key=lambda one: (one.entry is None, one.name))
    found[PurePosixPath("index.html")] = _template().render(
        title=title, suites=suites, submissions=shown, problems=problems, digest_of=folder_digest
    )
    return found


def require_own(folder: Path) -> None:
    """Refuse a folder that holds anything but a site, as :func:`render_site` makes it.

    Hidden files, such as those of git, may be there.

    Raises:
        UsageError: when it holds anything else.
    """
    if not folder.is_dir():
        return
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if found and not _is_site(folder):
        raise UsageError(
            f"{folder} is no leaderboard that metabench wrote, but holds {found[0]}.",
            hint="Name a new or an empty folder.",
        )


def _is_site(folder: Path) -> bool:
    try:
        values = from_json(read_plain(folder / DATA, MAX_ROWS))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"format", "title", "rows"} <= values.keys()


def _together(
    submissions: Sequence[Submission],
) -> tuple[list[FinishedRun], list[str], dict[str, Submission]]:
    """All runs, each once, what is wrong with the folders, and where each run is from."""
    runs: list[FinishedRun] = []
    of: dict[str, Submission] = {}
    problems = [text for one in submissions for text in one.results.problems]
    for submission in submissions:
        for run in submission.results.runs:
            suite = run.record.spec.suite
            if re.fullmatch(NAME_PATTERN, suite) is None:  # a page has its name
                problems.append(f"{run.folder}: {suite!r} is no name of a suite; {NAME_RULE}.")
                continue
            twin = of.setdefault(run.record.run_id, submission)
            if twin is submission:
                runs.append(run)
            else:
                problems.append(
                    f"{run.folder}: the same run is also of {twin.name}, and is counted there."
                )
    return runs, problems, of


def _suites(runs: Sequence[FinishedRun], of: dict[str, Submission]) -> list[SuiteVersion]:
    by_id = {run.record.run_id: run for run in runs}
    lines: dict[tuple[str, int], dict[tuple[str, str, str, str], list[Line]]] = {}
    for row, claim in claims_of(runs):
        own = [by_id[run_id] for run_id in claim.runs]
        line = Line(
            claim,
            row,
            tuple({of[run_id].name: of[run_id] for run_id in claim.runs}.values()),
            _code(own),
            own[0].record.metric.better,
        )
        boards = lines.setdefault((claim.suite, claim.version), {})
        key = claim.setting, claim.budget, claim.column, claim.unit
        boards.setdefault(key, []).append(line)
    return [
        SuiteVersion(
            name,
            version,
            tuple(
                Board(*key, tuple(sorted(group, key=lambda line: line.order)))
                for key, group in sorted(boards.items())
            ),
        )
        for (name, version), boards in sorted(lines.items(), key=_latest_first)
    ]


def _latest_first(one: tuple[tuple[str, int], Any]) -> tuple[str, int]:
    (name, version), _ = one
    return name, -version


def _code(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    """What made some runs, each way once."""
    said = []
    for run in runs:
        made_with = run.record.provenance
        packages = made_with.packages
        words = [f"metabench {packages.get('metabench') or 'unknown'}"]
        words += [f"torch {packages['torch']}"] if packages.get("torch") else []
        if made_with.git:
            changed = made_with.git.endswith("-dirty")
            revision = made_with.git.removesuffix("-dirty")
            words.append(f"revision {revision}{' with changes' if changed else ''}")
        else:
            words.append("revision unknown")
        parts = dict.fromkeys(made_with.code.values())
        words += [f"code {', '.join(parts)}"] if parts else []
        said.append("; ".join(words))
    return tuple(dict.fromkeys(said))


def _page(runs: tuple[FinishedRun, ...], *, title: str) -> Page:
    results = Results(runs, (), ())
    report = build_report(results, adjusted=True)
    missing = {}
    try:
        differences = tuple(find_differences(runs))
    except MetabenchError as error:
        differences, missing = None, {"differences": error.in_full}
    return Page(
        title=title,
        tables=tuple(table for table in report.tables if isinstance(table, Table)),
        papers=(),
        problems=report.problems,
        differences=differences,
        provenance=find_provenance(runs),
        missing=missing,
        adjusted=True,
    )


def _key(run: FinishedRun) -> tuple[str, int]:
    return run.record.spec.suite, run.record.spec.suite_version


def _as_json(suites: Sequence[SuiteVersion], title: str) -> str:
    rows = [
        {
            "entry": ", ".join(one.name for one in line.submissions),
            "submitter": _of_entries(line, "submitter"),
            "link": _of_entries(line, "link"),
            "network": line.row.network,
            "seeds": list(line.row.seeds),
            "code": list(line.code),
            "interval": line.interval,
            **line.claim.model_dump(mode="json"),
        }
        for suite in suites
        for board in suite.boards
        for line in board.lines
    ]
    values: dict[str, Any] = {"format": FORMAT, "title": title, "rows": rows}
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _of_entries(line: Line, field: str) -> str:
    """A field of the entries that a row's runs are from, each text once."""
    entries = (one.entry for one in line.submissions if one.entry)
    return ", ".join(dict.fromkeys(filter(None, (getattr(entry, field) for entry in entries))))


@cache
def _template() -> Template:
    source = files(__name__).joinpath("index.html.jinja").read_text(encoding="utf-8")
    return environment().from_string(source)
