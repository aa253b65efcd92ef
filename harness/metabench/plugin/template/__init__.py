"""The skeletons of plugins: a package with one working thing of a kind, for an author to change.

Each kind has a folder of templates, and ``shared`` has those of all kinds. The learner ``proto`` is
``docs/examples/metabench-proto``, file by file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from metabench.durable import NO_SPACE, hint_of
from metabench.errors import UsageError

Kind = Literal[
    "learner", "dataset", "network", "strategy", "metric", "tracker", "suite", "executor"
]
"""What a skeleton can be of, in the words of the command line."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def render(name: str, directory: Path, *, kind: Kind = "learner") -> Path:
    """Write the skeleton of a plugin to ``directory/metabench-name``, the whole or nothing.

    Args:
        name: of the learner, dataset, network, strategy, metric, tracker, suite or executor.
        directory: where the folder of the package is made.
        kind: which of these it is.

    Returns:
        The new folder.

    Raises:
        UsageError: the name is not allowed, or the folder exists or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a {kind}.",
            hint=f"Use lower-case letters, digits and single hyphens, as in my-{kind}.",
        )
    folder = directory / f"metabench-{name}"
    if folder.exists():
        raise UsageError(f"{folder} already exists.", hint="Choose another name or another --dir.")
    try:
        if not directory.exists():
            directory.mkdir(parents=True)
        with TemporaryDirectory(dir=directory, prefix=f".{folder.name}-") as aside:
            whole = Path(aside, folder.name)
            for path, text in _rendered(name, kind):
                file = whole / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            whole.rename(folder)
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror}.",
            hint=hint_of(error) if error.errno in NO_SPACE else "Choose another --dir.",
        ) from error
    return folder


def _rendered(name: str, kind: Kind) -> Iterator[tuple[str, str]]:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    identifier = name.replace("-", "_")
    module = f"metabench_{identifier}"
    title = "".join(part.capitalize() for part in name.split("-"))
    for folder in ("shared", kind):
        for path, template in _templates(files(__name__).joinpath("skeleton", folder), ""):
            text = environment.from_string(template).render(
                kind=kind, name=name, module=module, title=title, constant=identifier.upper()
            )
            path = path.replace("MODULE", module).replace("NAME", identifier)
            yield path.replace("SUITE", name).removesuffix(".j2"), text


def _templates(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".j2"):
            yield prefix + entry.name, entry.read_text(encoding="utf-8")
