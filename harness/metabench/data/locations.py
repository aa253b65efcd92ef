"""The folders of data on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from metabench.data.plain_files import expanded


def data_root() -> Path:
    """The folder of all packs: ``METABENCH_DATA``, or the user's data folder."""
    chosen = os.environ.get("METABENCH_DATA")
    if chosen:
        return expanded(chosen)
    from platformdirs import user_data_path

    return user_data_path("metabench")


def originals_folder(name: str, root: Path) -> Path:
    """Where the downloaded files of a dataset are kept."""
    return root / name / "originals"
