"""Passes events on to plugins that listen, in a thread of its own: a slow one makes no run wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from metabench.plugin.specs import RunEvent

Listen = Callable[[RunEvent], None]


@contextmanager
def aside(listen: Listen) -> Iterator[Listen]:
    """Call a listener in a thread, with one event after another; the end waits for the last one.

    Of the progress of a run in a phase, what is not heard yet gives way to what is newer. All other
    events are heard.

    Yields:
        What takes events, and does not wait.
    """
    listening = _Listening(listen)
    try:
        yield listening.hear
    finally:
        listening.finish()


class _Listening:
    """A thread that hears events; it begins with the first one."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._waiting: list[RunEvent] = []
        self._news = threading.Condition()
        self._finishing = False
        self._thread = threading.Thread(target=self._work, name="listeners", daemon=True)

    def hear(self, event: RunEvent) -> None:
        """Take an event."""
        with self._news:
            if event.kind == "progress":
                self._forget_earlier(event)
            self._waiting.append(event)
            self._news.notify()
            if self._thread.ident is None:
                self._thread.start()

    def finish(self) -> None:
        """Wait until all is heard."""
        with self._news:
            self._finishing = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _forget_earlier(self, event: RunEvent) -> None:
        for at in reversed(range(len(self._waiting))):
            earlier = self._waiting[at]
            if earlier.run_id == event.run_id:
                if (earlier.kind, earlier.phase) == (event.kind, event.phase):
                    del self._waiting[at]
                return

    def _work(self) -> None:
        while (event := self._next()) is not None:
            self._listen(event)

    def _next(self) -> RunEvent | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._finishing)
            return self._waiting.pop(0) if self._waiting else None
