"""The command line, one file per command: each builds a request and prints what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from metabench.cli.claims import claims
from metabench.cli.commands import App
from metabench.cli.compare import compare
from metabench.cli.context import take_plugin_files
from metabench.cli.data import data_app
from metabench.cli.doctor import doctor
from metabench.cli.evaluate import evaluate
from metabench.cli.export import export
from metabench.cli.figure import figure
from metabench.cli.genotypes import genotypes
from metabench.cli.leaderboard import leaderboard
from metabench.cli.listing import list_, show
from metabench.cli.merge import merge
from metabench.cli.plugins import plugins_app
from metabench.cli.references import references_app
from metabench.cli.report import report
from metabench.cli.reproduce import reproduce
from metabench.cli.run import run
from metabench.cli.screen import prepare, put, say, told
from metabench.cli.status import status
from metabench.cli.track import track
from metabench.cli.tune import tune
from metabench.cli.view import view
from metabench.durable import hint_of
from metabench.errors import MetabenchError
from metabench.text import readable

_Refusal: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What the command line raises; it is of click, or of Typer's own copy of click."""


@contextmanager
def _plain_refusals() -> Iterator[None]:
    """Words that the command line refuses are repeated as text, and not in full length."""
    try:
        yield
    except _Refusal as error:
        vars(error)["message"] = readable(error.message)
        raise


class _Group(typer.core.TyperGroup):
    """Accepts ``--plugin`` anywhere, and prints expected errors as a sentence and a hint."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _plain_refusals():
            return super().parse_args(ctx, take_plugin_files(args))

    def invoke(self, ctx: Any) -> Any:
        prepare()
        try:
            with _plain_refusals():
                return super().invoke(ctx)
        except MetabenchError as error:
            say(f"Error: {readable(error.message)}", fg="red")
            if error.hint:
                say(readable(error.hint))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            raise  # Nobody reads on: typer ends without a word.
        except OSError as error:
            say(f"Error: {readable(told(error))}", fg="red")
            if error.filename:
                say(hint_of(error))
            raise typer.Exit(1) from error


app = App(
    name="metabench",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # "rich" would take `[default: ...]` in a help text for markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        put(f"metabench {version('metabench')}")
        raise typer.Exit


@app.callback()
def main(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin",
            metavar="FILE",
            help="Load a plugin from this Python file. May be given anywhere in a command, and "
            "several times.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run meta-learners and NAS methods on benchmark suites, and compare the results."""


# Commands in older records name the network with --space.
_FORMER_NAMES = {"space": "network"}
app.command(
    "run", context_settings={"token_normalize_func": lambda word: _FORMER_NAMES.get(word, word)}
)(run)
app.command("reproduce")(reproduce)
app.command("tune")(tune)
app.command("export")(export)
app.command("evaluate")(evaluate)
app.command("report")(report)
app.command("compare")(compare)
app.command("claims")(claims)
app.command("figure")(figure)
app.command("genotypes")(genotypes)
app.command("view")(view)
app.command("leaderboard")(leaderboard)
app.command("merge")(merge)
app.command("status")(status)
app.command("track")(track)
app.command("list")(list_)
app.command("show")(show)
app.add_typer(data_app, name="data")
app.add_typer(plugins_app, name="plugins")
app.add_typer(references_app, name="references")
app.command("doctor")(doctor)
