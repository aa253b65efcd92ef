"""Progress on stderr: a bar per run on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metabench.cli.screen import say
from metabench.text import for_terminal

if TYPE_CHECKING:
    from rich.progress import TaskID

    from metabench.plugin.specs import RunEvent

LINE_SECONDS = 10.0
"""Least number of seconds between two plain lines of one run."""

WIDE = 110
"""Columns of a terminal that has room for a bar beside each line."""

RATE_SECONDS = 0.1
"""A speed is shown once it is measured over so many seconds: events read late come in a burst."""

_SKIPPED = "skipped"


@contextmanager
def progress(n_runs: int) -> Iterator[Callable[[RunEvent], None]]:
    """Yield a function that shows events while the block runs."""
    if _is_terminal() and "CI" not in os.environ:
        with _bars(n_runs) as show:
            yield _Unstoppable(show)
    else:
        yield _Lines()


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except ValueError:  # it is closed
        return False


class _Unstoppable:
    """Shows events until showing fails, and then none: a run never ends for a screen."""

    def __init__(self, show: Callable[[RunEvent], None]) -> None:
        self._show: Callable[[RunEvent], None] | None = show

    def __call__(self, event: RunEvent) -> None:
        if self._show is None:
            return
        try:
            self._show(event)
        except (OSError, ValueError):
            self._show = None


class Rate:
    """Steps per second and time left of one phase, from the times of its events."""

    def __init__(self) -> None:
        self._phase = ""
        self._first = (0.0, 0)

    def update(self, event: RunEvent) -> str:
        """Take a progress event; return ``812 steps/s, 0:13 left``."""
        now = time.monotonic()
        if event.phase != self._phase:
            self._phase, self._first = event.phase, (now, event.done)
            return ""
        seconds, steps = now - self._first[0], event.done - self._first[1]
        if seconds < RATE_SECONDS or steps <= 0:
            return ""
        rate = steps / seconds
        left = round((event.total - event.done) / rate)
        unit = "steps/s" if event.phase == "meta-train" else "episodes/s"
        return f"{rate:,.3g} {unit}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"


def describe(event: RunEvent) -> str:
    """The scalars of an event, and the steps skipped so far: ``loss 1.23, skipped 7``."""
    scalars = [f"{name} {value:.4g}" for name, value in event.values.items() if name != _SKIPPED]
    return ", ".join(scalars + ([f"{_SKIPPED} {event.skipped:,}"] if event.skipped else []))


def one_line(event: RunEvent, rate: str, width: int) -> str:
    """How far a run is, in so many characters: its name gives way to its numbers.

    Args:
        event: of kind ``progress``.
        rate: as of :class:`Rate`.
        width: of the line. What is left out first is the loss, then the speed.
    """
    counts = f"{event.done:,}/{event.total:,}"
    details = [part for part in (describe(event), *rate.split(", ")) if part]
    name = f"{event.label} {event.phase}"
    while len(details) > 1 and len("  ".join([name, counts, *details])) > width:
        del details[0]
    numbers = "  ".join(["", counts, *details])
    room = width - len(numbers)
    shown = name if len(name) <= room else f"{name[: max(0, room - 1)]}\u2026"
    return f"{shown}{numbers}"


class _Lines:
    """Plain lines."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._shown: dict[str, float] = {}

    def __call__(self, event: RunEvent) -> None:
        if event.kind == "progress" and event.phase != "meta-val":
            self._progress(event)
        elif event.kind not in ("progress", "phase-started"):
            words = {"run-started": "started", "run-done": "done", "run-failed": "failed"}
            text = ": ".join(part for part in (words.get(event.kind, ""), event.text) if part)
            say(f"{event.label}: {text}")

    def _progress(self, event: RunEvent) -> None:
        rate = self._rates.setdefault(event.run_id, Rate()).update(event)
        now = time.monotonic()
        due = now - self._shown.get(event.run_id, now - LINE_SECONDS) >= LINE_SECONDS
        if due or event.done == event.total:
            self._shown[event.run_id] = now
            details = ", ".join(part for part in (describe(event), rate) if part)
            done = f"{event.done:,}/{event.total:,}"
            say(f"{event.label}: {event.phase} {done}  {details}".rstrip())


@contextmanager
def _bars(n_runs: int) -> Iterator[Callable[[RunEvent], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

    console = Console(stderr=True)
    bar = BarColumn()
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    columns += [bar] if console.width >= WIDE else []
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}
        rates: dict[str, Rate] = {}
        ended = 0
        overall = bars.add_task(f"runs  0/{n_runs}", total=n_runs) if n_runs > 1 else None

        def show(event: RunEvent) -> None:
            nonlocal ended
            if event.kind == "progress" and event.phase != "meta-val":
                if event.run_id not in tasks:
                    tasks[event.run_id] = bars.add_task(event.label, total=None)
                rate = rates.setdefault(event.run_id, Rate()).update(event)
                beside = (bar.bar_width or 0) + 1 if bar in columns else 0
                bars.update(
                    tasks[event.run_id],
                    description=for_terminal(one_line(event, rate, console.width - beside)),
                    completed=event.done,
                    total=event.total,
                )
            elif event.kind in ("run-done", "run-failed"):
                if (task := tasks.pop(event.run_id, None)) is not None:
                    bars.remove_task(task)
                word = "done" if event.kind == "run-done" else "failed"
                text = f": {event.text}" if event.text else ""
                bars.console.print(for_terminal(f"{event.label} {word}{text}"), markup=False)
                ended += 1
                if overall is not None:
                    bars.update(overall, advance=1, description=f"runs  {ended}/{n_runs}")
            elif event.kind == "message":
                bars.console.print(for_terminal(f"{event.label}: {event.text}"), markup=False)

        yield show
