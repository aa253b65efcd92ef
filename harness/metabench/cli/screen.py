"""What a command prints, on stdout and on stderr: the one way to a terminal.

Showing never decides: a screen that fails is given up. No command prints in another way, so that
control characters of others never reach a terminal.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO, cast

import typer

from metabench.text import counted, for_terminal, plain, readable


def put(text: object = "", *, nl: bool = True, styled: bool = False) -> None:
    """Print what the command was asked for, on stdout.

    Args:
        text: of any length; nothing is cut.
        nl: end the last line.
        styled: as of :func:`metabench.text.for_terminal`.
    """
    typer.echo(for_terminal(str(text), styled=styled), file=stdout(), nl=nl)


def move_home() -> None:
    """Move the cursor of a terminal to its top, and clear what is below."""
    typer.echo("\x1b[H\x1b[J", file=stdout(), nl=False)


def say(text: str, *, fg: str | None = None) -> None:
    """Print a line on stderr; if nobody can read it, this and what follows is not printed.

    Args:
        text: the line.
        fg: its color.
    """
    try:
        color = False if os.environ.get("NO_COLOR") else None
        typer.secho(for_terminal(text), fg=fg, err=True, color=color)
    except (OSError, ValueError):  # a pipe without a reader, a full disk, a closed file
        give_up_stderr()


def tell(problem: str) -> None:
    """Print what could not be read or counted, on one line of stderr."""
    say(readable(plain(problem), longest=1000))  # a path is one word


def tell_under_way(folders: Sequence[Path], directory: Path) -> None:
    """Print how many runs are not counted yet because a process is making them."""
    if folders:
        runs, are = counted(len(folders), "run"), "is" if len(folders) == 1 else "are"
        where = shlex.quote(str(directory))
        tell(f"{runs} {are} under way and not counted; see metabench status {where}.")


def give_up_stderr() -> None:
    """Send what follows to nowhere; Python would otherwise fail at its exit, with code 120."""
    sys.stderr = nowhere()


def prepare() -> None:
    """Make stdout and stderr take everything: what a shell has closed, and any character.

    A character that the encoding lacks is shown as ``\u2500``. A closed stream becomes one to
    nowhere, so that no file that is opened later takes its number.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Plain())


@contextmanager
def plugins_aside() -> Iterator[None]:
    """Keep stdout for :func:`put`: what plugins and libraries print meanwhile goes to stderr."""
    with redirect_stdout(cast(TextIO, _Aside(sys.stdout))):
        yield


def stdout() -> TextIO:
    """The stream of what the command was asked for."""
    return sys.stdout.asked if isinstance(sys.stdout, _Aside) else sys.stdout


class _Aside(io.TextIOBase):
    """A stream to stderr, whose loss stops nobody.

    Args:
        asked: the stream in whose place it is.
    """

    def __init__(self, asked: TextIO) -> None:
        self.asked = asked

    def write(self, text: str) -> int:
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            give_up_stderr()
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


class _Plain(logging.Formatter):
    """What libraries and plugins log, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


def nowhere() -> TextIO:
    """A stream to nowhere."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - it stays open


def told(error: OSError) -> str:
    """An error of the operating system as a sentence."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}: {error.filename}." if error.filename else f"{said}."
