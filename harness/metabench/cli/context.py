"""What all commands share: the catalog, with the plugins given by ``--plugin``."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

_plugin_files: ContextVar[tuple[Path, ...]] = ContextVar("plugin_files", default=())


def take_plugin_files(arguments: list[str]) -> list[str]:
    """Take every ``--plugin FILE`` out of the arguments, wherever it is, and remember the file."""
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
    _plugin_files.set(tuple(dict.fromkeys(files)))
    return kept


def plugin_files() -> tuple[Path, ...]:
    """The files given by ``--plugin``."""
    return _plugin_files.get()


def catalog(*, with_broken_files: bool = False) -> Catalog:
    """What the installed plugins and the plugins given by ``--plugin`` provide.

    Installed plugins that are broken are left out. A broken file given by ``--plugin`` is an
    error, except in the commands that show what is wrong with plugins.

    Raises:
        PluginError: a file given by ``--plugin`` is broken.
    """
    from metabench.api.plugins import refuse_broken
    from metabench.plugin.catalog import load_catalog

    files = plugin_files()
    found = load_catalog(files)
    if not with_broken_files:
        refuse_broken(found, files, otherwise="leave out --plugin")
    return found
