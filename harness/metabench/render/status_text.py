"""How far the runs of a folder are, as text that fits a terminal."""

from __future__ import annotations

import math
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from metabench.render.layout import GLUE
from metabench.render.small_table import SmallTable
from metabench.results.metrics import number
from metabench.results.overview import Overview
from metabench.results.run_state import RunState
from metabench.results.state import STATES, State
from metabench.text import counted, duration, plain

LISTED: tuple[State, ...] = ("running", "failed", "interrupted")
"""Runs in these states have a line each; the others are counted."""
MOST_LINES = 100
"""Runs with a line, in one suite and setting."""
MOST_REASONS = 5
"""Failed and interrupted runs that are explained."""
_BAR = 30
_COLORS = {"running": "36", "failed": "31", "interrupted": "33", "done": "32"}
_HEADINGS = ("learner", "seed", "state", "share", "left", "loss", "val", "skipped", "steps", "run")
_RIGHT = frozenset({"seed", "share", "left", "loss", "val", "skipped", "steps"})
_LEFT_OUT_FIRST = ("run", "steps", "skipped")
"""Columns that go where the terminal is too narrow, in this order."""


def status_text(overview: Overview, *, width: int = 80, color: bool = False) -> str:
    """Write an overview down; lines end with a line end.

    Args:
        overview: what to say.
        width: columns of the terminal.
        color: mark states with the codes of a terminal.
    """
    lines = [*_head(overview, width=width)]
    for _, group in groupby(overview.runs, key=lambda run: run.kind[:3]):
        lines += ["", *_group(overview, list(group), width=width, color=color)]
    lines += _reasons(overview, width=width)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def status_table(overview: Overview) -> SmallTable:
    """An overview as a small table: a row for each run, in the order of states."""
    runs = sorted(overview.runs, key=lambda run: STATES.index(run.state))
    rows = [{"suite": place_text(run), **run_texts(overview, run)} for run in runs]
    names = [name for name in ("suite", *_HEADINGS) if any(row[name] for row in rows)]
    title = ", ".join(filter(None, [counts_text(overview), left_text(overview)]))
    entries = [[row[name] for name in names] for row in rows]
    return SmallTable(title, names, entries, overview.problems)


def counts_text(overview: Overview) -> str:
    """How many runs are in which state: ``2 running, 1 failed, 3 done``."""
    return ", ".join(f"{n:,} {state}" for state, n in overview.counts.items())


def left_text(overview: Overview) -> str:
    """How long the commands at work still need; "" where none is at work."""
    left = overview.time_left
    if left.seconds is None:
        return "time left not known yet" if left.n_unknown else ""
    about = f"about {duration(left.seconds)} left"
    if not left.n_unknown:
        return about
    return f"{about}, not counting {counted(left.n_unknown, 'run')} whose time is not known yet"


def percent(share: float) -> str:
    """A share in whole percent; 100 % is all of it.

    >>> percent(0.999), percent(1.0)
    ('99 %', '100 %')
    """
    return f"{math.floor(100 * share + 1e-9)} %"


def value_text(value: float | None) -> str:
    """A logged scalar in four digits; "" where there is none."""
    return "" if value is None else f"{value:.4g}"


def score_text(run: RunState) -> str:
    """The last meta-validation score, as tables print it."""
    if run.val_score is None or run.metric is None:
        return ""
    return number(run.val_score, run.metric.unit)


def steps_text(run: RunState) -> str:
    """Steps or episodes done of all: ``1,200/4,000``, ``test 50/200``; "" without any step."""
    if run.phase == "meta-test":
        return f"test {run.episodes:,}/{run.n_episodes:,}"
    if run.meta_steps == 0:
        return ""
    return f"{run.steps:,}/{run.meta_steps:,}"


def _head(overview: Overview, *, width: int) -> Iterator[str]:
    n = counted(len(overview.runs), "run")
    where = plain(str(overview.root))
    counts = counts_text(overview)
    yield from _wrapped(f"{n} in {where}{f': {counts}' if counts else ''}", width)
    filled = math.floor(_BAR * overview.share + 1e-9)
    left = left_text(overview)
    bar = f"[{'#' * filled}{'-' * (_BAR - filled)}] {percent(overview.share)}"
    yield from _wrapped(f"{bar}{f', {left}' if left else ''}", width)


