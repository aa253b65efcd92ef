"""Commands that take a list of names in one option, and no empty value, and keep stdout."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer
import typer.core

from metabench.cli.screen import plugins_aside
from metabench.data.plain_files import expanded
from metabench.errors import UsageError

_HOME = re.compile(r"^(--[\w-]+=)(~(?=/|$))")
"""The home folder in ``--out=~/results``, where bash leaves it to the command."""


class Command(typer.core.TyperCommand):
    """Keeps stdout for itself, and refuses a list of names that is given by two options.

    The last of the two would hide the other. Of other options the last one counts, as is usual.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name, after a look at what is given twice."""
        args = [_HOME.sub(_as_in_a_shell, one) for one in args]
        if not ctx.resilient_parsing:  # otherwise a shell completes words
            values, _, given = self.make_parser(ctx).parse_args(args=[*args])
            for option in self.params:
                if isinstance(option, typer.core.TyperArgument):
                    _check_argument(option, values.get(option.name))
                elif isinstance(option, typer.core.TyperOption) and not option.is_flag:
                    _check(option, given.count(option), values.get(option.name))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Do what the command does; what plugins print meanwhile goes to stderr."""
        with plugins_aside():
            return super().invoke(ctx)


class App(typer.Typer):
    """A Typer application whose commands are of :class:`Command`."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As Typer's, with :class:`Command` as the class."""
        return super().command(name, **{"cls": Command, **options})


def _as_in_a_shell(found: re.Match[str]) -> str:
    return f"{found[1]}{expanded(found[2])}"


def _check_argument(argument: Any, value: Any) -> None:
    """Raise a UsageError for an argument that is given empty, as by a variable without a value."""
    if value == "":
        raise UsageError(f"{argument.metavar or argument.name} is empty.", hint="Give it a value.")


def _check(option: Any, times: int, value: Any) -> None:
    """Raise a UsageError for an option with a list that is given twice, or one given empty."""
    name = max(option.opts, key=len)
    takes_several = re.search(r"commas|NAMES|\w,\w", f"{option.metavar} {option.help}")
    if times > 1 and takes_several and not option.multiple:
        raise UsageError(
            f"{name} is given {times} times.", hint=f"Separate several by commas: {name} A,B."
        )
    if value == "":
        raise UsageError(f"{name} is empty.", hint="Give it a value, or leave it out.")
