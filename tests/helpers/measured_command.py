"""What one command of metabench takes: processor time, and memory of its process alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PROGRAM = """
import atexit, re, sys
from pathlib import Path
from metabench.__main__ import main

def tell(file=Path(sys.argv.pop(1))):
    status = Path("/proc/self/status").read_text()
    file.write_text(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])

atexit.register(tell)
main()
"""
"""What the system counts of a child (``ru_maxrss``) is at least the size of its parent."""


@dataclass(frozen=True)
class Measured:
    """A command that has ended.

    Attributes:
        code: its exit code.
        seconds: of processors, which other work on the machine does not change.
        bytes: of memory at most.
    """

    code: int
    seconds: float
    bytes: int


def measured(
    words: Sequence[str | Path],
    *,
    folder: Path,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
) -> Measured:
    """Run a command in a folder. Linux alone says the memory of a process.

    Args:
        words: after ``metabench``.
        folder: the working folder.
        stdout: gets what the command prints.
        stderr: gets what it says.
    """
    peak = folder / ".peak"
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, peak, *words], cwd=folder, stdout=stdout, stderr=stderr
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kib = int(peak.read_text())
    return Measured(process.returncode, used.ru_utime + used.ru_stime, kib * 1024)
