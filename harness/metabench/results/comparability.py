"""Whether two configurations can be compared: only if they ran under equal conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from metabench.planning.runspec import RunSpec, Training
from metabench.results.configurations import Configuration
from metabench.results.labels import _flat, description, said_name
from metabench.stats import uneven_seeds

_CONDITIONS = {
    *("suite", "suite_version", "setting", "metric", "metric_version", "budget"),
    *("data", "data_fingerprint", "protocol", "sources"),
}


def conditions(spec: RunSpec) -> dict[str, str]:
    """All that two runs must have in common to be compared, as text by name."""
    return {
        name: text
        for name, text in description(spec).items()
        if name.partition(".")[0] in _CONDITIONS
    }


def mismatch(first: Configuration, second: Configuration, *, evaluation: str | None = None) -> str:
    """Why two configurations cannot be compared, as ``queries 5 or 15``; "" where they can."""
    here, there = conditions(first.spec), conditions(second.spec)
    for config, facts in ((first, here), (second, there)):
        facts["evaluation"] = str(config.runs[0].record.evaluations.get(evaluation or ""))
    # A suite may give its learners training of different length; a user who sets it may not.
    trained = first.spec.has_weights and second.spec.has_weights
    if trained and (_length_was_set(first) or _length_was_set(second)):
        here |= _flat(first.spec.training.model_dump(), name="training")
        there |= _flat(second.spec.training.model_dump(), name="training")
    return difference_in_words(here, there)


def seeds_wanted(first: Configuration, second: Configuration) -> tuple[str, str]:
    """Why the seeds of two configurations give no interval, and what to do; "" where they do."""
    if first.seedless or second.seedless:
        return "", ""
    reason = uneven_seeds(len(first.runs), len(second.runs))
    fewer = min(first, second, key=lambda config: len(config.runs))
    return reason, f"Run one more seed of {fewer.label}." if reason else ""


def comparable_conditions(group: Iterable[Configuration]) -> dict[str, str]:
    """The conditions of configurations that can be compared, and a training length a user set."""
    found: dict[str, str] = {}
    for config in group:
        found |= conditions(config.spec)
        if _length_was_set(config):
            found |= _flat(config.spec.training.model_dump(), name="training")
    return found


def comparable_groups(configs: Sequence[Configuration]) -> list[list[int]]:
    """Positions of configurations in groups: within a group, any two can be compared.

    A group has equal conditions. A training length that a user set is grouped with equal lengths
    only. What is not trained can be compared with every length, and is in the largest group.

    >>> comparable_groups([])
    []
    """
    groups: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    for position, config in enumerate(configs):
        groups[tuple(conditions(config.spec).items())].append(position)
    return sorted(part for group in groups.values() for part in _of_one_length(configs, group))


def _of_one_length(configs: Sequence[Configuration], group: Sequence[int]) -> list[list[int]]:
    """A group of equal conditions in parts, by the length of training where a user set it."""
    trained = [i for i in group if configs[i].spec.has_weights]
    usual = [i for i in trained if not _length_was_set(configs[i])]
    lengths = {configs[i].spec.training for i in usual}
    apart: dict[Training, list[int]] = defaultdict(list)
    for i in trained:
        if i not in usual:
            length = configs[i].spec.training
            (usual if lengths == {length} else apart[length]).append(i)
    parts = [usual, *apart.values()]
    max(parts, key=len).extend(i for i in group if i not in trained)
    return [sorted(part) for part in parts if part]


def difference_in_words(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """Where two descriptions differ, the first three places; "" where they do not."""
    names = dict.fromkeys([*first, *second])
    said = [
        f"{_in_words(name)} {first.get(name, 'absent')} or {second.get(name, 'absent')}"
        for name in names
        if first.get(name) != second.get(name)
    ]
    said = list(dict.fromkeys(said))  # sources often agree
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return ", ".join(said[:3]) + more


def _in_words(name: str) -> str:
    """A dotted name without its scope; the name of a plugin is said by what it is.

    >>> _in_words("protocol.queries"), _in_words("space.name"), _in_words("learner.params.order")
    ('queries', 'network', 'order')
    >>> _in_words("sources.0.params.x_variance"), _in_words("suite_version")
    ('x_variance', 'suite version')
    """
    scope, _, rest = name.partition(".")
    if rest in ("", "name") or scope == "sources":
        return said_name(name)
    return rest.removeprefix("params.")


def _length_was_set(config: Configuration) -> bool:
    return config.spec.has_weights and bool(config.changes.get("budget"))
