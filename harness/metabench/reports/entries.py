"""Entries of a leaderboard: who submits which results folder, and the numbers that it claims.

An entry is a YAML file that a pull request can add. All that it says of runs is derived from their
records, so it can be checked against them.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import yaml
from pydantic import Field, field_validator

from metabench.data.plain_files import MAX_ROWS, read_plain
from metabench.errors import DataError, UsageError
from metabench.planning.runspec import EpisodeProtocol
from metabench.planning.validation import validated
from metabench.planning.yaml_files import read_mapping
from metabench.reports.build import make_rows
from metabench.reports.tables import Row, TableCell
from metabench.results.configurations import Configuration, configurations
from metabench.results.metrics import AVERAGE
from metabench.results.reading import FinishedRun, Results, read_runs
from metabench.values import Frozen, Name, digest, rounded

COUNTED = ("run.json", "episodes.jsonl", "evaluations/*.jsonl")
"""What the digest of a results folder covers, in the folder of each run."""


class Claim(Frozen):
    """A row of a table: the runs of one configuration, and their number."""

    suite: str = Field(description="Name of the suite.")
    version: int = Field(description="Version of the suite.")
    setting: str = Field(description="Name of the setting.")
    budget: str = Field(description="Name of the budget.")
    learner: str = Field(description="The row, in the words of its table.")
    config: str = Field(description="Digest of the runs' spec without the seed.")
    runs: tuple[str, ...] = Field(min_length=1, description="Ids of the runs, one for each seed.")
    episodes: str = Field(description="Digest of the keys of the meta-test episodes.")
    data: str = Field(description="Fingerprint of the data.")
    protocol: EpisodeProtocol = Field(description="How episodes were drawn.")
    stamps: tuple[str, ...] = Field(default=(), description="The stamps of the runs.")
    column: str = Field(description="The column of the table: a source, or the average.")
    mean: float = Field(description="The number, in the unit of tables.")
    half_width: float | None = Field(
        description="Of its 95 % interval; null where it cannot be estimated."
    )
    unit: str = Field(description="`%`, or the name of the metric.")

    @property
    def place(self) -> tuple[str, int, str]:
        """Suite, version and setting, which claims that are compared have in common."""
        return self.suite, self.version, self.setting

    @property
    def words(self) -> str:
        """The row in words, for messages."""
        return f"{self.learner} on {self.suite}@{self.setting}"


class Entry(Frozen):
    """A file that a submitter adds."""

    name: Name = Field(description="Name of the entry, and of its file.")
    submitter: str = Field(min_length=1, max_length=200, description="Who submits it.")
    link: str = Field(default="", description="Where the method is described.")
    results: str = Field(description="The results folder, relative to the file.")
    digest: str = Field(description="Of the records and episodes of the folder.")
    claims: tuple[Claim, ...] = Field(min_length=1, description="A row each.")

    @field_validator("link")
    @classmethod
    def _web_address(cls, link: str) -> str:
        if link and not link.startswith(("https://", "http://")):
            raise ValueError("a link begins with https:// or http://")
        return link


@dataclass(frozen=True, slots=True)
class Submission:
    """An entry with the runs that it names.

    Attributes:
        entry: the content of the file; None of a folder that no entry names.
        folder: the results folder.
        results: what is there.
    """

    entry: Entry | None
    folder: Path
    results: Results

    @property
    def name(self) -> str:
        """The entry's, else that of the folder."""
        return self.entry.name if self.entry is not None else self.folder.resolve().name


def read_entry(file: Path) -> Entry:
    """Read the file of an entry.

    Raises:
        UsageError: when it is not valid YAML, or does not describe an entry.
    """
    entry = validated(Entry, read_mapping(file, of="an entry"), what=f"Entry {file.name}:")
    if entry.name != file.stem:
        raise UsageError(
            f"Entry {file.name} says that its name is {entry.name}.",
            hint=f"Call the file {entry.name}{file.suffix}, or change the name.",
        )
    return entry


def entry_text(entry: Entry) -> str:
    """The text of the file of an entry."""
    head = "# Check it with: metabench leaderboard --check FILE\n"
    values = entry.model_dump(mode="json", exclude_defaults=True)
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def make_entry(folder: Path, *, file: Path, submitter: str, link: str) -> Entry:
    """The entry of a results folder, with a claim for each of its rows.

    Raises:
        DataError: when there is no run in the folder.
        UsageError: when a field is not valid, or no run counts.
    """
    claims = [claim for _, claim in claims_of(read_runs(folder).runs)]
    if not claims:
        raise UsageError(
            f"No run of {folder} is done.",
            hint=f"See metabench status {shlex.quote(str(folder))} for the reasons.",
        )
    fields = {
        "name": file.stem,
        "submitter": submitter,
        "link": link,
        "results": relative(folder, file.parent),
        "digest": folder_digest(folder),
        "claims": claims,
    }
    return validated(Entry, fields, what="The entry:")


def relative(folder: Path, start: Path) -> str:
    """A folder as seen from another one."""
    return Path(os.path.relpath(folder.resolve(), start.resolve())).as_posix()


def folder_digest(folder: Path) -> str:
    """SHA-256 of the records and episodes below a folder, by their paths.

    Raises:
        DataError: when one cannot be read.
    """
    found = hashlib.sha256()
    records = sorted(folder.rglob("run.json"), key=lambda path: path.relative_to(folder).parts)
    for record in records:
        for pattern in COUNTED:
            for path in sorted(record.parent.glob(pattern)):
                content = _content(path)
                head = f"{path.relative_to(folder).as_posix()} {len(content)}\n"
                found.update(head.encode() + content)
    return found.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_ROWS, follow=False)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}.", hint="Move it away, or restore it."
        ) from error


def claims_of(runs: Sequence[FinishedRun]) -> Iterator[tuple[Row, Claim]]:
    """The rows of the headline's tables of some runs, each with what it claims."""
    places: dict[tuple[str, int, str], list[Configuration]] = {}
    for config in configurations(runs):
        spec = config.spec
        places.setdefault((spec.suite, spec.suite_version, spec.setting), []).append(config)
    for _, group in sorted(places.items()):
        for row, config in make_rows(group):
            if row.cells:  # seeds that share no episode have no number
                yield row, _claim(row, config)


def _claim(row: Row, config: Configuration) -> Claim:
    spec = config.spec
    column, cell = _overall(row)
    return Claim(
        suite=spec.suite,
        version=spec.suite_version,
        setting=spec.setting,
        budget=spec.budget,
        learner=row.name,
        config=config.config_id,
        runs=row.runs,
        episodes=digest(config.key.tolist()),
        data=spec.data_fingerprint,
        protocol=spec.protocol,
        stamps=row.stamps,
        column=column,
        mean=rounded(cell.mean),
        half_width=rounded(cell.half_width) if isfinite(cell.half_width) else None,
        unit=cell.unit,
    )


def _overall(row: Row) -> tuple[str, TableCell]:
    """The number of a row: its average, or that of its only source."""
    if AVERAGE in row.cells:
        return AVERAGE, row.cells[AVERAGE]
    return next(iter(row.cells.items()))
