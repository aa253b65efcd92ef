"""Checks of a file of claims: it can be read, and what it names is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable

from metabench.conformance.base import Check, raise_doubts, require
from metabench.errors import UsageError
from metabench.papers.claims.schema import load_claims
from metabench.planning.suite import load_suite
from metabench.planning.unknown_names import sentences_on
from metabench.planning.validation import validated
from metabench.plugin.catalog import Catalog
from metabench.results.evaluations import HEADLINE
from metabench.results.metrics import AVERAGE


def claims_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a file of claims."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check(
        "its settings, budgets and columns are those of its suites",
        lambda: _agrees(file, catalog()),
    )
    yield Check(
        "its evaluations are those of its suites and learners",
        lambda: _evaluations(file, catalog()),
    )
    yield Check("the parameters of its learners are valid", lambda: _params(file, catalog()))
    yield Check("the plugins that it names are installed", lambda: _strangers(file, catalog()))


def _readable(file: Traversable) -> None:
    load_claims(file)


def _agrees(file: Traversable, catalog: Catalog) -> None:
    """Refuse what no run of an installed suite has: such a claim would never be judged."""
    claims = load_claims(file).claims
    problems: list[str] = []
    for name in dict.fromkeys(claim.suite for claim in claims if claim.suite in catalog.suites):
        suite = load_suite(catalog.suite(name))
        own = [claim for claim in claims if claim.suite == name]
        columns = (*(source.name for source in suite.sources), AVERAGE)
        for kind, known, named in (
            ("setting", suite.settings, (claim.setting for claim in own)),
            ("budget", suite.budgets, (claim.budget for claim in own)),
            ("column", dict.fromkeys(columns), (c for claim in own for c in claim.columns)),
        ):
            problems += sentences_on(kind, known, named, of=f"suite {name}")
    require(not problems, " ".join(problems))


def _evaluations(file: Traversable, catalog: Catalog) -> None:
    """Refuse what no run of an installed learner on an installed suite has, as above."""
    problems: dict[str, None] = {}
    for claim in load_claims(file).claims:
        if claim.suite not in catalog.suites:
            continue
        suite = load_suite(catalog.suite(claim.suite))
        for name in dict.fromkeys(party.learner for party in (*claim.left, *claim.right)):
            if name not in catalog.learners:
                continue
            known = (HEADLINE, *suite.evaluations, *catalog.learner(name).predictions)
            said = sentences_on(
                "evaluation or prediction",
                dict.fromkeys(known),
                (claim.evaluation, claim.baseline),
                of=f"learner {name} on suite {suite.name}",
            )
            problems |= dict.fromkeys(said)
    require(not problems, " ".join(problems))


def _params(file: Traversable, catalog: Catalog) -> None:
    """Refuse parameters that no run of an installed learner has, nor its strategy."""
    problems: dict[str, None] = {}
    claims = load_claims(file).claims
    for party in (party for claim in claims for party in (*claim.left, *claim.right)):
        if party.learner not in catalog.learners:
            continue
        learner, strategies = catalog.learner(party.learner), catalog.nas_strategies
        own = learner.params_model(searched=True)
        others = [
            strategy.params_model().model_fields
            for name, strategy in strategies.items()
            if party.strategy in (None, name) or party.strategy not in strategies
        ]
        known = {**own.model_fields, **{name: None for fields in others for name in fields}}
        said = sentences_on("parameter", known, party.params, of=f"learner {party.learner}")
        problems |= dict.fromkeys(said)
        values = {name: value for name, value in party.params.items() if name in own.model_fields}
        asked = {**learner.preset, **values}
        try:
            params = validated(own, asked, what="learner", owner=party.learner)
        except UsageError as error:
            problems |= {str(error): None}
            continue
        recorded = params.model_dump(mode="json")
        problems |= dict.fromkeys(
            f"Runs of learner {party.learner} record {name} as {recorded[name]!r}, not {value!r}."
            for name, value in values.items()
            if recorded[name] != value
        )
    require(not problems, " ".join(problems))


def _strangers(file: Traversable, catalog: Catalog) -> None:
    claims = load_claims(file).claims
    parties = [party for claim in claims for party in (*claim.left, *claim.right)]
    raise_doubts(
        [
            *sentences_on("suite", catalog.suites, (claim.suite for claim in claims)),
            *sentences_on("learner", catalog.learners, (party.learner for party in parties)),
            *sentences_on("network", catalog.search_spaces, (party.network for party in parties)),
            *sentences_on(
                "strategy", catalog.nas_strategies, (party.strategy for party in parties)
            ),
            *sentences_on("metric", catalog.metrics, (claim.metric for claim in claims)),
        ]
    )
