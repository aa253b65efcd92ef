"""Finding the papers' tables: each is one YAML file that a plugin brings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from metabench.errors import MetabenchError, UsageError
from metabench.papers.reference import Reference
from metabench.planning.validation import place
from metabench.planning.yaml_files import read_mapping

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


def load_reference(file: Traversable) -> Reference:
    """Read and check the file of one reference.

    Raises:
        UsageError: when it is not UTF-8 or valid YAML, does not describe a table, or is named
            unlike its key: ``m-nas/table-1`` belongs in ``m-nas-table-1.yaml``.
    """
    values = read_mapping(file, of="a table")
    try:
        reference = Reference.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"{part}: " for part in place(first, values))
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise UsageError(f"{file.name} does not describe a table: {where}{message}.") from error
    if file.name.rpartition(".")[0] != _stem(reference.key):
        raise UsageError(
            f"The reference {reference.key!r} is in the file {file.name}.",
            hint=f"Rename the file to {_stem(reference.key)}.yaml.",
        )
    return reference


def find_reference(catalog: Catalog, key: str) -> Reference:
    """The reference of that key.

    Raises:
        UsageError: when there is none, with the nearest keys; or when its file is not valid.
    """
    file = catalog.references.get(_stem(key))
    if file is None or (reference := load_reference(file)).key != key:
        raise catalog.unknown("reference", key, readable_references(catalog))
    return reference


def readable_references(catalog: Catalog) -> Mapping[str, Reference]:
    """Every reference whose file is valid, by key in order; ``references check`` reports others."""
    found = {}
    for file in catalog.references.values():
        try:
            reference = load_reference(file)
        except MetabenchError:
            continue
        found[reference.key] = reference
    return dict(sorted(found.items()))


def _stem(key: str) -> str:
    return key.replace("/", "-")
