"""Reading records back: runs with their episodes as arrays, and what is wrong with a folder.

Only runs with status ``done`` are counted. Whatever cannot be counted, or only in part, is named
in a sentence with its path; the rest stays usable.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from metabench.errors import DataError
from metabench.records import SCHEMA, EpisodeRecord, RunRecord
from metabench.runspec import digest

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)
_LINES = TypeAdapter(list[EpisodeRecord])


@dataclass(frozen=True, slots=True)
class Episodes:
    """The meta-test episodes of one run, column by column, each ``[n]``.

    Attributes:
        index: position in the meta-test.
        source: name of the source (str objects).
        key: digest of the episode (str objects, shared between runs).
        score: the suite's metric, all finite; accuracy in [0, 1].
        n_params: weights of the episode's network, NaN where unknown.
    """

    index: NDArray[np.int64]
    source: NDArray[np.object_]
    key: NDArray[np.object_]
    score: NDArray[np.float64]
    n_params: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its record, its episodes, and the digest of its spec without the seed."""

    folder: Path
    record: RunRecord
    episodes: Episodes
    config_id: str


@dataclass(frozen=True, slots=True)
class Results:
    """What a folder holds.

    Attributes:
        runs: the runs that count, in the order of their folders.
        others: records of runs that are not done, which never count.
        problems: what is wrong, one sentence each, with the path.
    """

    runs: tuple[Run, ...]
    others: tuple[RunRecord, ...]
    problems: tuple[str, ...]


class _NotCountedError(Exception):
    """Why a run cannot be counted, in words that follow its path."""


