"""Which metrics a run has: the headline's, which decides, and further ones, which do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from metabench.errors import UsageError
from metabench.planning.suite import Suite
from metabench.plugin.contracts.metric import MetricFacts

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


def check_metrics(suite: Suite, asked: Iterable[str], catalog: Catalog) -> tuple[str, ...]:
    """The further metrics of a run, each once: the suite's, then those that the user asks for.

    Raises:
        UsageError: for a metric that no plugin provides, or of another kind of task.
    """
    names = dict.fromkeys((suite.metric, *suite.metrics, *asked))
    for name in names:
        metric = catalog.metric(name)
        if suite.task not in metric.kinds:
            fitting = sorted(m.name for m in catalog.metrics.values() if suite.task in m.kinds)
            raise UsageError(
                f"Metric {name} is for {' and '.join(metric.kinds)}, "
                f"but suite {suite.name} is {suite.task}.",
                hint=f"Metrics for {suite.task}: {', '.join(fitting) or 'none'}.",
            )
    return tuple(name for name in names if name != suite.metric)


def metric_facts(names: Iterable[str], catalog: Catalog) -> dict[str, MetricFacts]:
    """What a record keeps of each metric, by name.

    Raises:
        UsageError: for a metric that no plugin provides.
    """
    return {name: catalog.metric(name).facts for name in names}
