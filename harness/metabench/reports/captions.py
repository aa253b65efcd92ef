"""What a table shows, in words: metric, formula, unit of n, protocol, and what sets rows apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench.papers.verdict import WIDTH_FACTOR
from metabench.planning.runspec import EpisodeProtocol, RunSpec
from metabench.reports.tables import Metric
from metabench.results.configurations import Pooled
from metabench.stats import RESAMPLES

AVERAGE = "average"
"""The column beside the sources."""

IntervalKind = Literal["field", "seeds", "bootstrap"]

_OVER_SEEDS = "Scores of several seeds are averaged per episode before the interval is made."
_AVERAGED = f"The {AVERAGE} is the plain mean of the sources' means"
_ROOT_SUM = f"{_AVERAGED}, its half-width sqrt(sum of squared half-widths)/(number of sources)."
_FORMULAS: dict[IntervalKind, str] = {
    "field": f"mean ± 1.96 std/sqrt(n), ddof 0, n counts episodes. {_ROOT_SUM}",
    "bootstrap": (
        "mean ± half the 95 % percentile bootstrap interval "
        f"({RESAMPLES:,} resamples), n counts episodes. {_ROOT_SUM}"
    ),
    "seeds": (
        "mean ± t(0.975, n-1) std/sqrt(n), ddof 1, over the means of single runs, n counts seeds. "
        f"{_AVERAGED} of a run, taken run by run; one seed has no interval."
    ),
}


_VERDICTS = (
    "Verdicts: match: our interval lies inside the printed one; close: the difference is within "
    "sqrt(sum of both squared half-widths), and our half-width at most "
    f"{WIDTH_FACTOR} times the printed one; differs: it is not within; not comparable: as the "
    "reason says. For match and close the ratio of the spreads over episodes (standard deviations) "
    "must lie in what sampling gives, too: the 95 % percentile interval of "
    f"{RESAMPLES:,} bootstrap resamples of our episodes."
)


def caption(configs: Sequence[Pooled], *, interval: IntervalKind) -> str:
    """The caption of a table whose rows are ``configs``, in their order."""
    specs = [config.spec for config in configs]
    metric = "Accuracy in %" if specs[0].metric == "accuracy" else "Mean squared error (mse)"
    sentences = (
        f"{metric} on the query sets of meta-test episodes: {_FORMULAS[interval]}",
        _OVER_SEEDS if interval != "seeds" and any(len(c.runs) > 1 for c in configs) else "",
        f"Episodes per source: {_either(_n_per_source(configs))}.",
        _protocol(specs),
        _normalization(configs),
        _pairing(configs),
        _budgets(specs),
        _stamps(configs),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def paper_caption(configs: Sequence[Pooled], *, metric: Metric, interval: IntervalKind) -> str:
    """What our columns beside a paper's show, of the configurations that stand there."""
    said = "accuracy in %" if metric == "accuracy" else "mean squared error (mse)"
    sentences = (
        f"Ours: {said} on the query sets of meta-test episodes: {_FORMULAS[interval]}",
        _OVER_SEEDS if interval != "seeds" and any(len(c.runs) > 1 for c in configs) else "",
        *_conditions(configs),
        _budgets([config.spec for config in configs]) if configs else "",
        _stamps(configs),
        _VERDICTS,
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _conditions(configs: Sequence[Pooled]) -> list[str]:
    """How ours were trained and tested, once for all settings of suites where that is the same."""
    from metabench.results.paired_scores import training_note  # which imports this module

    places: dict[str, list[Pooled]] = {}
    for config in configs:
        places.setdefault(f"{config.spec.suite} @ {config.setting_and_evaluation}", []).append(
            config
        )
    where: dict[str, list[str]] = {}
    for place, group in places.items():
        sentences = (
            f"Episodes per source: {_either(_n_per_source(group))}.",
            _protocol([config.spec for config in group]),
            _normalization(group),
            _pairing(group),
            training_note(group),
        )
        where.setdefault(" ".join(filter(None, sentences)), []).append(place)
    if len(places) < 2:
        return list(where)
    return [f"{', '.join(names)}: {text}" for text, names in where.items()]


def _n_per_source(configs: Sequence[Pooled]) -> list[int]:
    return sorted({n for config in configs for n in Counter(config.source.tolist()).values()})


def _protocol(specs: Sequence[RunSpec]) -> str:
    def said(name: str) -> str:
        return _either(getattr(spec.protocol, name) for spec in specs)

    if specs[0].task == "classification":
        shape = f"{said('ways')}-way {said('shots')}-shot, queries per class: {said('queries')}"
    else:
        shape = f"Support points: {said('shots')}, query points: {said('queries')}"
    steps, weights = said("steps_at_test"), said("selection")
    return f"{shape}, inner steps at test: {steps}, tested weights: {weights}."


def _normalization(configs: Sequence[Pooled]) -> str:
    """The protocol's, and whose predictions it concerns: a learner or network need not use it."""
    mode = _either(config.spec.protocol.normalization for config in configs)
    using = [config for config in configs if config.runs[0].record.transductive]
    who = ", ".join(_distinct(config.spec.learner.name for config in using))
    statistics = "the statistics of the query set"
    if len(using) == len(configs):
        return f"Normalization: {mode}; predictions use {statistics}."
    if using:
        return f"Normalization: {mode}; only predictions of {who} use {statistics}."
    return f"Normalization: {mode}; no prediction uses {statistics}."


def _pairing(configs: Sequence[Pooled]) -> str:
    if len(configs) == 1:
        return ""
    differences = _differences([config.spec for config in configs])
    if differences:
        return f"Rows differ in protocol ({'; '.join(differences)}): only equal ones are paired."
    first = configs[0].key
    if not all(_same_episodes(first, config.key) for config in configs[1:]):
        return "Not all rows are tested on the same episodes: only those that two rows share pair."
    return "All rows are tested on the same episodes, so their differences are paired."


def _same_episodes(first: NDArray[np.object_], second: NDArray[np.object_]) -> bool:
    return np.array_equal(first, second) or sorted(first) == sorted(second)


def _differences(specs: Sequence[RunSpec]) -> list[str]:
    """What the rows should have in common and have not, as ``queries 5 or 15``."""
    shared: dict[str, list[Any]] = {
        name: [getattr(spec.protocol, name) for spec in specs]
        for name in EpisodeProtocol.model_fields
    }
    shared["suite version"] = [spec.suite_version for spec in specs]
    shared["data"] = [spec.data for spec in specs]
    parameters = [_source_parameters(spec) for spec in specs]
    names = {name: None for own in parameters for name in own}
    shared |= {name: [own.get(name, "") for own in parameters] for name in names}
    differences = {name: values for name, values in shared.items() if len(set(values)) > 1}
    if not differences.keys() & names.keys():
        differences["data fingerprint"] = [spec.data_fingerprint for spec in specs]
    return [
        f"{name} {_either(values)}" for name, values in differences.items() if len(set(values)) > 1
    ]


def _source_parameters(spec: RunSpec) -> dict[str, str]:
    """Each parameter of the sources with its values, one where all sources have the same."""
    values: dict[str, dict[str, None]] = {}
    for source in spec.sources:
        for name, value in source.params.items():
            values.setdefault(name, {})[str(value)] = None
    return {name: ", ".join(of_sources) for name, of_sources in values.items()}


def _budgets(specs: Sequence[RunSpec]) -> str:
    budgets = _distinct(spec.budget for spec in specs)
    if len(budgets) == 1:
        return f"Budget {budgets[0]}."
    return f"Rows differ in budget ({', '.join(budgets)}): only rows of equal budget are compared."


def _stamps(configs: Sequence[Pooled]) -> str:
    stamps = _distinct(
        stamp for config in configs for run in config.runs for stamp in run.record.stamps
    )
    if not stamps:
        return ""
    return f"Stamped {', '.join(stamps)}: such rows do not stand beside printed numbers."


def _either(values: Iterable[object]) -> str:
    return " or ".join(_distinct(str(value) for value in values))


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
