"""The metrics of a run: the headline's, which decides, and further ones, which decide nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from metabench.nn.scores import score_of
from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.metric import MetricFacts, Score

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Scoring:
    """How the predictions of a run are scored.

    Attributes:
        metric: the headline's.
        headline: its function, which alone selects weights.
        further: functions of further metrics, by name.
    """

    metric: MetricFacts
    headline: Score
    further: Mapping[str, Score]

    def beside(self, outputs: Tensor, y: Tensor) -> dict[str, list[float]]:
        """The further metrics of the same predictions, by name, one number per task."""
        return {name: score(outputs, y).tolist() for name, score in self.further.items()}


def scoring_of(spec: RunSpec, catalog: Catalog, *, further: Iterable[str] = ()) -> Scoring:
    """The metrics of a run.

    Args:
        spec: of the run.
        catalog: where metrics are found.
        further: names of further metrics.

    Raises:
        UsageError: when no plugin provides one.
    """
    headline = catalog.metric(spec.metric)
    others = {name: score_of(catalog.metric(name)) for name in further}
    return Scoring(headline.facts, score_of(headline), others)
