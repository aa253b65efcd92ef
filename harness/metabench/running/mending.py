"""What a power cut or a broken disk left of the files of a run, mended before the run goes on.

What can be made again is cut off; the run makes it again. What cannot is set aside, and a sentence
says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metabench.data.plain_files import MAX_RECORD
from metabench.results.store import RunStore, lines_of, replace_lines, set_aside
from metabench.text import counted

_POINTS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "metrics.jsonl": {"step": int},
    "timings.jsonl": {"phase": str, "seconds": (int, float)},
}
"""Files of points that are not made again, and fields that each point has."""


def mend(store: RunStore, *, rows: Mapping[str, int]) -> Iterator[str]:
    """Mend the files of a run whose lock is held; yield a sentence for each that lost something.

    Args:
        store: of the run.
        rows: files with a row for each of the first meta-test episodes, by name without ending,
            and how many episodes have a row at most.
    """
    path = store.folder / "run.json"
    is_small = path.is_file() and path.stat().st_size <= MAX_RECORD  # others are not read
    if is_small and _json(path.read_bytes()) is None:
        yield f"{path} is no record; it is now called {set_aside(path)}."
    for name, fields in _POINTS.items():
        yield from _mend_points(store.folder / name, fields)
    record = store.read_record()
    if record is None or record.status != "done":  # the test of a finished run is repeated whole
        for stem, most in rows.items():
            _mend_rows(store, stem, most)


def _mend_points(path: Path, fields: Mapping[str, type | tuple[type, ...]]) -> Iterator[str]:
    """Set a file aside of which some lines are no points; the other lines stay."""
    lines = lines_of(path)
    sound = [line for line in lines if _has(_json(line), fields)]
    if n := len(lines) - len(sound):
        aside = set_aside(path)
        replace_lines(path, sound)
        were, them = ("was", "it") if n == 1 else ("were", "them")
        yield (
            f"{counted(n, 'line')} of {path} {were} damaged; the file lacks {them} now, and the "
            f"damaged one is called {aside}."
        )


def _mend_rows(store: RunStore, stem: str, most: int) -> None:
    """Cut a file of rows off where one is missing, and the episodes with it; all are made again."""
    path = store.folder / f"{stem}.jsonl"
    if not path.exists():
        return
    lines = lines_of(path)
    n = 0
    while n < len(lines) and (_json(lines[n]) or {}).get("index") == n:
        n += 1
    if n < len(lines):
        replace_lines(path, lines[:n])
    episodes = store.episodes_of()
    if n < most and store.count_episodes() > n:
        replace_lines(episodes, lines_of(episodes)[:n])


def _has(point: Mapping[str, Any] | None, fields: Mapping[str, type | tuple[type, ...]]) -> bool:
    return point is not None and all(
        isinstance(point.get(name), kind) for name, kind in fields.items()
    )


def _json(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        found = json.loads(text if isinstance(text, bytes) else text.encode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
