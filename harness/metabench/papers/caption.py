"""What our columns beside a paper's show, in words."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.papers.verdict import WIDTH_FACTOR
from metabench.reports.captions import (
    IntervalKind,
    budget_notes,
    protocol_notes,
    scores_note,
    training_note,
)
from metabench.results.configurations import Configuration
from metabench.results.metrics import Metric
from metabench.stats import RESAMPLES

_VERDICTS = (
    "Verdicts: match: our interval lies inside the printed one; close: the difference is within "
    "sqrt(sum of both squared half-widths), and our half-width at most "
    f"{WIDTH_FACTOR} times the printed one; differs: it is not within; not comparable: as the "
    "reason says. For match and close the ratio of the spreads over episodes (standard deviations) "
    "must lie in what sampling gives, too: the 95 % percentile interval of "
    f"{RESAMPLES:,} bootstrap resamples of our episodes."
)


def paper_caption(
    configs: Sequence[Configuration], *, metric: Metric, interval: IntervalKind
) -> str:
    """What our columns beside a paper's show, of the configurations that stand there."""
    said = scores_note(configs, metric=metric, interval=interval)
    return " ".join([f"Ours: {said}", *_conditions(configs), *budget_notes(configs), _VERDICTS])


def _conditions(configs: Sequence[Configuration]) -> list[str]:
    """How ours were trained and tested, once for all settings of suites where that is the same."""
    places: dict[str, list[Configuration]] = {}
    for config in configs:
        place = f"{config.spec.suite} @ {config.setting_and_evaluation}"
        places.setdefault(place, []).append(config)
    where: dict[str, list[str]] = {}
    for place, group in places.items():
        sentences = [*protocol_notes(group), *filter(None, [training_note(group)])]
        where.setdefault(" ".join(sentences), []).append(place)
    if len(places) < 2:
        return list(where)
    return [f"{', '.join(names)}: {text}" for text, names in where.items()]
