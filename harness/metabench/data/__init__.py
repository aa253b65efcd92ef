"""Where images come from: archives as published, and packs as episodes need them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.data.archive import (
        Archive,
        Contents,
        ImageClass,
        Preparation,
        RemoteFile,
        ResizeFilter,
    )
    from metabench.data.fetching import fetch_archive
    from metabench.data.importing import import_archive
    from metabench.data.locations import data_root
    from metabench.data.originals import Originals
    from metabench.data.pack import Pack, list_packs, open_pack, verify_pack

_HOMES = {
    "Archive": "archive",
    "Contents": "archive",
    "ImageClass": "archive",
    "Originals": "originals",
    "Pack": "pack",
    "Preparation": "archive",
    "RemoteFile": "archive",
    "ResizeFilter": "archive",
    "data_root": "locations",
    "fetch_archive": "fetching",
    "import_archive": "importing",
    "list_packs": "pack",
    "open_pack": "pack",
    "verify_pack": "pack",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: describing a dataset needs no image library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "Archive",
    "Contents",
    "ImageClass",
    "Originals",
    "Pack",
    "Preparation",
    "RemoteFile",
    "ResizeFilter",
    "data_root",
    "fetch_archive",
    "import_archive",
    "list_packs",
    "open_pack",
    "verify_pack",
]
