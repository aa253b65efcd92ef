"""Reads what searches wrote: architectures, task embeddings, measures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from metabench.errors import DataError
from metabench.plugin.contracts.genotype import Genotype
from metabench.results.configurations import Configuration
from metabench.results.episode_files import Episodes
from metabench.results.foreign import text_lines
from metabench.results.reading import FinishedRun
from metabench.stats import search_measures as measures
from metabench.text import counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture and the tasks that have it.

    Attributes:
        genotype: the architecture.
        by_source: how many tasks of each source.
        n_params: the fewest and the most weights of their networks; None where unknown.
    """

    genotype: Genotype
    by_source: Mapping[str, int]
    n_params: tuple[int, int] | None

    @property
    def count(self) -> int:
        """How many tasks have it."""
        return sum(self.by_source.values())


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Task embeddings ``x [tasks, d]``, the source of each, and what is measured of them."""

    x: NDArray[np.float64]
    sources: tuple[str, ...]
    measures: Mapping[str, float]


def read_genotypes(folder: Path) -> dict[int, Genotype]:
    """The architectures of a run by the index of the episode; empty where it wrote none.

    Raises:
        DataError: when a line is no genotype.
    """
    return dict(_genotypes(folder / "genotypes.jsonl", "genotype"))


def read_own_genotypes(folder: Path) -> dict[int, Genotype]:
    """The architectures that the tasks decoded to, by the index of the episode.

    They are those of :func:`read_genotypes` unless the learner predicted with another one. Empty
    where it wrote none.

    Raises:
        DataError: when a line is no genotype.
    """
    return dict(_genotypes(folder / "genotypes.jsonl", "own", optional=True))


def read_embeddings(folder: Path, episodes: Episodes) -> Embeddings | None:
    """The task embeddings of a run; None where it wrote none.

    Raises:
        DataError: when a line is no embedding, or lines are not of one width.
    """
    path = folder / "embeddings.jsonl"
    rows = dict(_rows(path, "embedding", lambda row: np.array(row, dtype=np.float64)))
    if len({row.shape for row in rows.values()}) > 1:
        raise DataError(f"The embeddings in {path} have different widths.")
    source_of = dict(zip(episodes.index.tolist(), episodes.source.tolist(), strict=True))
    kept = [i for i, row in rows.items() if i in source_of and np.isfinite(row).all()]
    if not kept:
        return None
    x, sources = np.stack([rows[i] for i in kept]), tuple(source_of[i] for i in kept)
    return Embeddings(x, sources, measures.of_embeddings(x, sources))


def measure(folder: Path, episodes: Episodes) -> dict[str, float]:
    """All measures that the files of a finished run allow."""
    found: dict[str, float] = {}
    genotypes, own = read_genotypes(folder), read_own_genotypes(folder)
    wanted = set(episodes.index.tolist())
    if genotypes and genotypes.keys() >= wanted:
        found |= measures.of_genotypes(list(genotypes.values()))
    if own and own.keys() & genotypes.keys() >= wanted:
        found |= measures.of_own_genotypes([genotypes[i] == one for i, one in own.items()])
    embeddings = read_embeddings(folder, episodes)
    return found | dict(embeddings.measures if embeddings else {})


def measures_of(run: FinishedRun) -> Mapping[str, float]:
    """The measures in a run's record; made from its files where an older record has none."""
    return run.record.measures or measure(run.folder, run.episodes)


def architectures(config: Configuration) -> list[Architecture]:
    """The architectures of all seeds, most common first, equally common ones by their text."""
    counts: dict[Genotype, Counter[str]] = {}
    sizes: dict[Genotype, list[float]] = {}
    for run in config.runs:
        episodes = run.episodes
        row_of = {index: row for row, index in enumerate(episodes.index.tolist())}
        rows_of: dict[int, list[int]] = {}
        found = read_genotypes(run.folder)
        for index, genotype in found.items():
            if index in row_of:  # equal ones of a file are mostly one object
                rows_of.setdefault(id(genotype), []).append(row_of[index])
        for genotype in {id(one): one for one in found.values()}.values():
            if rows := rows_of.get(id(genotype)):
                counts.setdefault(genotype, Counter()).update(episodes.source[rows].tolist())
                sizes.setdefault(genotype, []).extend(episodes.n_params[rows].tolist())
    every = [
        Architecture(genotype, by_source, _range(sizes[genotype]))
        for genotype, by_source in counts.items()
    ]
    return sorted(every, key=lambda one: (-one.count, str(one.genotype)))


def tasks_in_words(n_tasks: int, n_seeds: int) -> str:
    """How many tasks :func:`architectures` counts: each once for every seed.

    >>> tasks_in_words(1, 1), tasks_in_words(40, 2)
    ('1 task', '40 tasks of 2 seeds')
    """
    of = f" of {n_seeds} seeds" if n_seeds > 1 else ""
    return f"{counted(n_tasks, 'task')}{of}"


def _range(sizes: Sequence[float]) -> tuple[int, int] | None:
    return None if np.isnan(sizes).any() else (round(min(sizes)), round(max(sizes)))


def _genotypes(path: Path, key: str, *, optional: bool = False) -> Iterator[tuple[int, Genotype]]:
    """The genotype of each line under ``key``; lines that differ in their index share theirs.

    Most tasks of a run have one of a few architectures, so most lines are not parsed.
    """
    known: dict[tuple[str, str], Genotype | None] = {}
    for line in text_lines(path):
        index = _INDEX.search(line)
        rest = (line[: index.start(1)], line[index.end(1) :]) if index else ("", line)
        if index and rest in known:
            position, genotype = int(index[1]), known[rest]
        else:
            position, genotype = _parsed(
                path, line, key, Genotype.from_json, optional=optional, noun="genotype"
            )
            if index and int(index[1]) == position:
                known[rest] = genotype
        if genotype is not None:
            yield position, genotype


_INDEX = re.compile(r'"index":(0|[1-9][0-9]*)(?=[,}])')


def _rows(path: Path, key: str, read: Callable[[Any], T]) -> Iterator[tuple[int, T]]:
    for line in text_lines(path):
        index, value = _parsed(path, line, key, read)
        assert value is not None
        yield index, value


def _parsed(
    path: Path,
    line: str,
    key: str,
    read: Callable[[Any], T],
    *,
    optional: bool = False,
    noun: str = "",
) -> tuple[int, T | None]:
    """The index of a line, and what it has under a key; None where it may be absent, and is."""
    try:
        values = from_json(line)
        if optional and key not in values:
            index = values.get("index")
            return (index if isinstance(index, int) else -1), None
        return int(values["index"]), read(values[key])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path} has a line that is not a valid {noun or key}: {line[:60]!r}."
        ) from error
