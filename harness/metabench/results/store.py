"""The only writer of results: one folder per run, atomic or append-only, safe to kill at any time.

``<out>/<suite>@<setting>/<learner>/<run_id>/`` holds ``run.json``, ``episodes.jsonl``,
``metrics.jsonl``, ``timings.jsonl``, ``evaluations/`` and ``checkpoints/``; of learners that search
or embed tasks ``genotypes.jsonl`` and ``embeddings.jsonl`` as well, and for figures ``fits.jsonl``
and ``mixtures.jsonl``.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json

from metabench.data.plain_files import MAX_RECORD, MAX_ROWS, NotReadError, read_plain, sha256_of
from metabench.durable import flush, is_locked, locked, naming, remove_unfinished, replacing
from metabench.errors import DataError, UsageError
from metabench.results.schema import EpisodeRecord, RunRecord
from metabench.values import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metabench.planning.runspec import RunSpec
    from metabench.plugin.contracts.genotype import Genotype


CURVE = "metrics.jsonl"
"""The training curve."""
NUMBERS = ("episodes", "genotypes", "embeddings", "metrics")
"""The files that numbers are made from, beside those of evaluations, without ``.jsonl``."""
OF_FIGURES = ("fits", "mixtures")
"""The files of what figures of single tasks show, likewise."""

PARTS = ("checkpoints", "evaluations", "trackers")
"""Folders in the folder of a run."""
_SAME_SCORE = {"rel_tol": 1e-4, "abs_tol": 1e-7}
"""Scores of the same predictions that were computed twice, up to rounding."""


class Elsewhere(Exception):  # noqa: N818 - nothing is wrong
    """Another process is making the run."""


class RunStore:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, spec: RunSpec, out: Path) -> RunStore:
        """The folder of a run below the results folder ``out``."""
        return cls(out / f"{spec.suite}@{spec.setting}" / spec.learner.name / spec.run_id)

    @property
    def checkpoint(self) -> Path:
        """The latest state of a training that is not finished."""
        return self.folder / "checkpoints" / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        """The best weights on meta-validation of a training that is not finished."""
        return self.folder / "checkpoints" / "best.safetensors"

    @property
    def weights(self) -> Path:
        """The weights to test of a finished training, without the state of optimizers."""
        return self.folder / "checkpoints" / "weights.safetensors"

    def tested_weights(self, selection: Literal["last", "meta-val"]) -> Path:
        """The file of the weights that a finished run tested, also of an older metabench."""
        if self.weights.exists():
            return self.weights
        return self.checkpoint if selection == "last" else self.best_checkpoint

    def forget_training(self) -> None:
        """Remove the states of a training whose weights are kept."""
        for path in (self.checkpoint, self.best_checkpoint):
            path.unlink(missing_ok=True)

    def forget_tests(self) -> None:
        """Remove what was found with weights that are gone."""
        stale = [path for path in self.number_files() if path.name != CURVE]
        for path in (*stale, *(self.folder / f"{stem}.jsonl" for stem in OF_FIGURES)):
            path.unlink(missing_ok=True)

    def episodes_of(self, evaluation: str = "") -> Path:
        """The file of the episodes of an evaluation, of the headline's if none is named."""
        name = f"evaluations/{evaluation}.jsonl" if evaluation else "episodes.jsonl"
        return self.folder / name

    def require_no_links(self) -> None:
        """Refuse to read and write what does not lie in the folder of the run.

        Raises:
            DataError: when a file or folder there is a link.
        """
        folders = [self.folder, *(self.folder / name for name in PARTS)]
        for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
            if path.is_symlink():
                raise DataError(
                    f"{path} is a link, and the files of a run are neither read nor written "
                    "through links.",
                    hint="Put what it leads to in its place; the folder of all results may be a "
                    "link.",
                )

    def read_record(self) -> RunRecord | None:
        """The record of an earlier start; None if there is none.

        Raises:
            DataError: when it cannot be read, or as :meth:`require_no_links`.
        """
        path = self.folder / "run.json"
        try:
            self.require_no_links()
            return RunRecord.model_validate_json(read_plain(path, MAX_RECORD))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} is not a readable run record.", hint="Move it away to repeat this run."
            ) from error

    def write_record(self, record: RunRecord) -> None:
        """Replace ``run.json`` in one step, after what it speaks of is on the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.flush()
        path = self.folder / "run.json"
        replace_text(path, record.model_dump_json(indent=2) + "\n")

    def digests(self, *names: str) -> dict[str, str]:
        """SHA-256 by name of the files that numbers are made from, where they are there.

        That of a link, which is not followed, is "".

        Args:
            names: paths in the folder; all such files if none is named.
        """
        paths = [self.folder / name for name in names] or self.number_files()
        return {
            path.relative_to(self.folder).as_posix(): "" if path.is_symlink() else sha256_of(path)
            for path in paths
            if path.is_file()
        }

    def number_files(self) -> list[Path]:
        """The files that numbers are made from."""
        named = (self.folder / f"{stem}.jsonl" for stem in NUMBERS)
        return [*named, *sorted(self.folder.glob("evaluations/*.jsonl"))]

    def changed(self, record: RunRecord) -> list[str]:
        """The files that numbers are made from that are not as the run wrote them.

        A file that is gone is not among them, and nothing is known of an older record.
        """
        now = self.digests() if record.digests else {}  # a record may name any other file
        return [name for name, own in now.items() if record.digests.get(name, own) != own]

    def changed_in_words(self, record: RunRecord) -> str:
        """That files are not as the run wrote them; "" where all are."""
        changed = self.changed(record)
        were, them = ("was", "it") if len(changed) == 1 else ("were", "them")
        said = f"{' and '.join(changed)} {were} changed since the run wrote {them}"
        return said if changed else ""

    def forget_changed(self, record: RunRecord) -> None:
        """Remove the files of tests that are not as the run wrote them, so that it tests again."""
        changed = [name for name in self.changed(record) if name != CURVE]
        if {*changed} & {"genotypes.jsonl", "embeddings.jsonl"}:  # made with the episodes
            changed.append("episodes.jsonl")
        for name in changed:
            (self.folder / name).unlink(missing_ok=True)

    def flush(self) -> None:
        """Have the disk keep what was appended, so that it survives a power cut."""
        for path in (*self.folder.glob("*.jsonl"), *self.folder.glob("evaluations/*.jsonl")):
            flush(path)

    def append_episodes(self, records: Iterable[EpisodeRecord], *, evaluation: str = "") -> None:
        """Add episodes in the order of their index, to the headline's if no other is named."""
        lines = [record.model_dump_json(exclude_none=True) for record in records]
        path = self.episodes_of(evaluation)
        path.parent.mkdir(exist_ok=True)
        _append(path, lines)

    def append_genotypes(
        self, first: int, genotypes: Sequence[Genotype], *, own: Sequence[Genotype] | None = None
    ) -> None:
        """Add the architectures of meta-test episodes ``first``, ``first + 1``, ..., once each.

        Args:
            first: index of the first episode.
            genotypes: those that predict.
            own: those that the tasks decoded to, where that may be others.
        """
        rows = [{"genotype": genotype.to_json()} for genotype in genotypes]
        if own is not None:
            both = zip(rows, own, strict=True)
            rows = [row | {"own": genotype.to_json()} for row, genotype in both]
        self._append_once("genotypes", first, rows)

    def append_embeddings(self, first: int, embeddings: Sequence[Sequence[float | None]]) -> None:
        """Add the task embeddings of meta-test episodes ``first``, ``first + 1``, ..., once."""
        self._append_once("embeddings", first, [{"embedding": row} for row in embeddings])

    def has(self, stem: str) -> bool:
        """Whether a file of rows is there."""
        return (self.folder / f"{stem}.jsonl").exists()

    def write_rows(self, stem: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a whole file of rows in the place of an earlier one."""
        lines = (canonical_json(dict(row)) for row in rows)
        replace_lines(self.folder / f"{stem}.jsonl", lines)

    def _append_once(self, stem: str, first: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a line per episode to a file, but for those that are there already."""
        path = self.folder / f"{stem}.jsonl"
        there = lines_of(path)
        after = _parsed(there[-1:], path, "index")[0]["index"] if there else -1
        lines = [
            canonical_json({"index": index, **row})
            for index, row in enumerate(rows, start=first)
            if index > after
        ]
        _append(path, lines)

    def count_episodes(self, *, evaluation: str = "", having: Collection[str] = ()) -> int:
        """Complete episodes so far; what follows the first torn or damaged line is cut off.

        Args:
            evaluation: whose episodes; the headline's if none is named.
            having: further metrics; a line without one of them is not complete.
        """
        path = self.episodes_of(evaluation)
        lines = lines_of(path)
        n = next(
            (i for i, line in enumerate(lines) if not _is_episode(line, i, having)), len(lines)
        )
        if n < len(lines):
            replace_lines(path, lines[:n])
        return n

    def forget_evaluation(self, evaluation: str) -> None:
        """Remove the episodes of an evaluation that the suite has defined anew."""
        self.episodes_of(evaluation).unlink(missing_ok=True)

    def add_metrics_of(self, evaluation: str) -> None:
        """Copy the further metrics of an evaluation of the headline's queries to the headline.

        Raises:
            DataError: when the two are not the same predictions: a score differs.
        """
        path, other = self.episodes_of(), self.episodes_of(evaluation)
        merged = []
        for line, again in zip(lines_of(path), lines_of(other), strict=True):
            old, new = (EpisodeRecord.model_validate_json(one) for one in (line, again))
            if old.key != new.key or not math.isclose(old.score, new.score, **_SAME_SCORE):
                raise DataError(
                    f"meta-test episode {old.index:,} has the score {new.score:g} here, but "
                    f"{old.score:g} in {path}, so these are not the predictions of the run.",
                    hint="Use the device and the package versions of its record, or move the "
                    "folder away and run the command again.",
                )
            both = {**(old.metrics or {}), **(new.metrics or {})}
            merged.append(old.model_copy(update={"metrics": both}))
        replace_lines(path, (one.model_dump_json(exclude_none=True) for one in merged))

    def append_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a point of the training curve."""
        _append(self.folder / "metrics.jsonl", [json.dumps({"step": step, **values})])

    def rewind_metrics(self, step: int, *, without: str = "") -> None:
        """Forget points after ``step``: a resumed run makes them again.

        Args:
            step: a meta-step.
            without: a value; the points of that step that have it are forgotten as well.
        """
        path = self.folder / "metrics.jsonl"
        lines = lines_of(path)
        points = _parsed(lines, path, "step")
        if path.exists():
            kept = [
                line
                for line, at in zip(lines, points, strict=True)
                if at["step"] < step or (at["step"] == step and without not in at)
            ]
            replace_lines(path, kept)

    def append_timing(self, values: Mapping[str, Any]) -> None:
        """Add a note of wall time; kept apart so that the other files hold no clock values."""
        _append(self.folder / "timings.jsonl", [json.dumps(dict(values))])

    def train_seconds(self) -> float:
        """Wall time of meta-training over all starts."""
        path = self.folder / "timings.jsonl"
        notes = _parsed(lines_of(path), path, "phase", "seconds")
        return math.fsum(note["seconds"] for note in notes if note["phase"] == "meta-train")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process off this run; the lock ends with the process, however it ends.

        Raises:
            Elsewhere: when another process has it.
            UsageError: when the folder cannot be written.
            DataError: as :meth:`require_no_links`.
        """
        require_writable(self.folder)
        with locked(self.folder / ".lock") as ours:
            if not ours:
                raise Elsewhere(f"Another process is working on the run in {self.folder}.")
            self.require_no_links()
            for folder in (self.folder, self.checkpoint.parent, self.episodes_of("any").parent):
                remove_unfinished(folder)
            yield


def require_outside_of_runs(folder: Path) -> None:
    """Refuse a results folder that is a run, or in one, or where another one has its runs.

    Raises:
        UsageError: it is.
    """
    here = folder.resolve()
    run = next((one for one in (here, *here.parents) if (one / "run.json").is_file()), None)
    if run is not None:
        where = "is" if run == here else "is in"
        raise UsageError(f"{folder} {where} the folder of a run.", hint="Choose another --out.")
    above = next((one.parent for one in (here, *here.parents) if _has_runs_of_a_setting(one)), None)
    if above is not None:
        raise UsageError(
            f"{folder} is where the results folder {above} has its runs.",
            hint=f"Give --out {shlex.quote(str(above))}, or a folder outside of it.",
        )


def _has_runs_of_a_setting(folder: Path) -> bool:
    """Whether :meth:`RunStore.of` has put runs into a folder of a setting, or in one beside it."""
    if folder.name.count("@") != 1:
        return False
    runs = (file.parent.name for file in folder.parent.glob("*@*/*/*/run.json"))
    return any(re.fullmatch(r"[0-9a-f]{16}", run_id) for run_id in runs)


def require_writable(folder: Path) -> None:
    """Make a folder where there is none.

    Raises:
        UsageError: when it cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror
        if isinstance(error, FileExistsError):
            reason = "it is no folder" if folder.exists() else "it is a link that leads nowhere"
        if folder.is_file():
            reason = "it is a file"
        raise UsageError(
            f"Cannot write to {folder}: {reason}.", hint="Choose another --out."
        ) from error


def set_aside(path: Path) -> str:
    """Give a damaged file another name, under which nothing reads it; return that name."""
    aside, n = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.name}.damaged-{n}")
    path.rename(aside)
    return aside.name


def replace_text(path: Path, text: str) -> None:
    """Replace a file in one step: a kill or a power cut leaves the old or the new one."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace a file of lines in one step."""
    replace_text(path, _joined(lines))


def _append(path: Path, lines: list[str]) -> None:
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(_joined(lines))


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def lines_of(path: Path) -> list[str]:
    """The complete lines of an append-only file, after cutting off a torn last line.

    Raises:
        DataError: when it is no plain file, or larger than any that is read to make tables.
    """
    if not path.exists():
        return []
    try:
        data = read_plain(path, MAX_ROWS)
    except NotReadError as error:
        raise DataError(
            f"{path} is not read: {error}.",
            hint=f"Move {path.parent} away, and run the same command to repeat the run; if it was "
            "not damaged, with fewer episodes (--limit).",
        ) from error
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    # What is not UTF-8 fails when its line is parsed.
    return whole.decode("utf-8", errors="surrogateescape").split("\n")[:-1]


def _parsed(lines: Sequence[str], path: Path, *fields: str) -> list[dict[str, Any]]:
    """Each line as JSON with these fields.

    Raises:
        DataError: when one is damaged.
    """
    found = []
    for line in lines:
        try:
            values = from_json(line.encode("utf-8"))
        except ValueError:
            values = None
        if not isinstance(values, dict) or any(field not in values for field in fields):
            raise DataError(
                f"{path} has a damaged line: {line[:60]!r}.",
                hint=f"Remove that line, or move {path.parent} away to repeat this run.",
            )
        found.append(values)
    return found


def _is_episode(line: str, index: int, having: Collection[str]) -> bool:
    try:
        episode = EpisodeRecord.model_validate_json(line)
    except ValueError:
        return False
    return episode.index == index and set(having) <= set(episode.metrics or ())


def is_at_work(folder: Path) -> bool | None:
    """Whether a process is making the run in a folder; None where the system cannot tell."""
    return is_locked(folder / ".lock")