def read_runs(path: str | Path) -> Results:
    """Read every run below ``path``, which may also be the folder of a single run.

    Raises:
        DataError: when there is no run at all.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.", hint="Name a folder that holds results.")
    names = ("run.json", "episodes.jsonl")
    folders = sorted({file.parent for name in names for file in root.rglob(name)})
    if not folders:
        raise DataError(
            f"There is no run below {root}.",
            hint=f"Make one: metabench run --learner maml --suite toy-regression --out {root}",
        )
    runs: dict[tuple[str, int], Run] = {}
    others, problems = [], []
    for folder in folders:
        try:
            record = _read_record(folder)
            if record.status != "done":
                others.append(record)
                raise _NotCountedError(f"the run is {_standing(record)}, so it is not counted")
            config_id = record.spec.config_id
            if (twin := runs.get((config_id, record.spec.seed))) is not None:
                raise _NotCountedError(f"the run stands in {twin.folder} too and is counted once")
            episodes, flaws = _read_episodes(folder, record)
        except _NotCountedError as problem:
            problems.append(f"{folder}: {problem}.")
            continue
        problems.extend(f"{folder}: {flaw}." for flaw in flaws)
        runs[config_id, record.spec.seed] = Run(folder, record, episodes, config_id)
    return Results(tuple(runs.values()), tuple(others), tuple(problems))


def load_results(path: str | Path) -> pd.DataFrame:
    """Read the finished runs below ``path`` as a table, one row per meta-test episode.

    Columns: suite, setting, budget, learner, backend, space, strategy, seed, run_id, config_id,
    source, index, key, score, n_params, stamps (joined with a comma), metric. Accuracy is in
    [0, 1]. What cannot be read is logged as a warning.

    Raises:
        DataError: when there is no run at all.
    """
    import pandas as pd

    results = read_runs(path)
    for problem in results.problems:
        _log.warning("%s", problem)
    runs = results.runs
    sizes = [len(run.episodes) for run in runs]
    constants = [_constants(run) for run in runs]

    def repeated(name: str) -> NDArray[Any]:
        return np.repeat(np.array([row[name] for row in constants], dtype=object), sizes)

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([[], *(getattr(run.episodes, name) for run in runs)])

    first = ("suite", "setting", "budget", "learner", "backend", "space", "strategy")
    columns: dict[str, Any] = {name: repeated(name) for name in first}
    columns["seed"] = repeated("seed").astype(np.int64)
    columns |= {name: repeated(name) for name in ("run_id", "config_id")}
    columns["source"] = joined("source")
    columns["index"] = joined("index").astype(np.int64)
    columns |= {name: joined(name) for name in ("key", "score")}
    columns["n_params"] = pd.array(joined("n_params"), dtype="Int64")
    columns |= {name: repeated(name) for name in ("stamps", "metric")}
    return pd.DataFrame(columns)


def _constants(run: Run) -> dict[str, str | int]:
    record, spec = run.record, run.record.spec
    return {
        "suite": spec.suite,
        "setting": spec.setting,
        "budget": spec.budget,
        "learner": spec.learner.name,
        "backend": record.backend,
        "space": spec.space.name if spec.space else "",
        "strategy": spec.strategy.name if spec.strategy else "",
        "seed": spec.seed,
        "run_id": record.run_id,
        "config_id": run.config_id,
        "stamps": ", ".join(record.stamps),
        "metric": spec.metric,
    }


def _read_record(folder: Path) -> RunRecord:
    try:
        data = (folder / "run.json").read_bytes()
        raw = from_json(data)
        schema = raw.get("schema_number", 0)
        if isinstance(schema, int) and schema > SCHEMA:
            raise _NotCountedError(
                f"run.json is of schema {schema}, newer than the {SCHEMA} that this metabench "
                "reads; update metabench to count it"
            )
        record = RunRecord.model_validate_json(data)
        # The spec as it was written: a later metabench may add fields to it.
        digest_of_spec = digest(raw["spec"])
    except FileNotFoundError:
        raise _NotCountedError("run.json is missing, so the run is not counted") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _NotCountedError(
            f"run.json is not readable: {where}: {first['msg'].lower()}"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise _NotCountedError(f"run.json is not readable: {error}") from error
    if record.run_id != digest_of_spec:
        raise _NotCountedError(
            f"run_id {record.run_id} is not the digest of the spec beside it, so one of them was "
            "changed by hand; the run is not counted"
        )
    return record


def _standing(record: RunRecord) -> str:
    words = "unfinished (running, or killed)" if record.status == "running" else record.status
    return f"{words}: {' '.join(record.error.split()).rstrip('.')}" if record.error else words


def _read_episodes(folder: Path, record: RunRecord) -> tuple[Episodes, list[str]]:
    """Read the lines of a run, and name what is wrong with some of them."""
    try:
        data = (folder / "episodes.jsonl").read_bytes()
    except OSError as error:
        raise _NotCountedError(
            f"episodes.jsonl cannot be read ({error.strerror}), so the run is not counted"
        ) from error
    records, flaws = _parse(data)
    by_index: dict[int, EpisodeRecord] = {}
    for episode in records:
        by_index.setdefault(episode.index, episode)
    if repeats := len(records) - len(by_index):
        flaws.append(f"{_count(repeats, 'episode index stands', 'episode indices stand')} twice in "
                     "episodes.jsonl; the first is counted")  # fmt: skip
    spec = record.spec
    names = [source.source for source in spec.sources]
    kept = [episode for episode in by_index.values() if episode.source in names]
    if strange := len(by_index) - len(kept):
        flaws.append(f"{_count(strange, 'episode is', 'episodes are')} of a source that the spec "
                     "does not name; not counted")  # fmt: skip
    asked = spec.protocol.episodes * len(names)
    if not kept:
        raise _NotCountedError(
            f"episodes.jsonl holds none of {asked:,} episodes; the run is not counted"
        )
    if len(kept) < asked:
        flaws.append(f"{len(kept):,} of the {asked:,} episodes that the protocol asks for")
    return _columns(kept, record), flaws


def _columns(records: list[EpisodeRecord], record: RunRecord) -> Episodes:
    n_params = [record.n_params if e.n_params is None else e.n_params for e in records]
    episodes = Episodes(
        index=np.array([e.index for e in records], dtype=np.int64),
        source=np.array([sys.intern(e.source) for e in records], dtype=object),
        key=np.array([sys.intern(e.key) for e in records], dtype=object),
        score=np.array([e.score for e in records], dtype=np.float64),
        n_params=np.array(n_params, dtype=np.float64),
    )
    if n_bad := int((~np.isfinite(episodes.score)).sum()):
        raise _not_finite(n_bad)
    return episodes


def _parse(data: bytes) -> tuple[list[EpisodeRecord], list[str]]:
    lines = data.split(b"\n")
    try:
        return _LINES.validate_json(b"[" + b",".join(filter(None, lines)) + b"]"), []
    except ValidationError:
        return _parse_damaged(lines)


def _parse_damaged(lines: list[bytes]) -> tuple[list[EpisodeRecord], list[str]]:
    """Line by line, to keep the readable ones and to name the others."""
    records, bad, n_bad_scores = [], [], 0
    for number, line in _numbered(lines):
        try:
            records.append(EpisodeRecord.model_validate_json(line))
        except ValidationError as error:
            if error.errors()[0]["loc"] == ("score",):  # not finite is written as null
                n_bad_scores += 1
            else:
                bad.append(number)
    if n_bad_scores:
        raise _not_finite(n_bad_scores)
    flaws = []
    if bad and bad[-1] == len(lines):  # no line end: a kill came while it was written
        bad.pop()
        flaws.append("the last line of episodes.jsonl is torn; not counted")
    if bad:
        lines_are = _count(len(bad), "line is not an episode", "lines are not episodes")
        flaws.append(f"{lines_are} in episodes.jsonl, the first is line {bad[0]}; not counted")
    return records, flaws


def _numbered(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line)


def _not_finite(count: int) -> _NotCountedError:
    # Leaving such episodes out would leave out the worst ones.
    episodes = _count(count, "episode has", "episodes have")
    return _NotCountedError(f"{episodes} no finite score, so the run is not counted")


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
