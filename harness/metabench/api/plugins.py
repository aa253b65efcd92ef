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
    refuse_broken(found, paths, otherwise="leave it out")
    return found


def refuse_broken(found: Catalog, files: Iterable[Path], *, otherwise: str) -> None:
    """Refuse plugin files that are broken.

    Args:
        found: what was loaded.
        files: those that the user named.
        otherwise: what the user may do instead of repairing it, for the hint.

    Raises:
        PluginError: one of them is.
    """
    named = {str(file) for file in files}
    for plugin in found.plugins:
        if plugin.status == "error" and plugin.distribution in named:
            raise PluginError(
                f"The plugin file {plugin.distribution!r} cannot be used. {plugin.error}",
                hint=f"Repair the file, or {otherwise}.",
            )
