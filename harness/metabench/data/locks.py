"""Locks on folders; the system releases a lock when the process that holds it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, *, wait: bool = True) -> Iterator[bool | None]:
    """Hold the lock of a folder.

    Some network file systems lock only files that are open for writing. There it is the lock of an
    empty file ``.lock`` in the folder. On other systems no file is written.

    Args:
        folder: what to lock.
        wait: for another holder to release it.

    Yields:
        Whether the lock is held: False where another process holds it; None where there is none,
        because ``folder`` is gone or the system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    with ExitStack() as stack:
        try:
            try:
                _lock(stack, folder, os.O_RDONLY, how)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                _lock(stack, folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, how)
        except OSError as error:
            found: bool | None = False if isinstance(error, BlockingIOError) else None
        else:
            found = True
        yield found


def _lock(stack: ExitStack, path: Path, flags: int, how: int) -> None:
    """Lock what is at a path until the stack ends; raises OSError where it cannot be locked."""
    import fcntl

    handle = os.open(path, flags, 0o666)
    stack.callback(os.close, handle)
    fcntl.flock(handle, how)
    # A process that is forked meanwhile has the file open too, and would hold the lock.
    stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)
