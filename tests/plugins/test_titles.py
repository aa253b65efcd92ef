"""The names that papers print: every built-in learner, network and suite has one of its own."""

from __future__ import annotations

from metabench.plugin.catalog import Catalog
from metabench.render.print_names import print_names


def test_every_built_in_name_has_a_title_of_its_own(catalog: Catalog) -> None:
    titles = print_names(catalog)
    (built_in,) = (plugin for plugin in catalog.plugins if plugin.name == "builtin")
    for kind, known in (
        ("learner", titles.learners),
        ("space", titles.networks),
        ("suite", titles.suites),
    ):
        names = built_in.provides[kind]
        assert [name for name in names if name not in known] == []
        assert len({known[name] for name in names}) == len(names) > 5
