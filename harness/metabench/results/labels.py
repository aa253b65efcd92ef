"""What configurations are called where several stand beside each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from metabench.render.grid import plain
from metabench.results.configurations import Pooled, configurations
from metabench.results.reading import Results


def labelled(results: Results) -> dict[str, Pooled]:
    """The runs of each configuration by a label of its own, in the order of the labels.

    The label is the learner's name, with suite, budget and network where these differ, and with
    the beginning of the configuration's digest where even they are equal.
    """
    pooled = configurations(results.runs)
    labels = _labels(pooled)
    return dict(sorted(zip(labels, pooled, strict=True), key=lambda pair: pair[0]))


def _labels(configs: Sequence[Pooled]) -> list[str]:
    labels = [plain(config.spec.learner.name) for config in configs]
    for i in range(len(_facts(configs[0])) if configs else 0):
        alike: dict[str, set[str]] = defaultdict(set)
        for label, config in zip(labels, configs, strict=True):
            alike[label].add(_facts(config)[i])
        labels = [
            f"{label} {plain(_facts(config)[i])}" if len(alike[label]) > 1 else label
            for label, config in zip(labels, configs, strict=True)
        ]
    counts = Counter(labels)
    return [
        label if counts[label] == 1 else f"{label} {config.config_id[:6]}"
        for label, config in zip(labels, configs, strict=True)
    ]


def _facts(config: Pooled) -> tuple[str, ...]:
    spec, record = config.spec, config.runs[0].record
    return f"{spec.suite}@{spec.setting}", spec.budget, record.backend
