"""A file of episodes as columns: read quickly where all lines are alike, and kept.

What metabench writes is alike: every line has the same fields, numbers are numbers, and no index
stands twice. Such a file needs no model of each line. Any other file is left to
:mod:`metabench.results.episode_files`, which names what is wrong with it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from metabench.data.plain_files import MAX_ROWS, open_plain, read_opened, read_plain
from metabench.errors import DataError
from metabench.results.cache import Cache, cache_root, settled, stamp
from metabench.results.schema import EpisodeRecord

_NUMBER: set[type] = {int, float}
_TYPES: Mapping[str, set[type]] = {
    "index": {int},
    "source": {str},
    "key": {str},
    "score": _NUMBER,
    "n_params": {int},
}
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which episodes a file has: the same for all runs of a protocol, which share these arrays."""

    index: NDArray[np.int64]
    source: NDArray[np.object_]
    key: NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Columns:
    """A file of episodes that are alike.

    Attributes:
        sha256: of the file.
        layout: which episodes.
        score: ``[n]``, all finite.
        n_params: ``[n]``, None where lines name none.
        curve_width: points of every curve.
        variants: ``[n]`` by name.
        metrics: ``[n]`` by name.
    """

    sha256: str
    layout: Layout
    score: NDArray[np.float64]
    n_params: NDArray[np.float64] | None
    curve_width: int
    variants: Mapping[str, NDArray[np.float64]]
    metrics: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Reads files of episodes, each as columns, and keeps these where it has a cache.

    Attributes:
        cache: where columns are kept between commands.
        layouts: those met so far, by digest.
    """

    cache: Cache = field(default_factory=lambda: Cache(cache_root()))
    layouts: dict[str, Layout] = field(default_factory=dict)

    def read(self, path: Path) -> Columns | bytes:
        """The columns of a file; its content where lines are not alike.

        Raises:
            OSError: when the file cannot be read.
        """
        key = str(path.absolute())
        with open_plain(path, follow=False) as file:
            before = stamp(os.fstat(file.fileno()))
            kept = self._kept(key, before)
            if kept is not None:
                return kept
            data = read_opened(file, path, MAX_ROWS)
            after = stamp(os.fstat(file.fileno()))
        columns = self._parsed(data)
        if columns is None:
            return data
        if before == after and settled([after]):
            self._keep(key, after, columns)
        return columns

    def _parsed(self, data: bytes) -> Columns | None:
        rows = _alike(data)
        if rows is None:
            return None
        try:
            return self._columns(rows, sha256(data).hexdigest())
        except (KeyError, OverflowError):  # a line with other fields, too large a number
            return None

    def _columns(self, rows: Sequence[Mapping[str, Any]], sha256: str) -> Columns | None:
        columns = {name: list(map(itemgetter(name), rows)) for name in rows[0]}
        if any(
            not {*map(type, column)} <= _TYPES.get(name, {dict, list})
            for name, column in columns.items()
        ):
            return None
        width = _width(columns.get("curve"))
        variants = _by_name(columns.get("variants"))
        metrics = _by_name(columns.get("metrics"))
        if width is None or variants is None or metrics is None:
            return None
        score = np.array(columns["score"], dtype=np.float64)
        layout = self._layout(columns["index"], columns["source"], columns["key"])
        if layout is None or not np.isfinite(score).all():
            return None
        n_params = columns.get("n_params")
        return Columns(
            sha256=sha256,
            layout=self.layouts[layout],
            score=score,
            n_params=None if n_params is None else _shrunk(np.array(n_params, dtype=np.float64)),
            curve_width=width,
            variants=variants,
            metrics=metrics,
        )

    def _layout(self, index: list[int], source: list[str], key: list[str]) -> str | None:
        """The digest of a layout that is among those met; None where an index stands twice."""
        if len({*index}) < len(index):
            return None
        parts = [*source, *key]
        text = _SEPARATOR.join(parts)
        if text.count(_SEPARATOR) != len(parts) - 1:
            return None
        numbers = np.array(index, dtype=np.int64)
        numbers.setflags(write=False)
        digest = sha256(numbers.tobytes() + text.encode("utf-8", "surrogatepass")).hexdigest()
        if digest not in self.layouts:
            self.layouts[digest] = Layout(numbers, _objects(source), _objects(key))
        return digest

    # What is kept: a line of JSON, then the columns as 64-bit floats, and each layout once.

    def _kept(self, key: str, stamp: tuple[int, ...]) -> Columns | None:
        content = self.cache.get("episodes", key)
        if content is None:
            return None
        head, _, body = content.partition(b"\n")
        about = json.loads(head)
        if about["stamp"] != list(stamp):
            return None
        layout = self._kept_layout(about["layout"])
        if layout is None:
            return None
        rows = np.frombuffer(body, dtype="<f8").reshape(len(about["columns"]), -1)
        columns = dict(zip(map(tuple, about["columns"]), rows, strict=True))
        n_params = columns.get(("n_params", ""))
        return Columns(
            sha256=about["sha256"],
            layout=layout,
            score=columns["score", ""],
            n_params=None if n_params is None else _shrunk(n_params),
            curve_width=about["curve_width"],
            variants={
                name: column for (kind, name), column in columns.items() if kind == "variant"
            },
            metrics={name: column for (kind, name), column in columns.items() if kind == "metric"},
        )

    def _kept_layout(self, digest: str) -> Layout | None:
        if digest not in self.layouts and (content := self.cache.get("layouts", digest)):
            self._layout(**json.loads(content))
        return self.layouts.get(digest)

    def _keep(self, key: str, stamp: tuple[int, ...], columns: Columns) -> None:
        (digest,) = (name for name, one in self.layouts.items() if one is columns.layout)
        if self.cache.get("layouts", digest) is None:
            layout = {name: getattr(columns.layout, name).tolist() for name in Layout.__slots__}
            self.cache.put("layouts", digest, json.dumps(layout).encode())
        parts = {("score", ""): columns.score}
        if columns.n_params is not None:
            parts["n_params", ""] = columns.n_params
        parts |= {("variant", name): column for name, column in columns.variants.items()}
        parts |= {("metric", name): column for name, column in columns.metrics.items()}
        about = {
            "stamp": stamp,
            "sha256": columns.sha256,
            "layout": digest,
            "columns": list(parts),
            "curve_width": columns.curve_width,
        }
        body = b"".join(column.astype("<f8").tobytes() for column in parts.values())
        self.cache.put("episodes", key, json.dumps(about).encode() + b"\n" + body)


def read_curves(path: Path, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """The curves of some episodes of a file whose lines are alike, ``[n, steps + 1]``.

    Args:
        path: of the file.
        index: of the episodes.

    Raises:
        DataError: when the file is not what it was when its scores were read.
    """
    try:
        rows = _alike(read_plain(path, MAX_ROWS, follow=False))
    except OSError:
        rows = None
    try:
        by_index = {row["index"]: row.get("curve") or () for row in rows or ()}
        found = [by_index[i] for i in index.tolist()]
        return np.array(found, dtype=np.float64).reshape(len(index), -1)  # None becomes NaN
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} was changed while it was read.", hint="Repeat the command."
        ) from error


def _alike(data: bytes) -> list[dict[str, Any]] | None:
    """The lines of a file as objects, of which the first is an episode and all have its length."""
    body = data.rstrip(b"\n")
    try:
        EpisodeRecord.model_validate_json(body.partition(b"\n")[0])
        rows: list[dict[str, Any]] = from_json(b"[" + body.replace(b"\n", b",") + b"]")
    except (ValidationError, ValueError):
        return None
    if {*map(type, rows)} != {dict} or {*map(len, rows)} != {len(rows[0])}:
        return None
    return rows


def _width(curves: Sequence[Any] | None) -> int | None:
    """How many points each of the curves has; None where they are not curves, or not as long."""
    if curves is None:
        return 0
    if {*map(type, curves)} != {list} or len({*map(len, curves)}) != 1:
        return None
    points = {*map(type, chain.from_iterable(curves))}
    return len(curves[0]) if points <= {*_NUMBER, type(None)} else None


def _by_name(rows: Sequence[Any] | None) -> dict[str, NDArray[np.float64]] | None:
    """Columns of numbers by name; None where the rows do not have the same names."""
    if rows is None:
        return {}
    if {*map(type, rows)} != {dict} or any(row.keys() != rows[0].keys() for row in rows):
        return None
    values = {*map(type, chain.from_iterable(row.values() for row in rows))}
    if not values <= {*_NUMBER, type(None)}:
        return None
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _objects(texts: Collection[str]) -> NDArray[np.object_]:
    """Texts as an array that shares equal ones."""
    found = np.array([sys.intern(text) for text in texts], dtype=object)
    found.setflags(write=False)
    return found


def _shrunk(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same values, as one if they are equal: sizes of networks often are."""
    if len(values) and (values == values[0]).all():
        return np.broadcast_to(values[0], values.shape)
    return values
