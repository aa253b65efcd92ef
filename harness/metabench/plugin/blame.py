"""An exception of a plugin in one sentence, with the line of the plugin at which it was raised."""

from __future__ import annotations

import importlib.util
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from metabench.errors import MetabenchError, PluginError

Found = TypeVar("Found")

LIBRARIES = ("metabench", "torch", "numpy", "pydantic", "pluggy")
"""Packages in which an author does not look for the cause."""


def guarded(
    what: str,
    call: Callable[[], Found],
    *,
    hint: str = "",
    passes: type[MetabenchError] = MetabenchError,
) -> Found:
    """Call something of a plugin.

    Args:
        what: failed, as the beginning of a sentence.
        call: what is called.
        hint: what to do then.
        passes: errors that stay what they are.

    Raises:
        MetabenchError: what the plugin raises of those that stay.
        PluginError: for anything else that it raises, with its line.
    """
    try:
        return call()
    except (passes, KeyboardInterrupt):
        raise
    except BaseException as error:  # of a foreign program, which may raise anything
        raise PluginError(f"{what}: {described(error)}.", hint=hint) from error


def described(error: BaseException) -> str:
    """The kind of an exception, its text, and where in a plugin it was raised, on one line."""
    return f"{type(error).__name__}: {on_one_line(error)}".removesuffix(": ")


def on_one_line(error: BaseException) -> str:
    """The text of an exception, and where in a plugin it was raised, if that is known."""
    text = words_of(error, str).removesuffix(".")
    frames = _frames(error)
    of_plugin = [frame for frame in frames if _is_of_plugin(frame.tb_frame.f_code.co_filename)]
    if not of_plugin:
        return text
    last = of_plugin[-1]
    where = f"({Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno})"
    return f"{text} {where}".lstrip()


def words_of(value: object, text: Callable[[object], str]) -> str:
    """The text of a foreign object on one line; its type, where it cannot give one.

    Args:
        value: of any class.
        text: ``str`` or ``repr``.
    """
    try:
        return " ".join(text(value).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # of a foreign class, which may raise anything
        return f"a {type(value).__name__} without a text"


def within_plugin(error: BaseException) -> TracebackType | None:
    """The traceback of an exception from where it comes to a plugin; all of it if it never does."""
    frames = _frames(error)
    inside = (frame for frame in frames if _is_of_plugin(frame.tb_frame.f_code.co_filename))
    return next(inside, error.__traceback__)


def _frames(error: BaseException) -> list[TracebackType]:
    frames, frame = [], error.__traceback__
    while frame is not None:
        frames.append(frame)
        frame = frame.tb_next
    return frames


def _is_of_plugin(file: str) -> bool:
    """Whether a file may be an author's: it is none of ours, of Python or of a large library."""
    return not (file.startswith("<") or any(Path(file).is_relative_to(home) for home in _foreign()))


@cache
def _foreign() -> tuple[Path, ...]:
    found = [importlib.util.find_spec(name) for name in LIBRARIES]
    packages = [Path(spec.origin).parent for spec in found if spec is not None and spec.origin]
    standard = Path(sysconfig.get_path("stdlib"))
    return (*packages, *(entry for entry in standard.iterdir() if entry.name != "site-packages"))
