"""CSV files of each run, for a spreadsheet or pandas: parameters, curves, scores."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from metabench import CurvePoint, Frozen, RunEnd, RunFacts, UsageError

CURVES, SCORES, END = "curves.csv", "scores.csv", "end.csv"
FILES = ("parameters.csv", CURVES, SCORES, END)
"""Of a run that ended."""


class CsvParams(Frozen):
    """Parameters of the CSV tracker."""

    folder: str | None = Field(
        default=None,
        description="Folder of the files; a relative one is below the current folder. null: the "
        "folder csv in the results folder. Each run has a folder SUITE@SETTING/LEARNER/RUN_ID in "
        "it.",
    )


class CsvTracker:
    """A folder of three files for each run."""

    def __init__(self, params: CsvParams, out: Path) -> None:
        self._folder = Path(params.folder).absolute() if params.folder else out / "csv"

    def open(self, run: RunFacts, *, key: str) -> CsvRun:
        """Begin or go on with a run; see :class:`metabench.Tracker`."""
        return CsvRun(self._folder / run.place, run, known=key)

    def has(self, run: RunFacts, *, key: str) -> bool:
        """Whether all files of a run are there; see :class:`metabench.LookingTracker`."""
        folder = self._folder / run.place
        return key == str(folder) and all((folder / name).exists() for name in FILES)


class CsvRun:
    """The files of one run; the folder is its key."""

    def __init__(self, folder: Path, run: RunFacts, *, known: str) -> None:
        self.key = str(folder)
        self.resumed = known == self.key and (folder / CURVES).exists()
        self._folder = folder
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        facts = {"run_id": run.run_id, "label": run.label, "stamps": " ".join(run.stamps)}
        rows = {**facts, **run.parameters, **run.made_with}.items()
        self._write("parameters.csv", [("name", "value"), *rows])
        if not self.resumed:
            for name in (SCORES, END):  # a run that begins anew has not ended
                with _writing(folder / name):
                    (folder / name).unlink(missing_ok=True)
            self._write(CURVES, [("step", "name", "value")])

    def log(self, points: Sequence[CurvePoint]) -> None:
        """Add points; see :class:`metabench.TrackedRun`."""
        rows = ((p.step, name, value) for p in points for name, value in p.values.items())
        self._write(CURVES, rows, mode="a")

    def end(self, end: RunEnd) -> None:
        """Write how the run ended; see :class:`metabench.TrackedRun`."""
        head = ("evaluation", "source", "metric", "mean", "half_width", "n")
        rows = [(s.evaluation, s.source, s.metric, s.mean, s.half_width, s.n) for s in end.scores]
        self._write(SCORES, [head, *rows])
        self._write(END, [("status", "step", "text"), (end.status, end.step, end.text)])

    def _write(self, name: str, rows: Iterable[Sequence[object]], *, mode: str = "w") -> None:
        path = self._folder / name
        if path.is_symlink():  # a results folder may come from anybody
            raise UsageError(f"cannot write {path}: it is a link")
        with _writing(path):
            before = path.stat().st_size if mode == "a" else 0
            try:
                with path.open(mode, newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows(rows)
            except OSError:
                os.truncate(path, before)  # all of it is written again
                raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a sentence."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
