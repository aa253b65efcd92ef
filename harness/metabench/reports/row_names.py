"""What the rows of a table are called: the learner, and what tells rows of one learner apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metabench.results.configurations import Configuration
from metabench.results.labels import description, short_name, telling


def variants_of(configs: Sequence[Configuration]) -> dict[str, tuple[str, ...]]:
    """How each configuration differs from rows that would look the same, and from its suite."""
    alike: dict[tuple[str, ...], list[Configuration]] = defaultdict(list)
    for config in configs:
        spec = config.spec
        alike[spec.learner.name, config.runs[0].record.backend, spec.budget].append(config)
    variants = {}
    for group in alike.values():
        leaves = [description(config.spec) for config in group]
        differing = set(telling(leaves))
        for config, flat in zip(group, leaves, strict=True):
            own = sorted((differing | _set_by_user(config)) & flat.keys())
            said = [f"{short_name(name)}={flat[name]}" for name in own]
            said += [tuned.words for tuned in config.tuned]
            variants[config.config_id] = tuple(dict.fromkeys(said))  # sources often agree
    return variants


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
