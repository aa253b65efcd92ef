"""Reading records back: runs with their episodes as arrays, and what is wrong with a folder.

Only runs with status ``done`` are counted. A sentence with its path says what cannot be counted, or
only in part; the rest is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from metabench.data.plain_files import MAX_RECORD, read_plain
from metabench.errors import DataError
from metabench.results.agreement import disagreement
from metabench.results.episode_columns import ColumnReader
from metabench.results.episode_files import Episodes, NotCountedError, read_episodes
from metabench.results.folders import look_below
from metabench.results.same_code import made_elsewhere
from metabench.results.schema import SCHEMA, RunRecord
from metabench.results.state import state_of
from metabench.results.store import RunStore
from metabench.results.tunings import is_trial
from metabench.values import digest

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: where it is.
        record: its record; ``record.evaluations`` defines the evaluations.
        episodes: of the headline evaluation.
        config_id: digest of what other seeds have in common with it: its spec without the seed,
            and the definition of the evaluation or the metric if the scores are of a further one.
        evaluations: episodes of each complete evaluation beside the headline one, by name, and
            of each other prediction of the headline's adaptation. Equal key, equal support.
        evaluation: the one that ``episodes`` are of; "" is the headline's.
        headline: the headline's metric where the scores are of a further one; else "".
    """

    folder: Path
    record: RunRecord
    episodes: Episodes
    config_id: str
    evaluations: Mapping[str, Episodes] = field(default_factory=dict)
    evaluation: str = ""
    headline: str = ""


@dataclass(frozen=True, slots=True)
class Results:
    """The runs of a folder.

    Attributes:
        runs: the runs that count, in the order of their folders.
        others: records of runs that are not done, which never count.
        problems: what is wrong, one sentence each, with the path. A trial that is trained is as it
            should be.
        read_at: when reading began, in nanoseconds since 1970; 0 if unknown.
        under_way: folders of runs that a process is making; they are not counted, and no problem.
    """

    runs: tuple[FinishedRun, ...]
    others: tuple[RunRecord, ...]
    problems: tuple[str, ...]
    read_at: int = 0
    under_way: tuple[Path, ...] = ()


def read_runs(path: str | Path) -> Results:
    """Read every run below ``path``, which may also be the folder of a single run.

    Raises:
        DataError: when there is no run at all, and every folder can be read.
    """
    read_at = time.time_ns()
    root = Path(path)
    below = look_below(root)
    folders = below.holding("run.json", "episodes.jsonl")
    if not folders and not below.problems:
        raise DataError(
            f"There is no run below {root}.",
            hint=f"Start one: metabench run --learner maml --suite toy-regression --out {root}",
        )
    runs: dict[tuple[str, int], FinishedRun] = {}
    others, problems, under_way = [], [*below.problems], []
    reader = ColumnReader()
    for folder in folders:
        try:
            record = read_record(folder)
            if record.status != "done":
                others.append(record)
                if state_of(folder, record) == "running":
                    under_way.append(folder)
                    continue
                if record.status == "trained" and is_trial(folder):
                    continue  # it ends before meta-test
                raise NotCountedError(f"the run is {_status(record)}, so it is not counted")
            run, flaws = read_finished(folder, record, reader)
            if (twin := runs.get((run.config_id, record.spec.seed))) is not None:
                raise NotCountedError(_beside(twin, run))
        except NotCountedError as problem:
            problems.append(f"{folder}: {problem}.")
            continue
        problems.extend(f"{folder}: {flaw}." for flaw in flaws)
        runs[run.config_id, record.spec.seed] = run
    return Results(tuple(runs.values()), tuple(others), tuple(problems), read_at, tuple(under_way))


def read_finished(
    folder: Path, record: RunRecord, reader: ColumnReader
) -> tuple[FinishedRun, list[str]]:
    """Read the episodes of a finished run, and name what is wrong with some of them.

    Args:
        folder: of the run.
        record: of the run.
        reader: reads many files of a folder.

    Raises:
        NotCountedError: when the run cannot be counted.
    """
    episodes, flaws = read_episodes(folder / "episodes.jsonl", record, reader=reader)
    evaluations, more_flaws = _read_evaluations(folder, record, reader)
    evaluations |= {name: episodes.scored(one) for name, one in episodes.variants.items()}
    run = FinishedRun(folder, record, episodes, record.spec.config_id, evaluations)
    return run, [*flaws, *more_flaws]


