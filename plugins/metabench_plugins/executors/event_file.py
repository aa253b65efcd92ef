"""Events of a run in a file: one process appends them, another one reads them as they come.

A line is a pickled event in base 64. Machines that share nothing but a folder can talk this way.
"""

from __future__ import annotations

import base64
import pickle
from contextlib import suppress
from pathlib import Path

from metabench import RunEvent


class EventFile:
    """The events of one run. Only its own jobs may write it: who reads a pickle trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def write(self, event: RunEvent) -> None:
        """Append an event. A full disk costs the event, and not the run."""
        with suppress(OSError), self.path.open("ab") as file:
            file.write(base64.b64encode(pickle.dumps(event)) + b"\n")

    def read(self) -> list[RunEvent]:
        """The events since the last time; a line that is being written is left for the next."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        events = []
        for line in whole.splitlines():
            with suppress(Exception):  # torn by a kill; what a part of a pickle raises varies
                events.append(pickle.loads(base64.b64decode(line, validate=True)))
        return [event for event in events if isinstance(event, RunEvent)]
