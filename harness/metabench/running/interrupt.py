"""Ctrl-C as a question that loops ask, so that a step is never cut in half."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """While active, SIGINT and SIGTERM set a flag; a second Ctrl-C stops at once.

    Args:
        patient: ignore further signals; for worker processes, which get them from several sides.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask to stop."""
        self._asked = True

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked and not self._patient:
            raise KeyboardInterrupt
        self._asked = True
