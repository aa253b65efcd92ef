"""What the rows of a table are called: the learner, and what tells rows of one learner apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metabench.plugin.contracts.file_param import file_in_words
from metabench.results.configurations import Configuration
from metabench.results.labels import description, setting, telling_apart

SUITE_VERSION = "suite version "
"""How a fact of a row begins that says the version of its suite."""

_WEIGHTS = ("weights", "start")
"""Fields of a run that say where its weights are from: the name of a row does so in words."""


def variants_of(configs: Sequence[Configuration]) -> dict[str, tuple[str, ...]]:
    """How each configuration differs from rows that would look the same, and from its suite."""
    alike: dict[tuple[str, ...], list[Configuration]] = defaultdict(list)
    for config in configs:
        spec = config.spec
        alike[spec.learner.name, config.runs[0].record.backend, spec.budget].append(config)
    variants = {}
    for group in alike.values():
        leaves = [description(config.spec) for config in group]
        differing = {n for n in telling_apart(leaves) if n.partition(".")[0] not in _WEIGHTS}
        for config, flat in zip(group, leaves, strict=True):
            own = sorted((differing | _set_by_user(config)) & flat.keys())
            said = [setting(name, flat[name]) for name in own]
            said += _given_weights(config, group)
            said += _start(config)
            said += [tuned.words for tuned in config.tuned]
            variants[config.config_id] = tuple(dict.fromkeys(said))  # sources often agree
    return variants


def _given_weights(config: Configuration, group: Sequence[Configuration]) -> list[str]:
    """Where the weights of a row are from that it has not trained; their digest where it tells."""
    weights = config.spec.weights
    if weights is None:
        return []
    others = [c.spec.weights for c in group if c.spec.weights is not None]
    alike = {w.training or w.digest for w in others if w.words == weights.words}
    return [weights.words, *([(weights.training or weights.digest)[:6]] if len(alike) > 1 else [])]


def _start(config: Configuration) -> list[str]:
    """The file whose weights a training starts from."""
    start = config.spec.start
    return [] if start is None else [f"starts from {file_in_words(start.to_json())}"]


def names_of(configs: Sequence[Configuration]) -> list[str]:
    """The name of each row of one table: the learner, with its variant in brackets."""
    variants = variants_of(configs)
    found = []
    for config in configs:
        said = ", ".join(variants[config.config_id])
        found.append(f"{config.spec.learner.name} ({said})" if said else config.spec.learner.name)
    return found


def _set_by_user(config: Configuration) -> set[str]:
    """Names of parameters of the learner and its strategy that a user set.

    What is set of the network is part of its name; other changes are stamped.
    """
    changes = config.changes
    return {
        f"{scope}.params.{name}"
        for scope in ("learner", "strategy")
        for name in changes.get(scope, {})
    }
