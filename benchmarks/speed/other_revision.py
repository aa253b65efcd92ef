"""Another revision of metabench, timed in a process of its own that takes turns with ours."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Station:
    """A process with a revision; see ``worker.py``."""

    def __init__(self, folder: Path) -> None:
        paths = [folder / "harness", folder / "plugins"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *command: object) -> object:
        """Send one command and wait for its answer."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of a revision ended at {command}.")
        return json.loads(line)

    def make(self, workload: str) -> list[str]:
        """Make the steps of a workload; their names."""
        names = self.ask("make", workload)
        assert isinstance(names, list)
        return names

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Remote:
    """A step in another process."""

    station: Station
    name: str

    def rate(self, seconds: float) -> float:
        """Let it work."""
        rate = self.station.ask("time", self.name, seconds)
        assert isinstance(rate, float)
        return rate


@contextmanager
def stations(revision: str) -> Iterator[tuple[Station, Station]]:
    """This checkout and another: a folder with one, or a revision of this one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(revision)
        if not (folder / "harness").is_dir():
            folder = Path(scratch)
            archive = subprocess.run(
                ["git", "archive", revision, "harness", "plugins", "benchmarks"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(folder, filter="data")
        ours, theirs = Station(ROOT), Station(folder.resolve())
        try:
            yield ours, theirs
        finally:
            ours.close()
            theirs.close()
