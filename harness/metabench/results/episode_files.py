"""Reading one file of episodes into columns, with a sentence for each problem."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from metabench.results.cache import Cache
from metabench.results.episode_columns import ColumnReader, Columns, Layout, read_curves
from metabench.results.schema import EpisodeRecord, RunRecord
from metabench.results.unusable import flaw_of_scores
from metabench.stats import computable
from metabench.text import counted

_LINES = TypeAdapter(list[EpisodeRecord])


@dataclass(frozen=True, slots=True)
class Episodes:
    """The meta-test episodes of one run, column by column, each ``[n]``.

    Attributes:
        index: position in the meta-test.
        source: name of the source (str objects).
        key: digest of the episode (str objects, shared between runs).
        score: the suite's metric, all of them computable (see :func:`metabench.stats.computable`);
            accuracy in [0, 1].
        n_params: weights of the episode's network, NaN where unknown.
        curves: gives :attr:`curve`, which few readers want, when it is asked for; absent where
            there is none.
        metrics: ``[n]``, further metrics that every episode has, by name; NaN where one is not
            finite.
        variants: ``[n]``, scores of other predictions that every episode has, by name.
    """

    index: NDArray[np.int64]
    source: NDArray[np.object_]
    key: NDArray[np.object_]
    score: NDArray[np.float64]
    n_params: NDArray[np.float64]
    curves: Callable[[], NDArray[np.float64]] | None = None
    variants: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    metrics: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def curve(self) -> NDArray[np.float64]:
        """``[n, steps + 1]``, the metric after 0, 1, 2, ... inner steps.

        NaN where it is not computable, and no columns where not every episode has a curve of the
        same length.

        Raises:
            DataError: when the file was changed since the scores were read.
        """
        found = np.empty((len(self), 0)) if self.curves is None else self.curves()
        return np.where(computable(found), found, np.nan)

    def scored(self, score: NDArray[np.float64]) -> Episodes:
        """The same episodes with other scores ``[n]``, which have no curves."""
        return replace(self, score=score, curves=None, variants={}, metrics={})


class NotCountedError(Exception):
    """Why a run cannot be counted, in words that follow its path."""


def read_episodes(
    path: Path, record: RunRecord, *, reader: ColumnReader | None = None
) -> tuple[Episodes, list[str]]:
    """Read the episodes of a run, and name what is wrong with some of them.

    Args:
        path: of the file.
        record: of the run.
        reader: reads many files of a folder, which share what they have in common; keeps what it
            read.

    Raises:
        NotCountedError: when nothing of the file can be counted, or it was changed since the run
            wrote it.
    """
    file = path.name
    reader = reader or ColumnReader(Cache(None))
    try:
        found = reader.read(path)
    except OSError as error:
        raise NotCountedError(
            f"{file} cannot be read ({error.strerror}), so it is not counted"
        ) from error
    records: list[EpisodeRecord] = []
    flaws: list[str] = []
    if isinstance(found, Columns):
        source = found.layout.source.tolist()
    else:
        records, flaws = _records(found, file=file)
        source = [episode.source for episode in records]
    spec = record.spec
    names = [source.source for source in spec.sources]
    kept = [row for row, name in enumerate(source) if name in names]
    if strange := len(source) - len(kept):
        has, are = ("episode has", "is") if strange == 1 else ("episodes have", "are")
        flaws.append(f"{strange:,} {has} a source that is not in the spec and {are} not counted")
    asked = spec.protocol.episodes * len(names)
    if not kept:
        raise NotCountedError(f"{file} has none of the {asked:,} episodes, so it is not counted")
    of_sources = Counter(source[row] for row in kept)
    if len(kept) < asked:
        flaws.append(f"only {len(kept):,} of the {asked:,} episodes of the protocol are in {file}")
    elif max(of_sources.values()) > spec.protocol.episodes:
        said = ", ".join(f"{n:,} of {name}" for name, n in of_sources.items())
        flaws.append(
            f"{file} has {said}, but the protocol has {counted(spec.protocol.episodes, 'episode')} "
            "of each source"
        )
    if _is_changed(path, record, found):
        what = f" ({flaws[0]})" if flaws else ""
        raise NotCountedError(
            f"{file} was changed since the run wrote it{what}: its SHA-256 is not the one in "
            "run.json, so it is not counted"
        )
    if isinstance(found, Columns):
        episodes = _of_columns(found, kept, record, path=path)
    else:
        episodes = _of_records([records[row] for row in kept], record)
    # Leaving such episodes out would leave out the worst ones.
    if flaw := flaw_of_scores(episodes.score):
        raise NotCountedError(f"{flaw}, so it is not counted")
    return episodes, flaws


def _is_changed(path: Path, record: RunRecord, found: Columns | bytes) -> bool:
    """Whether a file is not the one that a run wrote; False where the record does not say.

    Args:
        path: of the file.
        record: of the run.
        found: what was read of it.
    """
    name = f"evaluations/{path.name}" if path.parent.name == "evaluations" else path.name
    if (known := record.digests.get(name)) is None:
        return False
    content = found.sha256 if isinstance(found, Columns) else sha256(found).hexdigest()
    return known != content


def _of_columns(found: Columns, kept: list[int], record: RunRecord, *, path: Path) -> Episodes:
    """Some rows of a file whose lines are alike."""
    layout = found.layout
    if len(kept) < len(found.score):
        layout = Layout(layout.index[kept], layout.source[kept], layout.key[kept])
    rows = kept if len(kept) < len(found.score) else slice(None)
    of_network = np.nan if record.n_params is None else record.n_params
    every = np.broadcast_to(np.float64(of_network), len(kept))
    variants = {name: column[rows] for name, column in found.variants.items()}
    return Episodes(
        index=layout.index,
        source=layout.source,
        key=layout.key,
        score=found.score[rows],
        n_params=every if found.n_params is None else found.n_params[rows],
        curves=partial(read_curves, path, layout.index) if found.curve_width else None,
        variants={name: one for name, one in variants.items() if computable(one).all()},
        metrics={name: column[rows] for name, column in found.metrics.items()},
    )


def _records(data: bytes, *, file: str) -> tuple[list[EpisodeRecord], list[str]]:
    """The episodes of a file, each index once."""
    records, flaws = _parse(data, file=file)
    by_index: dict[int, EpisodeRecord] = {}
    for episode in records:
        by_index.setdefault(episode.index, episode)
    if repeats := len(records) - len(by_index):
        repeat, are = ("line repeats", "is") if repeats == 1 else ("lines repeat", "are")
        flaws.append(
            f"{repeats:,} {repeat} the index of an earlier episode in {file} and {are} not counted"
        )
    return list(by_index.values()), flaws


def _of_records(records: list[EpisodeRecord], record: RunRecord) -> Episodes:
    n_params = [record.n_params if e.n_params is None else e.n_params for e in records]
    curve = _curves(records)
    return Episodes(
        index=np.array([e.index for e in records], dtype=np.int64),
        source=np.array([sys.intern(e.source) for e in records], dtype=object),
        key=np.array([sys.intern(e.key) for e in records], dtype=object),
        score=np.array([e.score for e in records], dtype=np.float64),
        n_params=np.array(n_params, dtype=np.float64),
        curves=lambda: curve,
        variants=_variants(records),
        metrics=_by_name([e.metrics or {} for e in records]),
    )


def _curves(records: list[EpisodeRecord]) -> NDArray[np.float64]:
    lengths = {len(e.curve or ()) for e in records}
    if len(lengths) != 1:
        return np.empty((len(records), 0))
    return np.array([e.curve or () for e in records], dtype=np.float64)  # None becomes NaN


def _variants(records: list[EpisodeRecord]) -> dict[str, NDArray[np.float64]]:
    scores = _by_name([e.variants or {} for e in records])
    return {name: column for name, column in scores.items() if computable(column).all()}


def _by_name(rows: list[dict[str, float | None]]) -> dict[str, NDArray[np.float64]]:
    """The columns that every row has."""
    return {
        name: np.array([row[name] for row in rows], dtype=np.float64)  # None becomes NaN
        for name in rows[0]
        if all(name in row for row in rows)
    }


def _parse(data: bytes, *, file: str) -> tuple[list[EpisodeRecord], list[str]]:
    lines = data.split(b"\n")
    try:
        return _LINES.validate_json(b"[" + b",".join(filter(None, lines)) + b"]"), []
    except ValidationError:
        return _parse_damaged(lines, file=file)


def _parse_damaged(lines: list[bytes], *, file: str) -> tuple[list[EpisodeRecord], list[str]]:
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
        flaw = flaw_of_scores(np.full(n_bad_scores, np.nan))
        raise NotCountedError(f"{flaw}, so it is not counted")
    flaws = []
    if bad and bad[-1] == len(lines):  # no line end: a kill came while it was written
        bad.pop()
        flaws.append(f"the last line of {file} is incomplete and is not counted")
    if bad:
        bad_lines = _count(
            len(bad), "line is not an episode and is", "lines are not episodes and are"
        )
        flaws.append(f"{bad_lines} not counted in {file}; the first is line {bad[0]}")
    return records, flaws


def _numbered(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