def _group(
    overview: Overview, runs: Sequence[RunState], *, width: int, color: bool
) -> Iterator[str]:
    first = runs[0]
    title = place_text(first)
    listed = sorted(
        (run for run in runs if run.state in LISTED), key=lambda run: STATES.index(run.state)
    )
    metric = next((run.metric for run in listed if run.metric and run.curve.score), None)
    if metric is not None:
        title += f"; val is {metric.words} on meta-val"
    yield from _wrapped(title, width)
    rows = [run_texts(overview, run) for run in listed[:MOST_LINES]]
    if rows:
        yield from _table(rows, width=width, color=color)
    if len(listed) > MOST_LINES:
        yield f"and {counted(len(listed) - MOST_LINES, 'further run')}"
    for state in ("planned", "trained", "done"):
        of_learner = Counter(plain(run.learner) for run in runs if run.state == state)
        if of_learner:
            named = ", ".join(f"{name} ({counted(n, 'run')})" for name, n in of_learner.items())
            yield from _wrapped(f"{of_learner.total():,} {state}: {named}", width, indent="  ")


def place_text(run: RunState) -> str:
    """Suite, setting and budget of a run."""
    return plain(f"{run.suite}@{run.setting}, {run.budget}")


def run_texts(overview: Overview, run: RunState) -> dict[str, str]:
    """What is said of a run, column by column; "" where there is nothing to say."""
    working = run.state == "running" or run.awaited
    return {
        "learner": plain(run.learner),
        "seed": str(run.seed),
        "state": run.state,
        "share": percent(run.share),
        "left": (duration(overview.seconds_left(run)) or "?") if working else "",
        "loss": value_text(run.loss),
        "val": score_text(run),
        "skipped": f"{run.curve.skipped:,}" if run.curve.skipped else "",
        "steps": steps_text(run),
        "run": plain(run.run_id),
    }


def _table(rows: Sequence[dict[str, str]], *, width: int, color: bool) -> Iterator[str]:
    columns = [name for name in _HEADINGS if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    for name in _LEFT_OUT_FIRST:
        if name in columns and _total(columns, widths) > width:
            columns.remove(name)
    # A name that is too long for its column stands on a line of its own.
    room = width - (_total(columns, widths) - widths["learner"])
    names = (len(name) for name in ("learner", *(row["learner"] for row in rows)))
    widths["learner"] = max((n for n in names if n <= room), default=0)

    def entry(row: Mapping[str, str], name: str) -> str:
        padding = " " * (widths[name] - len(row[name]))
        code = _COLORS.get(row[name]) if color and name == "state" else None
        text = f"\x1b[{code}m{row[name]}\x1b[0m" if code else row[name]
        return padding + text if name in _RIGHT else text + padding

    yield "  ".join(entry({name: name}, name) for name in columns)
    for row in rows:
        if len(row["learner"]) > widths["learner"]:
            yield row["learner"]
            row = {**row, "learner": ""}
        yield "  ".join(entry(row, name) for name in columns)


def _total(columns: Sequence[str], widths: dict[str, int]) -> int:
    return sum(widths[name] for name in columns) + 2 * (len(columns) - 1)


def _reasons(overview: Overview, *, width: int) -> Iterator[str]:
    """What became of runs that need a command, and the command."""
    stopped = [run for run in overview.of_state("interrupted") if not run.awaited]
    left = [run for run in overview.of_state("planned") if not run.awaited]
    for word, runs in (("Failed", overview.of_state("failed")), ("Interrupted", stopped)):
        for run in runs[:MOST_REASONS]:
            about = f"{word}: {run.learner} {run.suite}@{run.setting} seed {run.seed}"
            yield ""
            yield from _wrapped(plain(f"{about}: {run.error}" if run.error else about), width)
            yield from _command(plain(run.command), width)
        if len(runs) > MOST_REASONS:
            yield ""
            yield f"{word}: {counted(len(runs) - MOST_REASONS, 'further run')}."
    if left:
        yield ""
        text = f"No command is at work on {counted(len(left), 'planned run')}. The first is made by"
        yield from _wrapped(text, width)
        yield from _command(plain(left[0].command), width)


def _command(command: str, width: int) -> Iterable[str]:
    """A command over several lines, as a shell reads it."""
    if not command:
        return []
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:  # somebody edited it
        words = [command]
    command = " ".join(word.replace(" ", GLUE) for word in words)
    lines = _filled(re.sub(r"(--[\w-]+) (?!-)", rf"\1{GLUE}", command), width - 4)
    return [f"  {line} \\" for line in lines[:-1]] + [f"  {lines[-1]}"]


def _wrapped(text: str, width: int, *, indent: str = "") -> list[str]:
    """Lines of sentences; a number stays with its noun."""
    return _filled(re.sub(r"(?<=\d) ", GLUE, text), width, indent=indent)


def _filled(text: str, width: int, *, indent: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        max(20, width),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(GLUE, " ") for line in lines]
