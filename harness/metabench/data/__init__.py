"""Where images come from: archives as published, and packs as episodes need them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.data.archive import (
        Archive,
        Box,
        Contents,
        Crop,
        ImageClass,
        Preparation,
        RemoteFile,
        ResizeFilter,
    )
    from metabench.data.decoding import DECODING
    from metabench.data.fetching import fetch_archive
    from metabench.data.importing import import_archive
    from metabench.data.locations import data_root
    from metabench.data.originals import Originals, files_of
    from metabench.data.pack import Pack, list_packs, open_pack, verify_pack
    from metabench.data.pickled import PickledArray
    from metabench.data.plain_files import expanded, open_plain, read_plain
    from metabench.data.safe_pickle import read_pickle
    from metabench.data.zips import open_zip

_HOMES = {
    "Archive": "archive",
    "Box": "archive",
    "Contents": "archive",
    "Crop": "archive",
    "DECODING": "decoding",
    "ImageClass": "archive",
    "Originals": "originals",
    "Pack": "pack",
    "PickledArray": "pickled",
    "Preparation": "archive",
    "RemoteFile": "archive",
    "ResizeFilter": "archive",
    "data_root": "locations",
    "expanded": "plain_files",
    "fetch_archive": "fetching",
    "files_of": "originals",
    "import_archive": "importing",
    "list_packs": "pack",
    "open_pack": "pack",
    "open_plain": "plain_files",
    "open_zip": "zips",
    "read_pickle": "safe_pickle",
    "read_plain": "plain_files",
    "verify_pack": "pack",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: describing a dataset needs no image library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "DECODING",
    "Archive",
    "Box",
    "Contents",
    "Crop",
    "ImageClass",
    "Originals",
    "Pack",
    "PickledArray",
    "Preparation",
    "RemoteFile",
    "ResizeFilter",
    "data_root",
    "expanded",
    "fetch_archive",
    "files_of",
    "import_archive",
    "list_packs",
    "open_pack",
    "open_plain",
    "open_zip",
    "read_pickle",
    "read_plain",
    "verify_pack",
]
