"""Puts the runs that are taken into the merged folder; the same again finishes what was cut off.

The record of a run comes last, so a run that is not whole is none. A file that is only ever
replaced is linked where the file system can; one that lines are added to is copied.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import stat
from pathlib import Path

from metabench.durable import link_to, replacing
from metabench.errors import DataError, MetabenchError
from metabench.results.merging.copies import RECORD, TuningCopy
from metabench.results.merging.decisions import Decisions, TakenRun
from metabench.results.store import Elsewhere, RunStore, replace_text, require_writable
from metabench.results.tunings import FILE


def write(decisions: Decisions, out: Path) -> int:
    """Put everything that is taken into a folder.

    Args:
        decisions: what is taken; without conflicts.
        out: the merged folder.

    Returns:
        How many runs were not there yet, or not whole.

    Raises:
        UsageError: when the folder cannot be written.
        MetabenchError: when a process is making one of its runs.
        OSError: when a file cannot be read or written.
    """
    require_writable(out)
    try:
        written = sum(_write_run(run, out) for run in decisions.runs)
    except Elsewhere as error:  # it has begun since the folder was read
        raise MetabenchError(str(error), hint="Merge again when it is done.") from error
    for tuning in decisions.tunings:
        _write_tuning(tuning, out)
    for name, source in decisions.plans.items():
        if not (out / name).exists():  # a command at work may hold it
            _copy(source, out / name)
    return written


def take_over(source: Path, target: Path) -> None:
    """Copy a plain file to another place, in one step.

    Args:
        source: the file; a link is not followed.
        target: replaced if it is there.

    Raises:
        OSError: when it is no plain file, or one of the two cannot be read or written.
    """
    waits_not = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    with replacing(target) as temporary:
        handle = os.open(source, os.O_RDONLY | waits_not)
        with os.fdopen(handle, "rb") as found, temporary.open("wb") as copy:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file", str(source))
            shutil.copyfileobj(found, copy)


def _write_run(run: TakenRun, out: Path) -> bool:
    """Write a run; whether anything was to do."""
    store = RunStore(out / run.base.place)
    record = _record(run)
    names = [name for name in run.sources if name != RECORD]
    if _is_there(store.folder / RECORD, record) and all(
        _same(run.sources[name], store.folder / name) for name in names
    ):
        return False
    with store.locked():
        if not _has_ended(store):
            (store.folder / RECORD).unlink(missing_ok=True)
            _remove_others(store, names)
        for name in names:
            _copy(run.sources[name], store.folder / name)
        store.flush()
        if not _is_there(store.folder / RECORD, record):
            replace_text(store.folder / RECORD, record.decode("utf-8"))
    return True


def _record(run: TakenRun) -> bytes:
    """The record, as it is, or with the evaluations that are taken of other copies."""
    data = (run.base.folder / RECORD).read_bytes()
    if not run.evaluations:
        return data
    raw = json.loads(data)
    for name, copy in run.evaluations.items():
        evaluation = copy.record.evaluations.get(name)
        if evaluation is not None:
            raw.setdefault("evaluations", {})[name] = evaluation.model_dump(mode="json")
        file = f"evaluations/{name}.jsonl"
        if raw.get("digests") and file in copy.record.digests:
            raw["digests"][file] = copy.record.digests[file]
    return (json.dumps(raw, indent=2, ensure_ascii=False) + "\n").encode()


def _has_ended(store: RunStore) -> bool:
    try:
        record = store.read_record()
    except DataError:
        return False
    return record is not None and record.status in ("done", "trained")


def _remove_others(store: RunStore, names: list[str]) -> None:
    """Remove what an unfinished copy has of the training and the tests, and the new one has not."""
    for path in (*store.number_files(), *store.folder.glob("checkpoints/*.safetensors")):
        if path.relative_to(store.folder).as_posix() not in names:
            path.unlink(missing_ok=True)


def _write_tuning(tuning: TuningCopy, out: Path) -> None:
    folder = out / tuning.place
    for name in sorted(tuning.files, key=lambda name: name == FILE):  # the record comes last
        _copy(tuning.folder / name, folder / name)


def _copy(source: Path, target: Path) -> None:
    if not _same(source, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent.name != "checkpoints" or not link_to(source, target):
            take_over(source, target)


def _same(source: Path, target: Path) -> bool:
    """Whether a file is there already."""
    if not target.is_file():
        return False
    return source.samefile(target) or filecmp.cmp(source, target, shallow=False)


def _is_there(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
