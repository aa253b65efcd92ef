"""Passes events on to plugins that listen, each in a thread: a slow one makes no run wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from metabench.plugin.specs import RunEvent

Listen = Callable[[RunEvent], None]

PATIENCE = 30.0
"""Seconds that a command waits at its end for a listener to be done with one event."""


@contextmanager
def aside(
    listeners: Iterable[tuple[str, Listen]],
    *,
    say: Callable[[str], None],
    patience: float = PATIENCE,
) -> Iterator[Listen]:
    """Call each listener in a thread, with one event after another.

    Of the progress of a run in a phase, what is not heard yet gives way to what is newer. All other
    events are heard, and the end waits for the last one; it waits no longer for a listener that
    hangs.

    Args:
        listeners: with the name of their plugin.
        say: called with a sentence about each listener that is not waited for.
        patience: seconds for one event, from which on a listener hangs.

    Yields:
        What takes events, and does not wait.
    """
    found = {_Listening(listen): name for name, listen in listeners}

    def hear(event: RunEvent) -> None:
        for one in found:
            one.hear(event)

    try:
        yield hear
    finally:
        for one in found:
            one.finish()
        for one, name in found.items():
            if not one.ended(patience):
                say(
                    f"The plugin {name} has been busy with one event for {patience:g} seconds, so "
                    "the command ends without it."
                )


class _Listening:
    """A thread that hears events; it begins with the first one."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._waiting: list[RunEvent] = []
        self._n_heard = 0
        self._news = threading.Condition()
        self._finishing = False
        # A daemon: a listener that hangs does not keep the command from ending.
        self._thread = threading.Thread(target=self._work, name="listener", daemon=True)

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
        """Let the thread hear what is left, and end."""
        with self._news:
            self._finishing = True
            self._news.notify()

    def ended(self, patience: float) -> bool:
        """Wait until all is heard; return False once one event takes so many seconds."""
        while self._thread.is_alive():
            n_heard = self._n_heard
            self._thread.join(patience)
            if self._n_heard == n_heard and self._thread.is_alive():
                return False
        return True

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
            self._n_heard += 1

    def _next(self) -> RunEvent | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._finishing)
            return self._waiting.pop(0) if self._waiting else None
