"""Machines that are shared: other users, folders without locks, full disks, several workers."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fault_harness import give
from full_disk import full_disk
from typer.testing import CliRunner, Result

from metabench.cli import app
from metabench.results.store import RunStore
from metabench.running.interrupt import StopRequest

pytestmark = pytest.mark.slow

ALICE, BOB, GROUP = 64001, 64002, 64000
"""Ids of users and of a group that need not exist."""
RUN = [
    *("run", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"),
    *("--device", "cpu", "--checkpoint-every", "0", "--set", "budget.meta_steps=4"),
    *("--set", "budget.meta_batch=1", "--set", "protocol.episodes=2", "--set", "network.width=4"),
]


def metabench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def episodes(out: Path) -> bytes:
    (path,) = out.rglob("episodes.jsonl")
    return path.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The episodes of the run."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert metabench(*RUN, "--out", str(out)).exit_code == 0
    return episodes(out)


def in_child(do: Callable[[], int], said: Path) -> int:
    """Call a function in a fork; return its exit code. What it prints goes to a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads of pytest
        pid = os.fork()
    if not pid:
        code = 99
        try:
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
                stream.flush()
                os.dup2(output, number)
            sys.stdout, sys.stderr = (
                os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2)
            )
            code = do()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stop_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run save its state after two steps, and stop."""
    asked = itertools.count()  # before the run, and after each step
    monkeypatch.setattr(StopRequest, "__call__", lambda _: next(asked) >= 2)


def as_user(uid: int, umask: int, arguments: list[str], *, stop: bool = False) -> Callable[[], int]:
    """Give a command as another user of a group; stop it after two steps."""

    def do() -> int:
        if stop:
            stop_soon(pytest.MonkeyPatch())
        os.setgroups([])
        os.setgid(GROUP)
        os.setuid(uid)
        os.umask(umask)
        return give(arguments)

    return do


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which the group may write."""
    if os.name != "posix" or os.geteuid():
        pytest.skip("only root can act as two users")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, -1, GROUP)
        Path(name).chmod(0o2775)
        yield Path(name)


@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_a_colleague_resumes_a_run_or_reads_why_not(
    shared: Path, undisturbed: bytes, umask: int
) -> None:
    out, said = shared / "out", shared / "said.txt"
    said.touch()
    said.chmod(0o666)
    command = [*RUN, "--out", str(out)]
    assert in_child(as_user(ALICE, umask, command, stop=True), said) == 130
    assert len(list(out.rglob("last.safetensors"))) == 1
    code = in_child(as_user(BOB, umask, command), said)
    text = said.read_text()
    assert "Traceback" not in text
    if umask == 0o002:
        assert code == 0, text
        assert episodes(out) == undisturbed
    else:
        assert code in (1, 2), text
        assert "Permission denied" in text
        assert in_child(as_user(ALICE, umask, command), said) == 0
        assert episodes(out) == undisturbed


def test_one_results_folder_serves_two_working_directories(
    tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with monkeypatch.context() as context:
        stop_soon(context)
        assert metabench(*RUN, "--out", "../out").exit_code == 130
    assert len(list(tmp_path.rglob("last.safetensors"))) == 1
    monkeypatch.chdir(tmp_path / "there")
    assert metabench(*RUN, "--out", str(tmp_path / "out")).exit_code == 0
    assert episodes(tmp_path / "out") == undisturbed
    monkeypatch.chdir(tmp_path)
    again = metabench(*RUN, "--out", "out")
    assert "was done already" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "out", "there"]


def test_a_file_system_without_locks_is_told_of_once(
    tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="has no locks") as told:
        done = metabench(*RUN, "--out", str(tmp_path))
    assert done.exit_code == 0
    assert len(told) == 1
    assert episodes(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.owner"))


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """A disk of 64 KiB, or a limit of file sizes where none can be mounted; yield what frees it."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = False
    with suppress(OSError):
        mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
    if not mounted:
        with full_disk(1000):
            yield lambda: None
        return
    filler = folder / "filler"
    try:
        filler.write_bytes(bytes(40 * 1024))
        yield filler.unlink
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_sentence_and_the_same_command_resumes(
    tmp_path: Path, undisturbed: bytes
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk) as free:
        full = metabench(*RUN, "--out", str(disk / "out"))
        assert full.exit_code in (1, 2)
        assert "Traceback" not in full.output
        assert str(disk) in full.stderr
        assert "Free some space there" in full.stderr
        free()
        if disk.is_mount():
            assert metabench(*RUN, "--out", str(disk / "out")).exit_code == 0
            assert episodes(disk) == undisturbed
    if not disk.is_mount():
        assert metabench(*RUN, "--out", str(disk / "out")).exit_code == 0
        assert episodes(disk) == undisturbed


def test_runs_that_another_worker_is_at_are_elsewhere(
    tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        stop_soon(context)
        assert metabench(*RUN, "--out", str(tmp_path)).exit_code == 130
    (record,) = tmp_path.rglob("run.json")
    with RunStore(record.parent).locked():
        beside = metabench(*RUN, "--seed", "0,1", "--out", str(tmp_path))
    assert beside.exit_code == 0, beside.output
    assert "Runs: 1 done, 1 elsewhere." in beside.stderr
    assert f"metabench status {tmp_path}" in beside.stderr
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert metabench(*RUN, "--out", str(tmp_path)).exit_code == 0
    assert (record.parent / "episodes.jsonl").read_bytes() == undisturbed
