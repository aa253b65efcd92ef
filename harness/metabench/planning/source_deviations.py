"""Which deviations from the sources hold for a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
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
    deviations: Iterable[SourceDeviation],
    params: Mapping[str, Collection[str]],
    names: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> list[str]:
    """A sentence for each condition on what no run has.

    Args:
        deviations: of a learner or a suite.
        params: by scope, such as ``learner``, the names of the parameters that there are. Those of
            protocol and budget need not be given; of other scopes that are not, all are taken.
        names: the same for conditions without a dot, such as ``setting``, and their values.
    """
    known = {
        "protocol": set(EpisodeProtocol.model_fields),
        "budget": set(Training.model_fields),
        **params,
    }
    errors = []
    for name, values in ((n, v) for one in deviations for n, v in one.when.items()):
        scope, dot, parameter = name.partition(".")
        if dot and parameter not in known.get(scope, (parameter,)):
            kind = f"{scope} parameter"
            errors.append(unknown(kind, parameter, known[scope], of="a deviation's `when`"))
        for value in () if dot else values:
            if value is not None and value not in names.get(scope, (value,)):
                errors.append(unknown(scope, str(value), names[scope], of="a deviation's `when`"))
    return list(dict.fromkeys(error.in_full for error in errors))
