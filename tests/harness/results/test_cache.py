import os
import threading
from pathlib import Path

import pytest
from result_factory import GOLDEN, make_spec, write_run

from metabench.render import Format, render
from metabench.reports.build import build_report
from metabench.results import cache as module
from metabench.results import episode_columns
from metabench.results.cache import Cache, cache_root, settled, stamp, stamps
from metabench.results.reading import read_runs


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, which also keeps files that were written a moment ago."""
    root = tmp_path / "cache"
    monkeypatch.setenv("METABENCH_CACHE", str(root))
    monkeypatch.setattr(module, "_SETTLED_NS", -(10**12))
    return root


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The content of each file of episodes that was parsed."""
    found: list[bytes] = []
    alike = episode_columns._alike

    def counted(data: bytes):
        found.append(data)
        return alike(data)

    monkeypatch.setattr(episode_columns, "_alike", counted)
    return found


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def table(folder: Path) -> str:
    return render(build_report(read_runs(folder)), Format.json)


def test_what_is_put_is_got_under_its_own_key_alone(tmp_path):
    cache = Cache(tmp_path)
    cache.put("episodes", "a", b"one\ntwo")
    assert cache.get("episodes", "a") == b"one\ntwo"
    assert cache.get("episodes", "b") is None
    assert cache.get("pictures", "a") is None
    cache.put("episodes", "a", b"other")
    assert cache.get("episodes", "a") == b"other"
    assert len(entries(tmp_path)) == 1


def test_a_damaged_or_foreign_entry_is_none(tmp_path):
    cache = Cache(tmp_path)
    cache.put("episodes", "a", b"content")
    cache.put("episodes", "b", b"another")
    (one,) = (path for path in entries(tmp_path) if path.read_bytes().endswith(b"content"))
    (other,) = (path for path in entries(tmp_path) if path != one)
    whole = one.read_bytes()
    for damage in (b"", whole[:-1], whole[:-1] + b"x", b"\x80\x04N.", other.read_bytes()):
        one.write_bytes(damage)
        assert cache.get("episodes", "a") is None, damage
        assert cache.get("episodes", "b") == b"another"
    one.write_bytes(whole)
    assert cache.get("episodes", "a") == b"content"


def test_other_code_has_other_entries(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    cache.put("episodes", "a", b"content")
    monkeypatch.setattr(module, "code_version", lambda: "another")
    assert cache.get("episodes", "a") is None


def test_nothing_is_kept_where_nothing_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    for cache in (Cache(None), Cache(tmp_path / "file")):
        cache.put("episodes", "a", b"content")
        assert cache.get("episodes", "a") is None
    assert [path.name for path in entries(tmp_path)] == ["file"]


def test_the_variable_names_the_folder_or_switches_it_off(monkeypatch):
    monkeypatch.setenv("METABENCH_CACHE", "~/somewhere")
    assert cache_root() == Path.home() / "somewhere"
    monkeypatch.setenv("METABENCH_CACHE", "off")
    assert cache_root() is None
    monkeypatch.delenv("METABENCH_CACHE")
    found = cache_root()
    assert found is not None
    assert found.name == "metabench"


def test_many_writers_leave_one_whole_entry(tmp_path):
    contents = [bytes([65 + i]) * 100_000 for i in range(8)]
    seen = []

    def write(content: bytes) -> None:
        for _ in range(10):
            Cache(tmp_path).put("episodes", "a", content)
            seen.append(Cache(tmp_path).get("episodes", "a"))

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= set(contents)
    assert len(seen) == 80
    assert len(entries(tmp_path)) == 1


def test_an_edit_changes_the_stamp_even_with_the_old_time_and_size(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    assert stamp(after) != stamp(before)
    assert stamps([tmp_path / "none"]) == [(str(tmp_path / "none"), None)]


def test_a_file_of_this_moment_may_change_unseen():
    now = 10**18
    assert not settled([(now, now - 1, 3)], at=now + 10**9)
    assert settled([(now, now - 1, 3), None], at=now + 3 * 10**9)
    assert not settled([(1, 1, 3)], at=0)


# A cache changes no table -----------------------------------------------------------------------


def test_a_cold_a_warm_and_a_poisoned_cache_give_the_same_bytes(root, parsed, monkeypatch):
    monkeypatch.setenv("METABENCH_CACHE", "off")
    without = table(GOLDEN / "records")
    n_files = len(parsed)
    assert n_files == len(list((GOLDEN / "records").rglob("episodes.jsonl")))
    monkeypatch.setenv("METABENCH_CACHE", str(root))
    assert table(GOLDEN / "records") == without
    assert len(parsed) == 2 * n_files
    assert table(GOLDEN / "records") == without
    assert len(parsed) == 2 * n_files  # all of them were kept
    kept = entries(root)
    contents = [path.read_bytes() for path in kept]
    for path, content in zip(kept, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)  # each under the name of another
    assert table(GOLDEN / "records") == without
    for path in entries(root):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    parsed.clear()
    assert table(GOLDEN / "records") == without
    assert len(parsed) == n_files


def test_an_edited_record_is_seen(root, parsed, tmp_path):
    run = write_run(tmp_path / "runs", make_spec())
    path = run / "episodes.jsonl"
    (before,) = read_runs(tmp_path / "runs").runs
    old = path.stat()
    path.write_text(path.read_text().replace('"score":0.5', '"score":0.7', 1))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    (after,) = read_runs(tmp_path / "runs").runs
    assert before.episodes.score[0] == 0.5
    assert after.episodes.score[0] == 0.7
    assert len(parsed) == 2


def test_a_file_that_was_just_written_is_not_kept(root, parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_NS", 2_000_000_000)
    write_run(tmp_path / "runs", make_spec())
    for _ in range(2):
        read_runs(tmp_path / "runs")
    assert len(parsed) == 2