def edited(results: Results) -> Iterator[str]:
    """The architectures, embeddings and curves that are not as their runs wrote them, in words.

    The scores of tables do not come from them, so they are looked at where they are shown.
    """
    for run in results.runs:
        if said := RunStore(run.folder).changed_in_words(run.record):
            yield f"{run.folder}: {said}."


def _beside(twin: FinishedRun, run: FinishedRun) -> str:
    """Why a run is not counted beside another making of it, which is."""
    differs = disagreement(twin, run)
    if not differs:
        return f"the same run is also in {twin.folder}, and is counted once"
    made = made_elsewhere(twin.record, run.record)
    why = f"; they were made with {made}" if made else ""
    return (
        f"the same run is also in {twin.folder}, and the two disagree: {differs}{why}. That in "
        f"{twin.folder} is counted"
    )


def load_results(path: str | Path) -> pd.DataFrame:
    """Read the finished runs below ``path`` as a table, one row per meta-test episode.

    Columns: suite, setting, budget, learner, backend, space, strategy, seed, run_id, config_id,
    source, index, key, score, n_params, stamps (joined with a comma), metric, and ``metric.NAME``
    of each further metric, NaN in runs without it. Accuracy is in [0, 1]. What cannot be read is
    logged as a warning.

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
    for name in dict.fromkeys(name for run in runs for name in run.episodes.metrics):
        absent = [np.full(size, np.nan) for size in sizes]
        own = [run.episodes.metrics.get(name, nan) for run, nan in zip(runs, absent, strict=True)]
        columns[f"metric.{name}"] = np.concatenate(own)
    return pd.DataFrame(columns)


def _constants(run: FinishedRun) -> dict[str, str | int]:
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


def read_record(folder: Path) -> RunRecord:
    """Read the record of the run in a folder.

    Raises:
        NotCountedError: when there is none that can be read, or it was edited.
    """
    for name in ("evaluations", "trackers"):
        if (folder / name).is_symlink():
            raise NotCountedError(f"{name} is a link, so the run is not counted")
    try:
        data = read_plain(folder / "run.json", MAX_RECORD, follow=False)
        raw = from_json(data)
        schema = raw.get("schema_number", 0)
        if isinstance(schema, int) and schema > SCHEMA:
            raise NotCountedError(
                f"run.json has schema {schema}, but this metabench reads schemas up to {SCHEMA}; "
                "update metabench to count the run"
            )
        record = RunRecord.model_validate_json(data)
        # The spec as it was written: a later metabench may add fields to it.
        digest_of_spec = digest(raw["spec"])
    except FileNotFoundError:
        raise NotCountedError("run.json is missing, so the run is not counted") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotCountedError(
            f"run.json is not readable: {where}: {first['msg'].lower()}"
        ) from error
    except OSError as error:
        raise NotCountedError(f"run.json is not readable: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise NotCountedError(f"run.json is not readable: {error}") from error
    if record.run_id != digest_of_spec:
        raise NotCountedError(
            f"run_id {record.run_id} is not the digest of the spec in run.json, so one of the two "
            "was edited; the run is not counted"
        )
    return record


def _status(record: RunRecord) -> str:
    others = {"running": "unfinished (its process was killed)", "trained": "trained but not tested"}
    words = others.get(record.status, record.status)
    return f"{words}: {' '.join(record.error.split()).rstrip('.')}" if record.error else words


def _read_evaluations(
    folder: Path, record: RunRecord, reader: ColumnReader
) -> tuple[dict[str, Episodes], list[str]]:
    """Read the evaluations other than the headline's, and name what cannot be counted."""
    found: dict[str, Episodes] = {}
    flaws = []
    for name in record.evaluations:
        try:
            path = folder / "evaluations" / f"{name}.jsonl"
            episodes, wrong = read_episodes(path, record, reader=reader)
            if wrong:
                raise NotCountedError(wrong[0])
            found[name] = episodes
        except NotCountedError as problem:
            flaws.append(f"evaluation {name} is not counted: {problem}")
    return found, flaws
