"""Events of a run in a file: one process appends them, another one reads them as they come.

A line is an event as JSON. Machines that share nothing but a folder can talk this way.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from metabench import RunEvent


class EventFile:
    """The events of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def write(self, event: RunEvent) -> None:
        """Append an event. A full disk costs the event, and not the run."""
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(event)) + "\n")

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
            with suppress(ValueError, TypeError):  # torn by a kill
                events.append(RunEvent(**json.loads(line)))
        return events
