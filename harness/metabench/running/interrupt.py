"""Ctrl-C as a question that loops ask, so that a step is never cut in half."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""What users, terminals and schedulers send to stop a program; Windows has the first two."""


_ends_the_program = False


def stopping_ends_the_program() -> None:
    """Say that this program ends soon after it is asked to stop, as the command line does."""
    global _ends_the_program
    _ends_the_program = True


class StopRequest:
    """While active, a signal to stop sets a flag; only a second Ctrl-C stops at once.

    A SIGHUP that the process was started to ignore (``nohup``) stays ignored. Schedulers send a
    signal to a process and to its group, so it can come twice, the second time when this is no
    longer active. Where `stopping_ends_the_program`, it is ignored then, as it would change the
    exit code.

    Args:
        patient: ignore a second Ctrl-C; for worker processes, which get signals from several sides.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._asked = False
        self._interrupted = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask to stop."""
        self._asked = True

    def __enter__(self) -> StopRequest:
        for number in _numbers():
            if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ends = self._asked and _ends_the_program
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if ends and number != signal.SIGINT else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        interrupts = number == signal.SIGINT
        if interrupts and self._interrupted and not self._patient:
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or interrupts
        self._asked = True


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals to stop wait until the block ends; in a process that it starts, for `let_in`.

    A process imports for seconds before it can listen, and would die of a Ctrl-C with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would let signals in, if it were started in the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_in() -> None:
    """Take the signals to stop that were held back when this process was started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers())


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
