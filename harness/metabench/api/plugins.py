"""The catalog of a call: installed plugins and the files that it names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.errors import PluginError

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


def catalog_with(files: Iterable[str | Path]) -> Catalog:
    """What installed plugins and these files provide.

    Raises:
        PluginError: a file is broken.
    """
    from metabench.plugin.catalog import load_catalog

    paths = tuple(Path(file) for file in files)
    found = load_catalog(paths)
    for plugin in found.plugins:
        if plugin.status == "error" and plugin.distribution in {str(path) for path in paths}:
            raise PluginError(
                f"The plugin file {plugin.distribution!r} cannot be used. {plugin.error}",
                hint="Repair the file, or leave it out.",
            )
    return found
