"""How long the phases of a run take, written down while they go on."""

from __future__ import annotations

import time

from metabench.results.costs import machine
from metabench.results.store import RunStore


class Work:
    """The time that a phase takes, noted now and then: a run that is killed has its speed.

    Args:
        store: of the run.
        phase: what is done.
        done: steps or episodes that an earlier start has done.
    """

    def __init__(self, store: RunStore, phase: str, *, done: int) -> None:
        self._store = store
        self._phase = phase
        self._noted = done, time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """Since the last note."""
        return time.monotonic() - self._noted[1]

    def note(self, done: int) -> None:
        """Write down what was done since the last note, and in which time."""
        count, seconds = done - self._noted[0], round(self.seconds, 3)
        if count > 0:
            cpu = round(time.process_time() - self._noted[2], 3)
            note = {"phase": self._phase, "count": count, "seconds": seconds, "cpu_seconds": cpu}
            self._store.append_timing({**note, "machine": machine()})
            self._noted = done, time.monotonic(), time.process_time()
