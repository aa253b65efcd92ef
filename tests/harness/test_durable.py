"""Files survive kills, and locks hold, also where the file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_disk

from metabench.data.locks import held
from metabench.durable import is_locked, locked, refused, remove_unfinished, replacing
from metabench.errors import UsageError
from metabench.results.store import RunStore
from metabench.running import checkpoint


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        _break_off(path)
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with full_disk(100), pytest.raises(OSError, match="File too large") as caught:
        _write_much(path)
    assert caught.value.filename == str(path)


def _write_much(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("much" * 1000)


def _break_off(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError


def test_a_colleague_can_read_and_write_a_checkpoint_where_the_umask_says_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "last.safetensors"
    before = os.umask(0o002)
    try:
        checkpoint.save(path, {"w": torch.zeros(2)})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o664


def test_unfinished_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".run.json.4711", ".tmpAb3dEf", ".lock", ".lock.owner", "run.json", ".hidden"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "nowhere")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", ".lock.owner", "run.json", ".hidden"}


def test_the_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("kept")
    with locked(path) as first:
        assert first
        assert is_locked(path)
        with locked(path) as second:
            assert not second
    assert is_locked(path) is False
    assert path.read_text() == "kept"


@pytest.mark.parametrize("hold", [lambda folder: locked(folder / ".lock"), held])
def test_a_process_that_is_forked_does_not_keep_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Callable[..., Any]
) -> None:
    flock, inherited = fcntl.flock, []

    def flock_and_fork(handle: int, how: int) -> None:
        inherited.append(os.dup(handle))  # as a forked process has it
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock_and_fork)
    with hold(tmp_path) as ours:
        assert ours
    monkeypatch.undo()
    with held(tmp_path, wait=False) as of_folder, locked(tmp_path / ".lock") as of_file:
        assert (of_folder, of_file) == (True, True)
    for handle in inherited:
        os.close(handle)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("text")
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(UsageError, match="it is a link"), locked(tmp_path / ".lock"):
        pass
    assert target.read_text() == "text"


def test_a_folder_in_the_place_of_a_lock_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UsageError, match=r"Cannot lock .*\.lock: Is a directory"):
        _take(tmp_path / ".lock")


def _take(path: Path) -> None:
    with locked(path):
        raise AssertionError("the lock was taken")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "no space"), "Cannot write to R: no space."),
        (OSError(errno.ENOSPC, "no space", "/elsewhere"), "Cannot write to /elsewhere: no space."),
        (OSError(errno.EMFILE, "too many", "R/a"), "Cannot write to R/a: too many."),
        (OSError(errno.EACCES, "denied", b"R/a"), "Cannot write to R/a: denied."),
        (OSError(errno.EACCES, "denied", "/elsewhere"), None),
        (OSError("no number"), None),
        (ValueError("no error of the system"), None),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error: Exception, said: str | None) -> None:
    found = refused(error, Path("R"))
    assert (found and found[0]) == said
    assert found is None or found[1].endswith(".")


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with full_disk(10), pytest.raises(OSError, match="File too large") as caught:
        store.append_timing({"phase": "meta-train"})
    assert caught.value.filename == str(tmp_path / "timings.jsonl")


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks, as some network file systems."""
    number = getattr(errno, request.param)

    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_is_told_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="has no locks"), locked(tmp_path / ".lock"):
        pass


@pytest.mark.usefixtures("no_locks")
@pytest.mark.filterwarnings("ignore:The file system")
def test_without_locks_a_file_names_the_process_at_work(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path) as first:
        assert first
        owner = (tmp_path / ".lock.owner").read_text()
        assert owner == f"{socket.gethostname()} {os.getpid()}"
        with locked(path) as second:
            assert not second
    assert not (tmp_path / ".lock.owner").exists()
    assert is_locked(path) is None


@pytest.mark.usefixtures("no_locks")
@pytest.mark.filterwarnings("ignore:The file system")
@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_the_mark_of_a_dead_process_is_taken_over_on_its_own_machine(
    tmp_path: Path, host: str
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / ".lock.owner").write_text(f"{host} {dead.pid}")
    with locked(tmp_path / ".lock") as ours:
        assert ours is (host == socket.gethostname())


@pytest.mark.usefixtures("no_locks")
@pytest.mark.filterwarnings("ignore:The file system")
def test_an_owner_that_ends_while_it_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / ".lock.owner"
    mark.write_text("elsewhere 1")
    open_file = os.open

    def found_then_gone(path: str | Path, flags: int, mode: int = 0o777) -> int:
        try:
            return open_file(path, flags, mode)
        except FileExistsError:
            mark.unlink()
            raise

    monkeypatch.setattr(os, "open", found_then_gone)
    with locked(tmp_path / ".lock") as ours:
        assert not ours
