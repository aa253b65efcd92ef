"""From a suite's sources to their data, real or synthetic, and one fingerprint of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from metabench.data.pack import PackError
from metabench.errors import UsageError
from metabench.planning.runspec import SourceChoice
from metabench.plugin.specs import DatasetSpec, resolve
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.data import ClassData, FunctionFamily

DataKind = Literal["real", "synthetic"]


def load_data(
    choice: SourceChoice, catalog: Catalog, *, data: DataKind
) -> ClassData | FunctionFamily:
    """Open the data of one source.

    Raises:
        DataError: when the data is missing, with the commands that get it.
        UsageError: when a synthetic look-alike is asked for and there is none.
    """
    spec = catalog.dataset(choice.name)
    params = choice.validated(spec.params_model())
    try:
        loaded: ClassData | FunctionFamily = _maker(spec, data)(params)
    except PackError as error:
        if spec.archive is None:
            raise
        raise error.with_commands_of(resolve(spec.archive)) from error
    return loaded


def _maker(spec: DatasetSpec, data: DataKind) -> Any:
    if data == "real" or spec.kind == "functions":
        return resolve(spec.factory)
    if spec.synthetic is None:
        raise UsageError(
            f"Dataset {spec.name} has no synthetic look-alike.", hint="Use --data real."
        )
    return resolve(spec.synthetic)


def fingerprint_of(loaded: Sequence[ClassData | FunctionFamily]) -> str:
    """One digest of all sources, in the suite's order."""
    return digest([data.fingerprint for data in loaded])
