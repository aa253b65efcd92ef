"""What lies in one of the folders to merge: runs, tunings and plans, each checked, links left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from metabench.durable import is_locked, is_unfinished
from metabench.errors import DataError
from metabench.results.episode_columns import ColumnReader
from metabench.results.episode_files import NotCountedError
from metabench.results.folders import look_below
from metabench.results.foreign import count_lines
from metabench.results.plans import FOLDER as PLANS
from metabench.results.reading import FinishedRun, read_finished, read_record
from metabench.results.schema import RunRecord
from metabench.results.state import state_of
from metabench.results.store import PARTS, RunStore, is_at_work
from metabench.results.tunings import CHOSEN, FILE, TuningRecord, read_tuning

RECORD = "run.json"
_DONE, _TRAINED, _UNFINISHED = 3, 2, 1


@dataclass(frozen=True, slots=True)
class RunCopy:
    """A run as it lies in one of the folders.

    Attributes:
        root: the folder that was named.
        folder: of the run.
        place: where a merged folder has it.
        record: of the run.
        files: by their paths in the folder.
        run: its scores, of a run that is done.
        progress: how far it is; larger is further, then fuller.
    """

    root: Path
    folder: Path
    place: Path
    record: RunRecord
    files: tuple[str, ...]
    run: FinishedRun | None
    progress: tuple[int, ...]

    @property
    def level(self) -> int:
        """Whether it is done, trained or neither; only what is one of the first two can differ."""
        return self.progress[0]

    @property
    def has_ended(self) -> bool:
        """Whether it has scores: it is done, or a trained trial of a tuning."""
        return self.level > _UNFINISHED


@dataclass(frozen=True, slots=True)
class TuningCopy:
    """The record of a tuning and the plans of what it chose, as they lie in one of the folders."""

    root: Path
    folder: Path
    place: Path
    record: TuningRecord
    files: tuple[str, ...]


@dataclass(slots=True)
class Found:
    """What lies in a folder.

    Attributes:
        root: the folder.
        runs: the runs that hold.
        tunings: the tunings that can be read.
        plans: files of plans, by their paths in the folder.
        left_out: what is not taken because it is damaged or under way, a sentence each.
        notes: what is taken although something is wrong with it.
        unsound: folders of runs that do not hold, in the folder.
        others: files that are not of metabench.
    """

    root: Path
    runs: list[RunCopy] = field(default_factory=list)
    tunings: list[TuningCopy] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unsound: set[Path] = field(default_factory=set)
    others: list[str] = field(default_factory=list)


def read_folder(root: Path, reader: ColumnReader) -> Found:
    """Read and check what lies in a folder.

    Args:
        root: the folder.
        reader: reads the episodes of all folders.

    Raises:
        DataError: when there is no such folder.
    """
    found = Found(root)
    below = look_below(root)
    found.left_out += below.problems
    runs = {*below.holding(RECORD)}
    tunings = {*below.holding(FILE)} - runs
    for folder in sorted(runs):
        _add_run(found, folder, reader)
    for folder in sorted(tunings):
        _add_tuning(found, folder)
    lost = {*below.holding("episodes.jsonl")} - runs
    found.left_out += [f"{folder}: {RECORD} is missing." for folder in sorted(lost)]
    known = runs | {run / part for run in runs for part in PARTS}
    for folder in sorted(below.names.keys() - known - lost):
        of_tuning = {FILE} if folder in tunings else set()
        if folder.name != CHOSEN or folder.parent not in tunings:
            _add_others(found, folder, below.names[folder] - of_tuning)
    return found


def place_of(folder: Path, record: RunRecord, root: Path) -> Path:
    """Where a merged folder has a run: as below its results folder, and that as below the root.

    Args:
        folder: of the run.
        record: of the run.
        root: the folder that was named.

    Raises:
        NotCountedError: when the names in the record would lead elsewhere.
    """
    tail = RunStore.of(record.spec, Path()).folder
    if len(tail.parts) != 3 or {"..", "/"} & {*tail.parts} or not str(tail).isprintable():
        raise NotCountedError("the names in its record make no path of a folder")
    here, top = folder.absolute(), root.absolute()
    above = here.parents[2] if here.parts[-3:-1] == tail.parts[:2] else here.parent
    return (above.relative_to(top) if above.is_relative_to(top) else Path()) / tail


def _add_run(found: Found, folder: Path, reader: ColumnReader) -> None:
    files, links = _files_of_run(folder)
    found.left_out += [_link_note(folder / name) for name in links]
    try:
        if of_numbers := [name for name in links if _holds_numbers(name)]:
            raise NotCountedError(f"{of_numbers[0]} is a link or no plain file")
        record = read_record(folder)
        place = place_of(folder, record, found.root)
        if is_at_work(folder) or state_of(folder, record) == "running":
            raise NotCountedError("the run is under way; merge again when it is done")
        if said := RunStore(folder).changed_in_words(record):
            raise NotCountedError(said)
        run = None
        if record.status == "done":
            if "episodes.jsonl" not in files:
                raise NotCountedError("episodes.jsonl is missing")
            run, flaws = read_finished(folder, record, reader)
            found.notes += [f"{folder}: {flaw}." for flaw in flaws]
    except (NotCountedError, OSError) as problem:
        found.left_out.append(f"{folder}: {problem}.")
        found.unsound.add(folder.relative_to(found.root))
        return
    progress = _progress(folder, record, run, files)
    found.runs.append(RunCopy(found.root, folder, place, record, files, run, progress))


def _progress(
    folder: Path, record: RunRecord, run: FinishedRun | None, files: tuple[str, ...]
) -> tuple[int, ...]:
    if run is not None:
        has_weights = any(name.startswith("checkpoints/") for name in files)
        extras = len(record.further_metrics), len(run.evaluations)
        return (_DONE, len(run.episodes), *extras, has_weights)
    if record.status == "trained":
        return (_TRAINED,)
    lines = (count_lines(folder / name) for name in ("episodes.jsonl", "metrics.jsonl"))
    return (_UNFINISHED, *lines)


def _files_of_run(folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """The plain files of a run, and what is none; locks and files of a killed process are left."""
    plain: list[str] = []
    others: list[str] = []
    for path in _listed(folder):
        if path.name.startswith(".lock") or is_unfinished(path.name):
            continue
        name = path.relative_to(folder).as_posix()
        (plain if path.is_file() and not path.is_symlink() else others).append(name)
    return tuple(plain), others


def _holds_numbers(name: str) -> bool:
    return name == RECORD or name.endswith(".jsonl") or name.startswith("evaluations")


def _listed(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in PARTS and path.is_dir() and not path.is_symlink():
            yield from sorted(path.iterdir())
        else:
            yield path


def _add_tuning(found: Found, folder: Path) -> None:
    chosen = folder / CHOSEN
    paths = [folder / FILE, *([] if chosen.is_symlink() else sorted(chosen.glob("*.yaml")))]
    links = [path for path in paths if path.is_symlink() or not path.is_file()]
    found.left_out += [_link_note(path) for path in links]
    if folder / FILE in links:
        return
    try:
        record = read_tuning(folder)
    except DataError as error:
        found.left_out.append(error.in_full)
        return
    assert record is not None
    files = tuple(path.relative_to(folder).as_posix() for path in paths if path not in links)
    place = folder.relative_to(found.root)
    found.tunings.append(TuningCopy(found.root, folder, place, record, files))


def _add_others(found: Found, folder: Path, names: frozenset[str] | set[str]) -> None:
    for path in sorted(folder / name for name in names):
        name = path.relative_to(found.root).as_posix()
        if path.is_symlink():
            found.left_out.append(_link_note(path))
        elif path.is_dir():
            continue
        elif _is_plan(name) and path.is_file():
            if not is_locked(path):
                found.plans.append(name)
        elif not path.name.startswith("."):
            found.others.append(name)


def _link_note(path: Path) -> str:
    return f"{path} is a link or no plain file, so it stays."


def _is_plan(name: str) -> bool:
    """Whether a file says what to run: saved by a user, or kept by a command that made runs."""
    *folders, file = name.split("/")
    if folders and folders[-1] == PLANS:
        return file.endswith(".json")
    return file.endswith((".yaml", ".yml")) and not any(one.startswith(".") for one in folders)
