"""Locks on folders; the system releases a lock when the process that holds it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder.

    No file is written, but on network file systems that lock only files open for writing: there it
    is the lock of an empty ``.lock`` in the folder.

    Args:
        folder: what to lock.
        wait: for another holder to release it.

    Yields:
        Whether the lock is held: False where another process holds it, where ``folder`` is gone,
        and where the system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    with ExitStack() as stack:
        try:
            _lock(stack, folder, os.O_RDONLY, how)
        except OSError as error:
            if error.errno != errno.EBADF:
                yield False
                return
            try:
                _lock(stack, folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, how)
            except OSError:
                yield False
                return
        yield True


def _lock(stack: ExitStack, path: Path, flags: int, how: int) -> None:
    """Lock what is at a path until the stack ends; raises OSError where it cannot be locked."""
    import fcntl

    handle = os.open(path, flags, 0o666)
    stack.callback(os.close, handle)
    fcntl.flock(handle, how)
