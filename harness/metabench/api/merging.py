"""Several results folders as one, from Python: what ``metabench merge`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import DataError, UsageError
from metabench.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from metabench.results.merging.copies import RunCopy

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class MergedRun:
    """A run of a merged folder.

    Attributes:
        run_id: digest of its spec.
        place: its folder in the merged one.
        taken_from: the folder whose record and scores it has.
    """

    run_id: str
    place: str
    taken_from: str
    suite: str
    setting: str
    budget: str
    learner: str
    seed: int
    status: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What was merged. ``print`` says it in a sentence.

    Attributes:
        out: the merged folder.
        runs: the runs that are in it, or would be.
        new: how many of them were not there yet, or not whole; None if nothing was written.
        conflicts: what disagrees, a sentence each. Where there are some, nothing is written.
        left_out: what is damaged or under way, and was not taken.
        notes: what else is unlike.
    """

    out: str
    runs: tuple[MergedRun, ...]
    new: int | None
    conflicts: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As ``metabench merge --json``."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """One row per run."""
        import pandas as pd

        return pd.DataFrame([asdict(run) for run in self.runs])

    def __str__(self) -> str:
        """As ``metabench merge``."""
        by_root: dict[str, int] = {}
        for run in self.runs:
            by_root[run.taken_from] = by_root.get(run.taken_from, 0) + 1
        shares = ", ".join(f"{n:,} from {root}" for root, n in by_root.items())
        runs = f"{counted(len(self.runs), 'run')} ({shares})" if self.runs else "no run"
        if self.new is None:
            return f"{self.out} would have {runs}."
        return f"{self.out} has {runs}; {self.new:,} of them {_is_or_are(self.new)} new."


def merge(
    *folders: str | Path,
    out: str | Path,
    prefer: str | Path | None = None,
    dry_run: bool = False,
    check: bool = True,
) -> Merged:
    """Bring the runs of several results folders together, as ``metabench merge`` does.

    Every run is checked. Equal runs become one. Runs, tunings and plans are copied; checkpoints are
    linked where the file system can. The folders are not changed, and a merge that was cut off is
    finished by the same call.

    Args:
        folders: results folders.
        out: the merged folder; it may be there and have runs, which stay as they are.
        prefer: the folder whose copy of a run is taken where scores differ.
        dry_run: write nothing.
        check: raise if something disagrees; otherwise see :attr:`Merged.conflicts`.

    Raises:
        UsageError: when a folder is inside another one, ``prefer`` is none of them, or ``out``
            is in the folder of a run or cannot be written.
        DataError: when there is no such folder, no run in it, or two copies of a run disagree.
    """
    from metabench.results.cache import Cache, cache_root
    from metabench.results.episode_columns import ColumnReader
    from metabench.results.merging.copies import read_folder
    from metabench.results.merging.decisions import decide
    from metabench.results.merging.unlike import unlike_in
    from metabench.results.merging.writing import write
    from metabench.results.store import require_outside_of_runs

    inputs, target = [Path(one) for one in folders], Path(out)
    preferred = None if prefer is None else Path(prefer)
    _check_folders(inputs, target, preferred)
    require_outside_of_runs(target)
    reader = ColumnReader(Cache(cache_root()))
    found = [read_folder(root, reader) for root in inputs]
    for one in found:
        if not (one.runs or one.tunings or one.left_out):
            raise DataError(
                f"There is no run below {one.root}.", hint="Name results folders that have runs."
            )
    there = read_folder(target, reader) if target.is_dir() else None
    decisions = decide(found, there, _as_named_in(preferred, [*inputs, target]))
    decisions.notes += unlike_in([run.base for run in decisions.runs])
    if decisions.conflicts and check:
        raise disagreeing(decisions.conflicts)
    new = None if dry_run or decisions.conflicts else write(decisions, target)
    return Merged(
        out=str(target),
        runs=tuple(_merged(run.base) for run in decisions.runs),
        new=new,
        conflicts=tuple(decisions.conflicts),
        left_out=tuple(decisions.left_out),
        notes=tuple(decisions.notes),
    )


def disagreeing(conflicts: Sequence[str]) -> DataError:
    """The error where copies of runs disagree, so that nothing is written."""
    named = "".join(f"\n  - {text}" for text in conflicts[:_MOST_NAMED])
    more = len(conflicts) - _MOST_NAMED
    return DataError(
        f"{counted(len(conflicts), 'disagreement')}, so nothing was written:{named}"
        + (f"\n  - and {more} more" if more > 0 else ""),
        hint="Say whose copies count with --prefer FOLDER, or move those that do not away.",
    )


def _check_folders(inputs: Sequence[Path], out: Path, prefer: Path | None) -> None:
    if not inputs:
        raise UsageError("No folder is named.", hint="Name the results folders to merge.")
    places = [*inputs, out]
    for i, one in enumerate(places):
        for other in places[:i]:
            here, there = one.resolve(), other.resolve()
            if here == there:
                raise UsageError(
                    f"{other} and {one} are the same folder.",
                    hint="Choose another --out." if one is out else "Name each folder once.",
                )
            if here.is_relative_to(there) or there.is_relative_to(here):
                inner, outer = (one, other) if here.is_relative_to(there) else (other, one)
                raise UsageError(
                    f"{inner} lies in {outer}, so a merge would read what it writes."
                    if out in (one, other)
                    else f"{inner} lies in {outer}, whose runs are merged anyway.",
                    hint="Name folders that do not lie in each other.",
                )
    if prefer is not None and _as_named_in(prefer, places) is None:
        raise UsageError(
            f"--prefer {prefer} is none of the folders.",
            hint=f"They are {', '.join(map(str, places))}.",
        )


def _as_named_in(folder: Path | None, places: Sequence[Path]) -> Path | None:
    """The folder as it is named among others, whatever its spelling."""
    if folder is None:
        return None
    return next((one for one in places if one.resolve() == folder.resolve()), None)


def _merged(copy: RunCopy) -> MergedRun:
    record = copy.record
    spec = record.spec
    return MergedRun(
        run_id=record.run_id,
        place=copy.place.as_posix(),
        taken_from=str(copy.root),
        suite=spec.suite,
        setting=spec.setting,
        budget=spec.budget,
        learner=spec.learner.name,
        seed=spec.seed,
        status=record.status,
    )


def _is_or_are(n: int) -> str:
    return "is" if n == 1 else "are"
