"""The runs that a claim is about, grouped by the conditions that they ran under."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from metabench.papers.claims.schema import Claim, Party
from metabench.results.comparability import conditions, difference_in_words
from metabench.results.configurations import Configuration

Configs = dict[str, tuple[Configuration, ...]]
"""By party in words; none where it was not run."""
_Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Configurations that ran under the same conditions.

    Attributes:
        by_party: configurations of each party of the claim, by the party in words.
        notes: which runs of the folder are not used, in sentences.
    """

    by_party: Mapping[str, tuple[Configuration, ...]]
    notes: tuple[str, ...] = ()

    @property
    def configs(self) -> list[Configuration]:
        """All configurations."""
        return [config for configs in self.by_party.values() for config in configs]


def choose(claim: Claim, configs: Sequence[Configuration]) -> list[Found] | str:
    """Find the parties of a claim.

    Runs are compared under equal conditions only: version of the suite, budget, data, protocol.
    Each set of conditions with a run on both sides makes one evaluation; runs under other
    conditions are named.

    Returns:
        One entry per set of conditions, in the order of the budgets' names; or, if both sides were
        run but never under the same conditions, a sentence that says how these differ.
    """
    groups = _by_conditions(claim, configs)
    sides = [[str(party) for party in side] for side in (claim.left, claim.right) if side]
    usable = [
        key
        for key, group in groups.items()
        if all(any(group[name] for name in side) for side in sides)
    ]
    there = [any(group[name] for group in groups.values() for name in side) for side in sides]
    if not usable and all(there):
        first, second = next(
            pair
            for pair in combinations(groups, 2)
            if all(any(groups[key][name] for key in pair for name in side) for side in sides)
        )
        different = difference_in_words(dict(first), dict(second))
        names = " and ".join(_names(groups[key]) for key in (first, second))
        return f"{names} were run under different conditions: {different}"
    chosen = usable or list(groups)
    others = [key for key in groups if key not in chosen]
    return [
        Found(groups[key], tuple(_left_out(groups[other], key, other) for other in others))
        for key in chosen
    ]


def as_the_suite_has_it(found: Found, changes: Callable[[Configuration], Sequence[str]]) -> Found:
    """Of several configurations of a party, the one with the parameters of the suite.

    Args:
        found: configurations under equal conditions.
        changes: of one configuration, to the suite, in a few words each.
    """
    by_party, notes = dict(found.by_party), [*found.notes]
    for name, configs in by_party.items():
        changed = [tuple(changes(config)) for config in configs] if len(configs) > 1 else []
        if changed.count(()) == 1:
            by_party[name] = (configs[changed.index(())],)
            others = " and with ".join(", ".join(words) for words in changed if words)
            notes.append(f"Not used, because the suite has other parameters: {name} with {others}.")
    return Found(by_party, tuple(notes))


def _by_conditions(claim: Claim, configs: Sequence[Configuration]) -> dict[_Key, Configs]:
    """The configurations that the claim is about, ordered by budget."""
    parties = {str(party): party for party in (*claim.left, *claim.right)}
    groups: dict[_Key, Configs] = {}
    for config in sorted(configs, key=lambda config: config.spec.budget):
        spec = config.spec
        if (spec.suite, spec.setting) != (claim.suite, claim.setting):
            continue
        if claim.budget not in (None, spec.budget) or spec.weights or spec.start:
            continue
        for name, party in parties.items():
            if matches(party, config):
                key = tuple(conditions(spec).items())
                groups.setdefault(key, dict.fromkeys(parties, ()))[name] += (config,)
    return groups


def matches(party: Party, config: Configuration) -> bool:
    """Whether a configuration is the party that a claim names."""
    spec = config.spec
    strategy = spec.strategy
    if party.learner != spec.learner.name:
        return False
    if party.network is not None and (spec.space is None or spec.space.name != party.network):
        return False
    if party.strategy is not None and (strategy is None or strategy.name != party.strategy):
        return False
    params = {**(strategy.params if strategy else {}), **spec.learner.params}
    return all(name in params and params[name] == v for name, v in party.params.items())


def _left_out(group: Configs, here: _Key, there: _Key) -> str:
    different = difference_in_words(dict(here), dict(there))
    return (
        f"Not used, because the other side has no run under the same conditions: {_names(group)} "
        f"({different})."
    )


def _names(group: Configs) -> str:
    return ", ".join(name for name, configs in group.items() if configs)
