"""A genotype given by a user: by name, in a file, from the results of a search, or in full."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from metabench import Genotype, canonical_json
from metabench_plugins.spaces.parts.published_cells import PUBLISHED

Cells = dict[str, list[tuple[int, int, str]]]


def read_given(value: Any) -> Any:
    """Read files here, so that a run's identity holds what is in them.

    Args:
        value: a name, ``{cell: [[source, target, primitive], ...]}``, a ``.json`` file of that, or
            a ``genotypes.jsonl`` or folder of results, for the most common genotype in it.

    Raises:
        ValueError: when there is no such genotype.
    """
    if not isinstance(value, str) or value in PUBLISHED:
        return value
    path = Path(value)
    try:
        if path.is_dir() or path.suffix == ".jsonl":
            return most_common(path)
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the file cannot be read ({error})") from error
    raise ValueError(f"no such genotype; known are {', '.join(PUBLISHED)}")


def most_common(path: Path) -> dict[str, list[list[Any]]]:
    """The genotype that a search found most often; the first in the order of its text if several.

    Args:
        path: a ``genotypes.jsonl``, or a folder: then all such files below it count together.

    Raises:
        ValueError: when no genotypes are there.
    """
    files = sorted(path.rglob("genotypes.jsonl")) if path.is_dir() else [path]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    counts = Counter(canonical_json(json.loads(line)["genotype"]) for line in lines)
    if not counts:
        raise ValueError(f"no genotypes in {path}")
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
