"""A genotype given by a user: by name, in a file, from the results of a search, or in full."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from metabench import Genotype, canonical_json
from metabench.data import read_plain
from metabench_plugins.spaces.parts.published_cells import PUBLISHED

MAX_FILE = 2**28
"""No file with genotypes is larger (bytes)."""
Cells = dict[str, list[tuple[int, int, str]]]


def read_given(value: Any) -> str | Cells:
    """Read files here, so that a run's identity holds what is in them, in canonical order.

    Args:
        value: a name, ``{cell: [[source, target, primitive], ...]}``, a ``.json`` file of that, or
            a ``genotypes.jsonl`` or folder of results, for the most common genotype in it.

    Raises:
        ValueError: when there is no such genotype, or it is malformed.
    """
    if not isinstance(value, str):
        return _canonical(value)
    if value in PUBLISHED:
        return value
    path = Path(value)
    try:
        if path.is_dir():
            return _canonical(most_common(path))
        if path.suffix in (".json", ".jsonl"):
            return cells_in(_text(path), path.name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the file cannot be read ({error})") from error
    raise ValueError(f"no such genotype; known are {', '.join(PUBLISHED)}")


def cells_in(text: str, name: str) -> Cells:
    """The genotype in the text of a file, in canonical order.

    Args:
        text: a genotype as JSON; or of a ``.jsonl`` the lines of a search, for the most common one.
        name: of the file.

    Raises:
        ValueError: when it is malformed; KeyError and TypeError where lines are no genotypes.
    """
    if name.endswith(".jsonl"):
        return _canonical(_most_common(text.splitlines(), name))
    return _canonical(json.loads(text))


def _text(path: Path) -> str:
    return read_plain(path, MAX_FILE).decode("utf-8")


def _canonical(value: Any) -> Cells:
    """The cells in the one order that all spellings of a genotype share.

    Raises:
        ValueError: when they are not cells with edges.
    """
    if not isinstance(value, Mapping):
        raise ValueError("it is neither a name nor {cell: [[source, target, primitive], ...]}")
    for cell, edges in value.items():
        if not isinstance(cell, str):
            raise ValueError(f"the name of cell {cell!r} is not text")
        if not isinstance(edges, list | tuple):
            raise ValueError(f"cell {cell!r} is not a list of edges")
        for edge in edges:
            if not _is_edge(edge):
                raise ValueError(
                    f"in cell {cell!r}, {edge} is not an edge [source, target, primitive]"
                )
    genotype = Genotype.from_json(value)
    return {
        cell: [(edge.source, edge.target, edge.primitive) for edge in edges]
        for cell, edges in genotype.cells
    }


def _is_edge(edge: Any) -> bool:
    if not isinstance(edge, list | tuple) or len(edge) != 3:
        return False
    return [type(part) for part in edge] == [int, int, str]


def most_common(path: Path) -> dict[str, list[list[Any]]]:
    """The genotype that a search found most often; the first in the order of its text if several.

    Args:
        path: a ``genotypes.jsonl``, or a folder: then all such files below it count together.

    Raises:
        ValueError: when no genotypes are there.
    """
    files = sorted(path.rglob("genotypes.jsonl")) if path.is_dir() else [path]
    lines = [line for file in files for line in _text(file).splitlines()]
    return _most_common(lines, path)


def _most_common(lines: Sequence[str], where: str | Path) -> dict[str, list[list[Any]]]:
    counts = Counter(canonical_json(json.loads(line)["genotype"]) for line in lines)
    if not counts:
        raise ValueError(f"no genotypes in {where}")
    best = min(counts, key=lambda text: (-counts[text], text))
    cells: dict[str, list[list[Any]]] = json.loads(best)
    return cells


GivenGenotype = Annotated[str | Cells, BeforeValidator(read_given)]
"""A parameter that takes any of them; what was in a file is in the run's value."""


def genotype_of(given: str | Cells) -> Genotype:
    """The genotype itself."""
    if isinstance(given, str):
        return PUBLISHED[given]
    return Genotype.from_json(
        {cell: [list(edge) for edge in edges] for cell, edges in given.items()}
    )
