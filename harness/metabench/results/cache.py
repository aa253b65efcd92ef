"""What was computed from files, kept for the next command; deleting it changes nothing.

An entry says which files it was made from, by path, times, size and inode, and which code made it.
Where anything differs, or the digest of its content is another one, there is no entry. So a cache
changes how long a command takes, and nothing that it prints.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from metabench.data.plain_files import expanded

_SETTLED_NS = 2_000_000_000
"""A file that changed later than this before it was read is not kept: on some file systems a second
change would have the same times."""

_LIBRARIES = ("numpy", "scipy", "matplotlib", "pydantic_core")


def cache_root() -> Path | None:
    """``METABENCH_CACHE``, or the user's cache folder; None where it is ``off``."""
    chosen = os.environ.get("METABENCH_CACHE")
    if chosen == "off":
        return None
    if chosen:
        return expanded(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("metabench")


@cache
def code_version() -> str:
    """A digest of metabench's own code and of the versions of what computes and draws for it."""
    found = sha256()
    root = Path(__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        content = file.read_bytes()
        found.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found.update(f"{name} {version(name)}\n".encode())
    return found.hexdigest()


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does.

    The time of the last change of the inode (ctime) is in it, which no program can set: a file that
    was edited and given its old time and size is seen to be another one.
    """
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_dev,
    )


def stamps(paths: Iterable[Path]) -> list[tuple[str, tuple[int, ...] | None]]:
    """Each path with its stamp, None where there is no such file."""
    found: list[tuple[str, tuple[int, ...] | None]] = []
    for path in paths:
        try:
            found.append((str(path.absolute()), stamp(path.stat())))
        except OSError:
            found.append((str(path.absolute()), None))
    return found


def settled(stamps: Iterable[tuple[int, ...] | None], *, at: int | None = None) -> bool:
    """Whether files had been as they are for long enough that a change would have been seen.

    Args:
        stamps: of the files.
        at: when they were read, in nanoseconds; now if absent.
    """
    latest = max((max(one[:2]) for one in stamps if one is not None), default=0)
    return (time.time_ns() if at is None else at) - latest > _SETTLED_NS


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of entries, which several processes may use at once.

    Attributes:
        root: the folder; None keeps nothing.
    """

    root: Path | None

    def get(self, kind: str, key: str) -> bytes | None:
        """The content that was put there, None if there is none or it is damaged."""
        if self.root is None:
            return None
        try:
            data = self._path(kind, key).read_bytes()
        except OSError:
            return None
        digest, _, content = data.partition(b"\n")
        return content if digest == _digest(kind, key, content) else None

    def put(self, kind: str, key: str, content: bytes) -> None:
        """Keep a content; where the folder cannot be written, nothing is kept."""
        if self.root is None:
            return
        path = self._path(kind, key)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.time_ns()}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                temporary.write_bytes(_digest(kind, key, content) + b"\n" + content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, kind: str, key: str) -> Path:
        assert self.root is not None
        name = sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self.root / kind / name[:2] / name


def _digest(kind: str, key: str, content: bytes) -> bytes:
    """Of an entry: it holds for this content under this key, from this code."""
    about = json.dumps([code_version(), kind, key]).encode()
    return sha256(about + b"\n" + content).hexdigest().encode()
