"""An import that dies leaves nothing that a later one does not clear away."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from metabench.data import Archive, import_archive, verify_pack
from metabench.data.locks import held
from metabench.errors import DataError

fcntl = pytest.importorskip("fcntl", reason="folders are locked on Unix only")


def _die_on_the_way(archive: Archive, folder: Path, root: Path) -> None:
    def report(_: str, done: int, total: int) -> None:
        if 2 * done > total:
            os.kill(os.getpid(), signal.SIGKILL)

    import_archive(archive, folder, root=root, report=report)


def left_in(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_the_next_import_clears_what_a_killed_one_left(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    job = multiprocessing.get_context("spawn").Process(
        target=_die_on_the_way, args=(tiny_archive, tiny_folder, data_root)
    )
    job.start()
    job.join()
    assert job.exitcode == -signal.SIGKILL
    (left,) = left_in(data_root / "omniglot")
    assert left.startswith(".writing-")
    verify_pack(import_archive(tiny_archive, tiny_folder))
    assert left_in(data_root / "omniglot") == ["28-lanczos"]


STOPPED = """
import os, signal, sys
number = sys.argv.pop()
from metabench.data import importing
def stopped(*_, folder, **__):
    (folder / "images.npy").write_bytes(bytes(100))
    os.kill(os.getpid(), getattr(signal, number))
    raise AssertionError("it goes on")
importing.write_pack = stopped
from metabench.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_import_that_is_asked_to_stop_leaves_nothing(
    data_root: Path, tmp_path: Path, name: str
) -> None:
    for part in ("a", "b"):
        folder = tmp_path / "mine" / part
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "1.png")
    words = ["data", "import", "image-folder", str(tmp_path / "mine"), name]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, *words],
        env=os.environ | {"METABENCH_DATA": str(data_root)},
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(data_root / "image-folder" / "mine") == []


def test_what_a_living_import_holds_stays(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    home = data_root / "omniglot"
    living, dead, aside = (home / name for name in (".writing-a", ".writing-b", ".replaced-c"))
    for folder in (living, dead, aside):
        folder.mkdir(parents=True)
    with held(living) as is_held:
        assert is_held
        import_archive(tiny_archive, tiny_folder)
        assert left_in(home) == [".writing-a", "28-lanczos"]
    import_archive(tiny_archive, tiny_folder)
    assert left_in(home) == ["28-lanczos"]


def test_a_lock_is_refused_while_it_is_held_and_given_afterwards(tmp_path: Path) -> None:
    with held(tmp_path, wait=False) as first:
        with held(tmp_path, wait=False) as second:
            assert (first, second) == (True, False)
        with held(tmp_path / "absent", wait=False) as absent:
            assert absent is None
    with held(tmp_path, wait=False) as again:
        assert again
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_file_system_locks_only_files_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems do."""
    lock = fcntl.flock

    def flock(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path, wait=False) as first, held(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_workspace_that_cannot_be_removed_hides_no_error(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as context:
        context.setattr("metabench.data.importing.write_pack", deny)
        context.setattr(os, "unlink", deny)
        context.setattr(os, "rmdir", deny)
        with pytest.raises(DataError, match=r"Cannot write to .*: Permission denied") as caught:
            import_archive(tiny_archive, tiny_folder)
    assert "METABENCH_DATA" in caught.value.hint
    import_archive(tiny_archive, tiny_folder)
    assert left_in(data_root / "omniglot") == ["28-lanczos"]
