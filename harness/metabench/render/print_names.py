"""The names of learners, networks and suites as papers print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metabench.errors import MetabenchError
from metabench.planning.suite import load_suite
from metabench.text import plain

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.specs import Spec


@dataclass(frozen=True, slots=True)
class PrintNames:
    """What a paper calls things; a name that is not here is printed as it is.

    Attributes:
        learners: by name on the command line.
        networks: likewise.
        suites: likewise.
    """

    learners: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    suites: Mapping[str, str] = field(default_factory=dict)

    def learner(self, name: str) -> str:
        """A learner, ``Meta-SGD``."""
        return plain(self.learners.get(name, name))

    def network(self, words: str) -> str:
        """A network with its parameters.

        >>> PrintNames(networks={"conv4": "Conv-4"}).network("conv4(filters=32)")
        'Conv-4 (filters=32)'
        """
        name, bracket, rest = words.partition("(")
        title = self.networks.get(name)
        if title is None:
            return plain(words)
        return plain(f"{title} {bracket}{rest}".strip())

    def suite(self, name: str) -> str:
        """A suite, ``MiniImagenet``."""
        return plain(self.suites.get(name, name))


def print_names(catalog: Catalog) -> PrintNames:
    """The names that the plugins of a catalog give to what they provide."""
    suites = {}
    for name, file in catalog.suites.items():
        try:
            suites[name] = load_suite(file).title
        except MetabenchError:  # a broken file concerns no table of finished runs
            continue
    return PrintNames(
        _titles(catalog.learners),
        _titles(catalog.search_spaces),
        {name: title for name, title in suites.items() if title},
    )


def _titles(specs: Mapping[str, Spec]) -> dict[str, str]:
    return {name: spec.title for name, spec in specs.items() if spec.title}
