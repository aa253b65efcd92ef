"""What a server answers about the runs of a folder: the live page, and how far they are."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.parse import parse_qs

from metabench.errors import DataError
from metabench.render.live import live_page, live_values
from metabench.render.page.server import Beside
from metabench.results.overview import Overview, OverviewReader


class LiveService:
    """Reads a folder for all who ask, one at a time.

    Args:
        root: the results folder.
    """

    def __init__(self, root: Path) -> None:
        self._read = OverviewReader(root)
        self._one_at_a_time = threading.Lock()

    def overview(self) -> Overview:
        """The runs as they are now; raises as :class:`OverviewReader`."""
        with self._one_at_a_time:
            return self._read()

    def under_way(self) -> bool:
        """Whether there is something to watch."""
        try:
            return self.overview().under_way
        except DataError:  # no run, or none with a record
            return False

    def pages(self) -> dict[str, Beside]:
        """What to serve beside a report."""
        return {
            "/live": Beside(lambda _: live_page()),
            "/status.json": Beside(self._status, "application/json"),
        }

    def _status(self, question: str) -> str:
        since = parse_qs(question).get("since", ["0"])[-1]
        # A number that is no moment asks for everything.
        known = int(since) if since.isascii() and since.isdigit() and len(since) < 20 else 0
        return json.dumps(live_values(self.overview(), since=known), allow_nan=False)
