"""Checks of a file of claims: it can be read, and the plugins that it names are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable

from metabench.conformance.base import Check, raise_doubts
from metabench.papers.claims.schema import load_claims
from metabench.planning.unknown_names import sentences_on
from metabench.plugin.catalog import Catalog


def claims_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a file of claims."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check("the plugins that it names are installed", lambda: _strangers(file, catalog()))


def _readable(file: Traversable) -> None:
    load_claims(file)


def _strangers(file: Traversable, catalog: Catalog) -> None:
    claims = load_claims(file).claims
    parties = [party for claim in claims for party in (*claim.left, *claim.right)]
    raise_doubts(
        [
            *sentences_on("suite", catalog.suites, (claim.suite for claim in claims)),
            *sentences_on("learner", catalog.learners, (party.learner for party in parties)),
            *sentences_on(
                "strategy", catalog.nas_strategies, (party.strategy for party in parties)
            ),
            *sentences_on("metric", catalog.metrics, (claim.metric for claim in claims)),
        ]
    )
