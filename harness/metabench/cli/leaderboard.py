"""``metabench leaderboard``: a static site from results folders, and the check of its entries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.output import writing
from metabench.cli.screen import put, say, tell
from metabench.errors import MetabenchError, UsageError

if TYPE_CHECKING:
    from metabench.reports.entries import Submission

ENTRY_FILES = (".yaml", ".yml")


def leaderboard(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Results folders, files of entries, and folders that hold such files.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="SITE", help="Write the site to this folder.", show_default=False),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="With --out: title of the site. [default: Leaderboard]")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check each entry against its records: the digest of the folder, the numbers, the "
            "episodes and the protocol. The exit code is 1 if one does not hold.",
        ),
    ] = False,
    new_entry: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the entry of one results folder to this YAML file.",
            show_default=False,
        ),
    ] = None,
    submitter: Annotated[str | None, typer.Option(help="With --new-entry: who submits it.")] = None,
    link: Annotated[
        str | None, typer.Option(help="With --new-entry: where the method is described.")
    ] = None,
) -> None:
    """Build a static site from results folders, or check the entries of one.

    A site with an entry that --check refutes is not built.

    Versions of a suite stand apart. Stamps, versions and revisions of the code are shown. The same
    records give the same bytes.
    """
    if [out is not None, check, new_entry is not None].count(True) != 1:
        raise UsageError(
            "A leaderboard is built, or checked, or gets an entry.",
            hint="Give one of --out SITE, --check and --new-entry FILE.",
        )
    _check_concerned("--title", title, of="--out", given=out is not None)
    _check_concerned("--submitter", submitter, of="--new-entry", given=new_entry is not None)
    _check_concerned("--link", link, of="--new-entry", given=new_entry is not None)
    if new_entry is not None:
        _write_entry(paths, new_entry, submitter=submitter or "", link=link or "")
    elif check:
        _check(paths)
    else:
        assert out is not None
        _build(paths, out, title="Leaderboard" if title is None else title)


def _check_concerned(option: str, value: str | None, *, of: str, given: bool) -> None:
    """Refuse an option that belongs to another one which is not given."""
    if value is not None and not given:
        raise UsageError(
            f"{option} goes with {of}, which is not given.", hint=f"Leave out {option}."
        )


def _build(paths: list[Path], out: Path, *, title: str) -> None:
    from metabench.render.leaderboard import render_site, require_own
    from metabench.results.store import replace_text, require_writable

    require_own(out)
    _require_entries_hold([file for path in paths for file in _entries_in(path)])
    submissions = _submissions(paths)
    site = render_site(submissions, title=title)
    require_writable(out)
    for path, text in site.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        replace_text(out / path, text)
    for one in submissions:
        for problem in one.results.problems:
            tell(problem)
    put(f"{out / 'index.html'}")


def _require_entries_hold(files: list[Path]) -> None:
    """Say what is wrong with entries, and end with 1; nothing where they hold."""
    from metabench.cli.context import catalog
    from metabench.reports.entry_checks import check_entries

    if problems := check_entries(files, catalog()) if files else []:
        for problem in problems:
            say(problem, fg="red")
        raise MetabenchError(
            "The site is not built: the records do not give what these entries claim.",
            hint="Mend the entries or take them out, and see --check.",
        )


def _check(paths: list[Path]) -> None:
    from metabench.cli.context import catalog
    from metabench.reports.entry_checks import check_entries
    from metabench.text import counted

    files = _entry_files(paths)
    problems = check_entries(files, catalog())
    for problem in problems:
        say(problem, fg="red")
    held = counted(len(files), "entry", "entries")
    if problems:
        say(f"{counted(len(problems), 'problem')} in {held}.")
        raise typer.Exit(1)
    put(f"{held} checked: the records give what they claim.")


def _write_entry(paths: list[Path], file: Path, *, submitter: str, link: str) -> None:
    from metabench.reports.entries import entry_text, make_entry

    if len(paths) != 1:
        raise UsageError(
            f"An entry has one results folder, not {len(paths)}.", hint="Name one folder."
        )
    if not submitter:
        raise UsageError("--submitter is missing.", hint="For example: --submitter 'Jane Doe'.")
    if file.suffix not in ENTRY_FILES:
        raise UsageError(f"{file} is no YAML file.", hint="Call it NAME.yaml.")
    if file.exists():
        raise UsageError(f"{file} exists already.", hint="Name another file, or remove it.")
    entry = make_entry(paths[0], file=file, submitter=submitter, link=link)
    with writing(file, parents=True) as place:
        place.write_text(entry_text(entry), encoding="utf-8", newline="\n")
    put(f"{file}")


def _entry_files(paths: list[Path]) -> list[Path]:
    """The files of entries among some paths.

    Raises:
        UsageError: when a path is neither a file nor holds one.
    """
    found: list[Path] = []
    for path in paths:
        files = _entries_in(path)
        if not files:
            raise UsageError(
                f"{path} is no file of an entry, and holds none.",
                hint="Write one with metabench leaderboard RESULTS --new-entry FILE.",
            )
        found += files
    return list(dict.fromkeys(found))


def _entries_in(path: Path) -> list[Path]:
    if path.suffix in ENTRY_FILES and path.is_file():
        return [path]
    if not path.is_dir():
        return []
    return sorted(file for file in path.iterdir() if file.suffix in ENTRY_FILES)


def _submissions(paths: list[Path]) -> list[Submission]:
    from metabench.reports.entries import Submission
    from metabench.reports.entry_checks import submission_of
    from metabench.results.reading import read_runs

    found = []
    for path in paths:
        files = _entries_in(path)
        found += [submission_of(file) for file in files]
        if not files:
            found.append(Submission(None, path, read_runs(path)))
    return found
