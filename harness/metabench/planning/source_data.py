"""From a suite's sources to data: validated parameters, real or synthetic, and one fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from metabench.data.pack import PackError
from metabench.errors import UsageError
from metabench.planning.runspec import SourceChoice, digest
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.specs import DatasetSpec, resolve

if TYPE_CHECKING:
    import torch

    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts import ClassData, FunctionFamily
    from metabench.sampling.sources import ClassSource, FunctionSource

DataKind = Literal["real", "synthetic"]


def load_data(
    choice: SourceChoice, catalog: Catalog, *, data: DataKind
) -> ClassData | FunctionFamily:
    """Open the data of one source.

    Raises:
        DataError: when it is not there, with the commands that help.
        UsageError: when a synthetic look-alike is asked for and there is none.
    """
    spec = catalog.dataset(choice.name)
    params = spec.params_model().model_validate(choice.params)
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
            f"Dataset {spec.name} has no synthetic look-alike.", hint="Run it with --data real."
        )
    return resolve(spec.synthetic)


def require_values(loaded: Sequence[ClassData | FunctionFamily]) -> None:
    """Refuse what has no value at every point of a line, as a grid of queries needs it.

    Raises:
        UsageError: for images, functions of several inputs, and families without ``values``.
    """
    for data in loaded:
        if not hasattr(data, "values") or getattr(data, "inputs", 0) != 1:
            raise UsageError(
                "A grid of queries needs functions of one input that can be asked anywhere.",
                hint="A family of functions that can has the method `values`.",
            )


def fingerprint_of(loaded: Sequence[ClassData | FunctionFamily]) -> str:
    """One digest of all sources, in the suite's order."""
    return digest([data.fingerprint for data in loaded])


def open_source(
    name: str, data: ClassData | FunctionFamily, *, device: torch.device
) -> ClassSource | FunctionSource:
    """Put the data of one source on a device, ready to be sampled."""
    from metabench.plugin.contracts import ClassData
    from metabench.sampling.sources import ClassSource, FunctionSource

    if isinstance(data, ClassData):
        return ClassSource(name, data, device=device)
    return FunctionSource(name, data, device=device)


def task_of(data: ClassData | FunctionFamily, ways: int) -> TaskShape:
    """What a network must accept and produce for the data of a source."""
    from metabench.plugin.contracts import ClassData

    if isinstance(data, ClassData):
        height, width, channels = data.images.shape[1:]
        return TaskShape("classification", (channels, height, width), ways)
    return TaskShape("regression", (data.inputs,), data.outputs)
