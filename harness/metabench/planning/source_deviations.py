"""Which deviations from the sources hold for a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metabench.errors import unknown
from metabench.planning.runspec import EpisodeProtocol, RunSpec, Training
from metabench.plugin.source_deviation import SourceDeviation


def holds(deviation: SourceDeviation, spec: RunSpec) -> bool:
    """Whether a deviation of a run's learner or suite concerns this run."""
    if deviation.learners and spec.learner.name not in deviation.learners:
        return False
    return all(_fulfilled(name, values, spec) for name, values in deviation.when.items())


def _fulfilled(name: str, values: Sequence[Any], spec: RunSpec) -> bool:
    found = _found(name, spec)
    if found:
        return any(value in values for value in found)
    # The parameter is younger than the record: what it would switch on was not there.
    return any(isinstance(value, str) or not value for value in values)


def _found(name: str, spec: RunSpec) -> list[Any]:
    """What a run has under the name of a condition, of data one value a source; else nothing."""
    scope, dot, parameter = name.partition(".")
    space, strategy = spec.space, spec.strategy
    if not dot:
        names = {"network": space and space.name, "strategy": strategy and strategy.name}
        return [names[scope] if scope in names else getattr(spec, scope)]
    params = {
        "learner": [spec.learner.params],
        "network": [space.params] if space else [],
        "strategy": [strategy.params] if strategy else [],
        "data": [source.params for source in spec.sources],
        "protocol": [spec.protocol.model_dump()],
        "budget": [spec.training.model_dump()],
    }
    return [own[parameter] for own in params[scope] if parameter in own]


def strange_conditions(
    deviations: Iterable[SourceDeviation], learner_params: Iterable[str]
) -> list[str]:
    """A sentence for each condition on a parameter that no run has.

    Args:
        deviations: of a learner or a suite.
        learner_params: the names of the parameters of the learners that they concern.
    """
    known = {
        "learner": set(learner_params),
        "protocol": set(EpisodeProtocol.model_fields),
        "budget": set(Training.model_fields),
    }
    parts = [name.split(".", 1) for one in deviations for name in one.when if "." in name]
    errors = [
        unknown(f"{scope} parameter", parameter, known[scope], of="a deviation's `when`")
        for scope, parameter in parts
        if scope in known and parameter not in known[scope]
    ]
    return list(dict.fromkeys(error.in_full for error in errors))
