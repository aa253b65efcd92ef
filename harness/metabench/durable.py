"""Files that a kill or a power cut leaves old or new, never half; and locks between processes."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metabench.errors import UsageError

_TEMPORARY = re.compile(r"\.(?!lock).+\.\d+|\.tmp\w{6}")
"""Names of files that are not finished: those of :func:`replacing`, and those of safetensors."""

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})
"""What a file system says that has no locks."""

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What the operating system says where a disk is full, broken or read-only."""

_PAUSES = (0.01, 0.05, 0.2)
"""Seconds between tries to take a lock: who asks :func:`is_locked` has it for a moment."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under another name; at the end it takes the place of ``path``, in one step.

    It is on the disk before it is renamed, and has the mode that the umask gives.

    Yields:
        The path to write to.

    Raises:
        OSError: when the file cannot be written; it names ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)  # a library may have put a file of its own there
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        _name(error, path)
        if error.filename == str(temporary):  # nobody knows the other name
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def link_to(source: Path, target: Path) -> bool:
    """Make a file known at another place too, in one step; whether the file system does so.

    Args:
        source: a file that is never changed, only replaced.
        target: replaced if it is there.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.link(source, temporary, follow_symlinks=False)
        if not stat.S_ISREG(temporary.lstat().st_mode):
            return False
        temporary.replace(target)
        flush(target.parent)
    except OSError:  # another file system, or a file of somebody else
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system in the block name a file; a write that fails names none."""
    try:
        yield
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: Path) -> None:
    """Give an error the name of a file, if it has none."""
    if error.filename2 is not None:  # the new name of a file that was renamed or copied
        error.filename = error.filename2
    elif error.filename is None:
        error.filename = str(path)


def refused(error: BaseException, place: Path) -> tuple[str, str] | None:
    """What the operating system refused to do with files, and what to do about it, in sentences.

    Args:
        error: what was raised.
        place: a folder that is written to; it is named where the error names no file.

    Returns:
        None for an error of another kind, or about files elsewhere.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place
    if error.errno not in NO_SPACE and not _lies_below(path, place):
        return None
    return f"Cannot write to {path}: {error.strerror}.", hint_of(error)


def hint_of(error: OSError) -> str:
    """What to do about an error of the operating system."""
    if error.errno in NO_SPACE:
        return "Free some space there."
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return "Close other programs, or allow more open files with ulimit -n."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "Ask its owner to let you write there, or choose another folder."
    return "Look at what is there, or choose another folder."


def _lies_below(path: Path, folder: Path) -> bool:
    return path.absolute().is_relative_to(folder.absolute())


def flush(path: Path) -> None:
    """Have the disk keep what was written to a file, or the names in a folder.

    What cannot be flushed, such as folders on some systems, is left to the system.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EROFS, errno.EBADF, errno.EACCES}:
            raise
    finally:
        os.close(handle)


def is_unfinished(name: str) -> bool:
    """Whether a file has the name of one that is not finished.

    >>> is_unfinished(".run.json.4711"), is_unfinished("run.json"), is_unfinished(".lock.owner")
    (True, False, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a killed process was writing; only who holds the lock may call this."""
    with suppress(OSError):
        for path in folder.iterdir():
            if is_unfinished(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, which is made if there is none and is never changed.

    The system releases the lock when the process ends, however it ends. On a file system without
    locks, a file beside it names the process that works.

    Yields:
        Whether this process has the lock; False where another one has it.

    Raises:
        UsageError: when the file cannot be opened, or is a link.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror
        raise UsageError(
            f"Cannot lock {path}: {reason}.", hint="Remove that file, or choose another folder."
        ) from error
    try:
        found = _take(handle)
        if found is None:
            with _owned(path.with_name(f"{path.name}.owner")) as mine:
                yield mine
        else:
            try:
                yield found
            finally:
                _give_back(handle)
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None where the system cannot tell."""
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        _give_back(handle)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def _take(handle: int) -> bool | None:
    """Take the lock of an open file; None where the file system has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows has none; runs are then not guarded
        return True
    for pause in (*_PAUSES, None):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is None:
                return False
            time.sleep(pause)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise
        else:
            return True
    raise AssertionError("the last pause is None")


def _give_back(handle: int) -> None:
    """Release the lock of an open file, which a process that was forked meanwhile has open too."""
    with suppress(ImportError):
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def _owned(path: Path) -> Iterator[bool]:
    """Hold a file that names its owner, in the place of a lock."""
    warnings.warn(
        f"The file system of {path.parent} has no locks, so {path.name} marks the runs at work. "
        "Remove it where its process was killed on another machine.",
        stacklevel=4,
    )
    mine = f"{socket.gethostname()} {os.getpid()}"
    if not (_claimed(path, mine) or (_is_left(path) and _reclaimed(path, mine))):
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)


def _claimed(path: Path, mine: str) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(mine)
    return True


def _reclaimed(path: Path, mine: str) -> bool:
    """Claim a file that was left, and see that nobody did so at the same moment."""
    if not _claimed(path, mine):
        return False
    time.sleep(_PAUSES[-1])
    return _owner(path) == mine


def _owner(path: Path) -> str:
    """What the file of an owner says; "" where its owner has just ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _is_left(path: Path) -> bool:
    """Remove the mark of a process of this machine that has ended; whether there was one."""
    host, _, digits = _owner(path).partition(" ")
    if host != socket.gethostname() or not digits.isdecimal():
        return False
    try:
        os.kill(int(digits), 0)
    except ProcessLookupError:
        path.unlink(missing_ok=True)
        return True
    except OSError:  # another user's process
        return False
    return False
