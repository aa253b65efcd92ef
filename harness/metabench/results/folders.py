"""What lies below a results folder, and which of its folders cannot be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import DataError


@dataclass(frozen=True, slots=True)
class Below:
    """A folder and all folders below it; links to folders are not followed.

    Attributes:
        names: what lies in each folder that can be read.
        problems: a sentence for each folder that cannot be read, with its path.
    """

    names: Mapping[Path, frozenset[str]]
    problems: tuple[str, ...]

    def holding(self, *names: str) -> list[Path]:
        """The folders in which one of these names lies, in order."""
        return sorted(folder for folder, held in self.names.items() if not held.isdisjoint(names))


def look_below(root: Path) -> Below:
    """List what lies below a folder; what somebody removes meanwhile is passed over.

    Raises:
        DataError: when there is no such folder.
    """
    _require_folder(root)
    names: dict[Path, frozenset[str]] = {}
    problems: list[str] = []

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            problems.append(_unreadable(Path(error.filename or root), error))

    for folder, folders, files in os.walk(root, onerror=note):
        names[Path(folder)] = frozenset([*folders, *files])
    return Below(names, tuple(sorted(problems)))


def run_folder(named: str, root: Path) -> Path:
    """The folder of one run, named by its path, a folder above it, or the beginning of its id.

    Args:
        named: what a user says.
        root: the results folder in which ids are looked up.

    Raises:
        DataError: when there is no such run, or there are several.
    """
    if (inside := Path(named)).is_dir():
        folders, where = run_folders(inside), f"below {named}"
    else:
        if not root.exists():
            raise DataError(
                f"{named} is no folder, and there is no folder {root} to look it up in.",
                hint="Name the folder of a run, or an id and the results folder after it.",
            )
        _require_folder(root)
        folders = [folder for folder in run_folders(root) if folder.name.startswith(named)]
        where = f"below {root} with an id that begins with {named!r}"
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise DataError(
            f"There is no run {where}.",
            hint="Name the folder of a run, or an id and the results folder after it.",
        )
    raise DataError(
        f"There are {len(folders)} runs {where}.",
        hint=f"Name one of them, such as {folders[0]}.",
    )


def run_folders(root: Path) -> list[Path]:
    """The folders of all runs in a folder, which may be that of one run.

    Raises:
        DataError: when there is no such folder.
    """
    return look_below(root).holding("run.json")


def is_a_file(path: Path) -> DataError:
    """The error where a folder is meant and a file is named."""
    return DataError(f"{path} is a file, not a folder.", hint="Name a folder with results.")


def _require_folder(root: Path) -> None:
    try:
        if root.is_dir():
            return
        found = root.exists()
    except OSError as error:  # such as a folder above it that nobody else may enter
        hint = "Name a folder with results that you may read."
        raise DataError(_unreadable(root, error), hint=hint) from error
    if found:
        raise is_a_file(root)
    raise DataError(f"There is no folder {root}.", hint="Name a folder with results.")


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read ({error.strerror or error})."
