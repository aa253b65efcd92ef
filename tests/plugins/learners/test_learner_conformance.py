"""Every built-in learner passes the kit."""

from __future__ import annotations

import dataclasses

import pytest

from metabench import conformance
from metabench.plugin.catalog import load_catalog

CATALOG = load_catalog()
EACH_TIME = ("baseline++", "leo", "mtnet", "protonet")
"""The learners whose kit for images is run each time: one of each kind."""
CASES = [
    pytest.param(
        name,
        kind,
        marks=[]
        if kind == "regression"
        else [pytest.mark.slow, *([] if name in EACH_TIME else [pytest.mark.exhaustive])],
        id=f"{name}-{kind}",
    )
    for name in (
        "anil",
        "baseline++",
        "bmaml",
        "leo",
        "maml++",
        "matching-net",
        "meta-sgd",
        "metaoptnet",
        "metaoptnet-ridge",
        "mtnet",
        "mumomaml",
        "nil",
        "protonet",
        "r2d2",
        "tadam",
    )
    if name in CATALOG.learners
    for kind in CATALOG.learner(name).kinds
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_learner_passes_every_check(name: str, kind: str) -> None:
    spec = dataclasses.replace(CATALOG.learner(name), kinds=(kind,))
    found = {c.name: conformance.run_check(c) for c in conformance.checks(spec, catalog=CATALOG)}
    # Of TADAM, a draw decides whether a step makes a second update.
    eager = {
        n for n in found if name == "tadam" and n.endswith(("can be captured", "can be repeated"))
    }
    optional = {n for n, o in found.items() if o.reason.endswith("which is optional.")}
    assert {n: o for n, o in found.items() if o.status != "ok" and n not in eager | optional} == {}
    assert {found[n].status for n in eager} <= {"warning", "skipped"}
