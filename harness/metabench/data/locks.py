"""Locks on folders; the system releases a lock when the process that holds it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder; no lock file is written.

    Args:
        folder: what to lock.
        wait: for another holder to release it.

    Yields:
        Whether the lock is held: False where another process holds it, where ``folder`` is gone,
        and where the system cannot lock folders.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
