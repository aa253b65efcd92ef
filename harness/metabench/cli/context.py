"""What all commands share: the catalog, with the plugins given by file."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from metabench.catalog import Catalog

_plugin_files: ContextVar[tuple[Path, ...]] = ContextVar("plugin_files", default=())


def take_plugin_files(arguments: list[str]) -> list[str]:
    """Take every ``--plugin FILE`` out of the arguments, wherever it stands, and remember it."""
    kept: list[str] = []
    files: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--":
            kept += [argument, *rest]
        elif name == "--plugin":
            value = value if equals else next(rest, "")
            if not value:
                raise typer.BadParameter("--plugin needs the path of a Python file.")
            files.append(Path(value))
        else:
            kept.append(argument)
    _plugin_files.set(tuple(files))
    return kept


def plugin_files() -> tuple[Path, ...]:
    """Files given by ``--plugin``."""
    return _plugin_files.get()


def catalog() -> Catalog:
    """Everything there is to choose from, plugins given by file included."""
    from metabench.catalog import load_catalog

    return load_catalog(plugin_files())
