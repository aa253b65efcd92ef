"""The built-in plugins, registered through the same entry point as installed ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from metabench import (
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    MetricSpec,
    NasStrategySpec,
    SearchSpaceSpec,
    TrackerSpec,
    hookimpl,
)

METABENCH_API = 1


@hookimpl
def metabench_datasets() -> Iterable[DatasetSpec]:
    """Toy regression and images."""
    from metabench_plugins.datasets.specs import dataset_specs

    return dataset_specs()


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """The meta-learners."""
    from metabench_plugins.learners.specs import learner_specs

    return learner_specs()


@hookimpl
def metabench_search_spaces() -> Iterable[SearchSpaceSpec]:
    """The networks."""
    from metabench_plugins.spaces.specs import space_specs

    return space_specs()


@hookimpl
def metabench_nas_strategies() -> Iterable[NasStrategySpec]:
    """The ways from architecture logits to an architecture."""
    from metabench_plugins.strategies.specs import strategy_specs

    return strategy_specs()


@hookimpl
def metabench_metrics() -> Iterable[MetricSpec]:
    """How predictions are scored."""
    from metabench_plugins.metrics.specs import metric_specs

    return metric_specs()


@hookimpl
def metabench_suites() -> Iterable[Traversable]:
    """The suite files: inside an installed package, or in ``benchmarks/`` of a checkout."""
    return list(_yaml_files(files(__name__).joinpath("suite_files")))


@hookimpl
def metabench_references() -> Iterable[Traversable]:
    """The papers' tables."""
    return list(_yaml_files(files(__name__).joinpath("suite_files", "references")))


@hookimpl
def metabench_claims() -> Iterable[Traversable]:
    """What the papers say of their results."""
    return list(_yaml_files(files(__name__).joinpath("suite_files", "claims")))


@hookimpl
def metabench_executors() -> Iterable[ExecutorSpec]:
    """Processes on this machine, or a Ray cluster."""
    from metabench_plugins.executors.specs import executor_specs

    return executor_specs()


@hookimpl
def metabench_trackers() -> Iterable[TrackerSpec]:
    """Files, and the services that many laboratories use."""
    from metabench_plugins.trackers.specs import tracker_specs

    return tracker_specs()


def _yaml_files(folder: Traversable) -> Iterator[Traversable]:
    if not folder.is_dir():
        checkout = Path(__file__).resolve().parents[2] / "benchmarks"
        folder = checkout if folder.name == "suite_files" else checkout / folder.name
    if folder.is_dir():
        yield from sorted(
            (file for file in folder.iterdir() if file.name.endswith(".yaml")),
            key=lambda file: file.name,
        )
