import os
from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.errors import DataError
from metabench.render.page.current import Current, state_of
from metabench.results import cache


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written a moment ago count as settled."""
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**12))


class Made:
    """Counts how often it was made."""

    def __init__(self) -> None:
        self.n = 0
        self.error: DataError | None = None

    def __call__(self) -> int:
        if self.error is not None:
            raise self.error
        self.n += 1
        return self.n


def test_a_page_is_made_again_only_when_a_file_changed(tmp_path):
    run = write_run(tmp_path, make_spec())
    made = Made()
    current = Current(made, lambda: state_of(tmp_path))
    assert [current(), current()] == [1, 1]
    (run / "notes.txt").write_text("nothing of the page")
    assert current() == 1
    path = run / "episodes.jsonl"
    old = path.stat()
    path.write_text(path.read_text().replace("0.5", "0.7", 1))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert [current(), current()] == [2, 2]
    write_run(tmp_path, make_spec("reptile"))
    assert [current(), current()] == [3, 3]
    path.unlink()
    assert current() == 4


def test_other_files_are_watched_too(tmp_path):
    write_run(tmp_path, make_spec())
    file = tmp_path / "suite.yaml"
    made = Made()
    current = Current(made, lambda: state_of(tmp_path, [file]))
    assert [current(), current()] == [1, 1]
    file.write_text("new")
    assert [current(), current()] == [2, 2]


def test_an_error_is_not_kept(tmp_path):
    made = Made()
    current = Current(made, lambda: state_of(tmp_path))
    made.error = DataError("There is no run.", hint="Start one.")
    for _ in range(2):
        with pytest.raises(DataError):
            current()
    made.error = None
    assert current() == 1


def test_what_changed_a_moment_ago_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_SETTLED_NS", 10**12)
    write_run(tmp_path, make_spec())
    current = Current(Made(), lambda: state_of(Path(tmp_path)))
    assert [current(), current()] == [1, 2]
