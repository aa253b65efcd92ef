"""From a suite's sources to their data, real or synthetic, and one fingerprint of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from metabench.data.pack import PackError
from metabench.errors import UsageError
from metabench.planning.networks import built
from metabench.planning.runspec import SourceChoice
from metabench.plugin.specs import DatasetSpec, resolve
from metabench.sampling.flaws import refuse_flaws
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.data import ClassData, FunctionFamily

DataKind = Literal["real", "synthetic"]


def load_data(
    choice: SourceChoice, catalog: Catalog, *, data: DataKind
) -> ClassData | FunctionFamily:
    """Open the data of one source; it is what its contract says.

    Raises:
        DataError: when the data is missing, with the commands that get it.
        UsageError: when a synthetic look-alike is asked for and there is none.
        PluginError: when the dataset cannot be opened, or breaks its contract.
    """
    spec = catalog.dataset(choice.name)
    params = choice.validated(spec.params_model())
    try:
        make = _maker(spec, data)
        loaded: ClassData | FunctionFamily = built(f"Dataset {choice}", lambda: make(params))
    except PackError as error:
        if spec.archive is None:
            raise
        raise error.with_commands_of(resolve(spec.archive), spec.name) from error
    refuse_flaws(loaded, spec.kind, dataset=spec.name)
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
