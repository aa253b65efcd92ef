"""The quick way to read episodes finds what the careful one finds, and leaves the rest to it."""

import json
from pathlib import Path

import numpy as np
import pytest
from result_factory import make_spec, write_run

from metabench.errors import DataError
from metabench.results import cache, episode_columns
from metabench.results.cache import Cache
from metabench.results.episode_columns import ColumnReader, Columns
from metabench.results.episode_files import Episodes, NotCountedError, read_episodes
from metabench.results.reading import FinishedRun, read_runs

WHOLE = [
    {
        "index": i,
        "source": ("bird", "texture")[i % 2],
        "key": f"key-{i}",
        "score": i / 8,
        "curve": [0.25, None if i == 3 else 0.5, i],
        "n_params": 100 + i // 4,
        "variants": {"own": 0.5 + i},
        "metrics": {"nll": None if i == 2 else 1.5},
    }
    for i in range(8)
]


def changed(position: int, **changes: object) -> list[dict[str, object]]:
    rows = [dict(row) for row in WHOLE]
    rows[position] |= changes
    return rows


def without(*names: str) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in names} for row in WHOLE]


ALIKE = {
    "all fields": WHOLE,
    "few fields": without("curve", "n_params", "variants", "metrics"),
    "another order of lines": WHOLE[::-1],
    "a source that is not in the spec": changed(2, source="stranger"),
    "fewer episodes than asked": WHOLE[:5],
    "whole numbers": changed(1, score=1),
    "a variant without a number": changed(1, variants={"own": None}),
}
UNLIKE = {
    "an index twice": changed(3, index=2),
    "a curve that is shorter": changed(3, curve=[0.5]),
    "a number as text": changed(3, score="0.5"),
    "a truth value": changed(3, index=True),
    "no size on one line": [*without("n_params")[:1], *WHOLE[1:]],
    "a metric that one lacks": changed(3, metrics={}),
    "another field": changed(3, extra=1),
    "an unknown field everywhere": [row | {"extra": 1} for row in WHOLE],
    "a missing field": [{k: v for k, v in WHOLE[0].items() if k != "key"}, *WHOLE[1:]],
    "another field in place of one": [*WHOLE[:3], {"other": 1, **without("key")[3]}, *WHOLE[4:]],
    "a curve of texts": changed(3, curve=["0.5", "0.5", "0.5"]),
    "a score that is not finite": changed(3, score=None),
    "a very large number": changed(3, index=2**70),
    "a name that is not allowed": [row | {"metrics": {"../x": 1.0}} for row in WHOLE],
}


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    write_run(tmp_path, make_spec())
    (run,) = read_runs(tmp_path).runs
    return run


def write(run: FinishedRun, rows: list[dict[str, object]]) -> Path:
    path = run.folder / "episodes.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def outcome(run: FinishedRun, path: Path, reader: ColumnReader | None = None) -> object:
    """What is read, or the reason why nothing is."""
    try:
        return read_episodes(path, run.record, reader=reader)
    except (NotCountedError, OverflowError) as error:
        return type(error), str(error)


def same(first: object, second: object) -> None:
    if not isinstance(first, tuple) or not isinstance(first[0], Episodes):
        assert first == second
        return
    assert isinstance(second, tuple)
    (one, flaws), (other, others) = first, second
    assert flaws == others
    for name in ("index", "source", "key", "score", "n_params", "curve"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
    for name in ("variants", "metrics"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert list(mine) == list(theirs)
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key])


@pytest.mark.parametrize("rows", ALIKE.values(), ids=ALIKE)
def test_the_quick_way_finds_what_the_careful_one_finds(run, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**12))
    path = write(run, rows)
    assert isinstance(ColumnReader(Cache(None)).read(path), Columns)
    quick = outcome(run, path)
    kept = [outcome(run, path, ColumnReader(Cache(tmp_path / "cache"))) for _ in range(2)]
    alike = episode_columns._alike
    monkeypatch.setattr(episode_columns, "_alike", lambda data: None)
    careful = outcome(run, path)
    warm = read_episodes(path, run.record, reader=ColumnReader(Cache(tmp_path / "cache")))[0]
    monkeypatch.setattr(episode_columns, "_alike", alike)  # curves are read when they are wanted
    for found in (quick, *kept):
        same(found, careful)
    np.testing.assert_array_equal(warm.curve, quick[0].curve)


@pytest.mark.parametrize("rows", UNLIKE.values(), ids=UNLIKE)
def test_lines_that_are_not_alike_are_read_carefully(run, rows, monkeypatch):
    path = write(run, rows)
    assert isinstance(ColumnReader(Cache(None)).read(path), bytes)
    found = outcome(run, path)
    monkeypatch.setattr(episode_columns, "_alike", lambda data: None)
    same(found, outcome(run, path))


def test_runs_of_one_protocol_share_their_columns(tmp_path):
    for seed in range(3):
        write_run(tmp_path, make_spec(seed=seed))
    first, *others = (run.episodes for run in read_runs(tmp_path).runs)
    for other in others:
        assert other.index is first.index
        assert other.source is first.source
        assert other.key is first.key
    assert first.n_params.strides == (0,)
    with pytest.raises(ValueError, match="read-only"):
        first.index[0] = 7


def test_a_file_that_changes_before_its_curves_are_read_is_named(run):
    path = write(run, WHOLE)
    episodes, _ = read_episodes(path, run.record)
    write(run, WHOLE[:3])
    with pytest.raises(DataError, match="was changed while it was read"):
        _ = episodes.curve
