"""What configurations are called where several are shown together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from metabench.planning.runspec import RunSpec
from metabench.planning.yaml_files import flow
from metabench.plugin.contracts.file_param import file_in_words, is_file_value
from metabench.results.configurations import Configuration, configurations
from metabench.results.reading import Results
from metabench.text import in_order, plain

NETWORK = "network"
"""The word for what records call ``space``."""


_VERSIONS = ("suite_version", "learner.version", "space.version", "strategy.version")
"""What gives parameters other defaults, the strongest first."""

_MOST_FACTS = 2
"""Facts in a label."""

_OF_VERSIONS = (*_VERSIONS, "learner.", "space.params.", "strategy.params.", "protocol.")
"""How names begin whose values versions set."""


def labelled(results: Results) -> dict[str, Configuration]:
    """The runs of each configuration by a label of its own, in the order of the labels.

    The label is the learner's name, with suite, budget and network where these differ. Where all of
    these are equal, it has the first facts that tell, or else the beginning of the configuration's
    digest.
    """
    pooled = configurations(results.runs)
    labels = _labels(pooled)
    return dict(sorted(zip(labels, pooled, strict=True), key=lambda pair: in_order(pair[0])))


def _labels(configs: Sequence[Configuration]) -> list[str]:
    labels = [plain(config.spec.learner.name) for config in configs]
    for i in range(len(_facts(configs[0])) if configs else 0):
        alike: dict[str, set[str]] = defaultdict(set)
        for label, config in zip(labels, configs, strict=True):
            alike[label].add(_facts(config)[i])
        labels = [
            f"{label} {plain(_facts(config)[i])}" if len(alike[label]) > 1 else label
            for label, config in zip(labels, configs, strict=True)
        ]
    labels = _with_facts(labels, configs)
    counts = Counter(labels)
    return [
        label if counts[label] == 1 else f"{label} {config.config_id[:6]}"
        for label, config in zip(labels, configs, strict=True)
    ]


def _with_facts(labels: Sequence[str], configs: Sequence[Configuration]) -> list[str]:
    """The labels; equal ones with the first facts in which their configurations differ."""
    apart = told_apart(labels, [description(config.spec) for config in configs])
    return [
        plain(" ".join([label, *said[:_MOST_FACTS]]))
        for label, said in zip(labels, apart, strict=True)
    ]


def _facts(config: Configuration) -> tuple[str, ...]:
    spec, record = config.spec, config.runs[0].record
    return f"{spec.suite}@{spec.setting}", spec.budget, record.backend


def description(spec: RunSpec) -> dict[str, str]:
    """Everything but the seed as text by dotted name, ``{"learner.params.inner_lr": "0.01"}``."""
    parts = [_flat(value, name=name) for name, value in spec.without_seed().items()]
    return {name: text for part in parts for name, text in part.items()}


def telling(descriptions: Sequence[Mapping[str, str]]) -> list[str]:
    """The names in which descriptions differ, in the order of the first that has them.

    The digest of the data is named only if nothing else differs: what changed the data says more.

    >>> telling([{"order": "first", "steps": "5"}, {"order": "second", "steps": "5"}])
    ['order']
    """
    names = dict.fromkeys(name for own in descriptions for name in own)
    found = [name for name in names if len({own.get(name) for own in descriptions}) > 1]
    return [name for name in found if name != "data_fingerprint" or len(found) == 1]


def telling_apart(descriptions: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of :func:`telling` that a label needs.

    A suite or a plugin of another version has other defaults. A label names the version, and not
    what follows from it.

    >>> old = {"learner.version": "1", "protocol.selection": "last", "suite_version": "1"}
    >>> new = {"learner.version": "2", "protocol.selection": "meta-val", "suite_version": "2"}
    >>> telling_apart([old, new])
    ['suite_version']
    """
    names = telling(descriptions)
    versions: list[str] = []
    of_versions = (name for name in names if name in _VERSIONS)
    for name in sorted(of_versions, key=_VERSIONS.index):
        if not _follows(name, versions, descriptions):
            versions.append(name)
    return [
        name
        for name in names
        if name in versions
        or not (name.startswith(_OF_VERSIONS) and _follows(name, versions, descriptions))
    ]


def _follows(name: str, versions: Sequence[str], descriptions: Sequence[Mapping[str, str]]) -> bool:
    """Whether the value of a name is known from the versions."""
    if not versions:
        return False
    keys = {tuple(own.get(version) for version in versions) for own in descriptions}
    pairs = {
        (tuple(own.get(version) for version in versions), own.get(name)) for own in descriptions
    }
    return len(pairs) == len(keys)


def said_name(name: str) -> str:
    """The last part of a dotted name for a sentence; it is that of a parameter, but for versions.

    >>> said_name("suite_version"), said_name("learner.version"), said_name("data.x_variance")
    ('suite version', 'learner version', 'x_variance')
    """
    return name.replace("_", " ").replace(".", " ") if name in _VERSIONS else short_name(name)


def said_facts(facts: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The facts of these names for a sentence, each once: sources often agree.

    >>> said_facts({"suite_version": "2", "data.x": "1"}, ["suite_version", "data.y"])
    ['suite version 2']
    """
    return list(dict.fromkeys(f"{said_name(n)} {facts[n]}" for n in names if n in facts))


def told_apart(places: Sequence[Hashable], facts: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """What tells each of several from the others of its place, in words.

    >>> told_apart(["a", "a", "b"], [{"suite_version": v} for v in "121"])
    [['suite version 1'], ['suite version 2'], []]
    """
    alike: dict[Hashable, list[Mapping[str, str]]] = defaultdict(list)
    for place, own in zip(places, facts, strict=True):
        alike[place].append(own)
    return [
        said_facts(own, telling_apart(alike[place]))
        for place, own in zip(places, facts, strict=True)
    ]


def setting(name: str, value: str) -> str:
    """A fact of a row: a parameter as ``--set`` takes it, a version in words.

    >>> setting("learner.params.order", "first"), setting("suite_version", "2")
    ('order=first', 'suite version 2')
    """
    return f"{said_name(name)}{' ' if name in _VERSIONS else '='}{value}"


def short_name(name: str) -> str:
    """The last part of a dotted name; for the name of a plugin, what kind of plugin it is.

    >>> short_name("learner.params.inner_lr"), short_name("space.name")
    ('inner_lr', 'network')
    """
    return NETWORK if name == "space.name" else name.removesuffix(".name").rpartition(".")[2]


def in_words(value: Any) -> str:
    """A value of a parameter: a list or mapping on one line, as ``--set`` takes it.

    >>> in_words({"cell": [[0, 2, "skip"]]}), in_words(0.01), in_words(None)
    ('{cell: [[0, 2, skip]]}', '0.01', 'None')
    """
    if is_file_value(value):
        return file_in_words(value)
    return flow(value) if isinstance(value, list | dict) else str(value)


def _flat(value: Any, *, name: str) -> dict[str, str]:
    """A nested value as text by dotted name; the value of a parameter stays whole."""
    if name.rpartition(".")[0].endswith(".params") or not isinstance(value, list | dict):
        return {name: in_words(value)}
    if isinstance(value, list):
        value = {str(i): item for i, item in enumerate(value)}
    return {
        k: v for key, item in value.items() for k, v in _flat(item, name=f"{name}.{key}").items()
    }
