"""Verdicts with what they speak of: seeds and stamps, wherever they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claim_factory import add, claim, genotypes, one

from metabench.planning.runspec import Training
from metabench.render.claims_text import render_claims


def test_stamps_are_carried_along(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, stamps=("smoke", "synthetic"))
    add(tmp_path, "maml", level=0.5, stamps=("smoke",))
    assert one(tmp_path).stamps == ("smoke", "synthetic")


def test_a_verdict_is_never_written_without_its_scope(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, stamps=("smoke", "synthetic"))
    add(tmp_path, "maml", level=0.5, stamps=("smoke",))
    found = one(tmp_path)
    said = "supported (one seed) [smoke, synthetic]"
    assert (found.verdict, found.said, found.pairs[0].said) == ("supported", said, said)
    text = render_claims([found], "table")
    assert text.startswith("one: ✓ SUPPORTED (one seed) [smoke, synthetic]\n")
    assert "  Supported (one seed) [smoke, synthetic]: advantage of mnas over maml" in text
    (row,) = [line for line in text.splitlines() if line.startswith("  mnas  maml")]
    assert row.endswith(said)
    assert "## one: supported (one seed) \\[smoke, synthetic\\]\n" in render_claims([found], "md")
    (values,) = json.loads(render_claims([found], "json"))["claims"]
    for place in (values, values["pairs"][0]):
        assert (place["verdict"], place["outcome"]) == (said, "supported")
        assert place["scope"] == {"one_seed": True, "stamps": ["smoke", "synthetic"]}


def test_two_seeds_in_full_need_no_scope(tmp_path: Path) -> None:
    for seed in (0, 1):
        add(tmp_path, "mnas", level=0.6, seed=seed)
        add(tmp_path, "maml", level=0.5, seed=seed)
    assert one(tmp_path).said == "supported"


def test_a_supported_claim_has_the_scope_of_all_its_pairs(tmp_path: Path) -> None:
    for seed in range(3):
        add(tmp_path, "mnas", level=0.6, seed=seed)
        add(tmp_path, "maml", level=0.5, seed=seed)
    add(tmp_path, "hsml", level=0.4)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert [pair.said for pair in found.pairs] == ["supported", "supported (one seed)"]
    assert found.said == "supported (one seed)"


def test_two_seeds_decide_no_claim_with_several_pairs(tmp_path: Path) -> None:
    """Their intervals hold at 95 %, and at the higher levels of several pairs they do not."""
    for seed in (0, 1):
        add(tmp_path, "mnas", level=0.6, seed=seed)
        for learner in ("maml", "hsml"):
            add(tmp_path, learner, level=0.5, seed=seed)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert found.said == "undecided"
    assert {(pair.difference, pair.reason) for pair in found.pairs} == {
        (
            None,
            "with 2 seeds, intervals adjusted for 2 pairs are too narrow: each side needs at "
            "least 3",
        )
    }


def test_two_runs_of_a_learner_without_training_are_no_two_seeds(tmp_path: Path) -> None:
    untrained = Training(meta_steps=0, meta_batch=4)
    for seed in (0, 1, 2):
        add(tmp_path, "mnas", level=0.6, seed=seed)
        for learner in ("maml", "hsml") if seed else ():
            add(tmp_path, learner, level=0.5, seed=seed, space=None, training=untrained)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert found.said == "supported"


@pytest.mark.parametrize(
    "against", [{"right": ["maml"]}, {"right": (), "value": 0.2}, {"right": (), "value": 0.9}]
)
@pytest.mark.parametrize(("seeds", "decided"), [(2, False), (3, True)])
def test_two_seeds_against_a_side_without_seeds_decide_none_either(
    tmp_path: Path, against: dict[str, Any], seeds: int, decided: bool
) -> None:
    for seed in range(seeds):
        add(tmp_path, "mnas", level=0.6, seed=seed)
    add(tmp_path, "maml", level=0.5, space=None, training=Training(meta_steps=0, meta_batch=4))
    two = one(tmp_path, claim(**against, columns=["bird", "texture"]))
    assert (two.verdict != "undecided") == decided
    assert {pair.reason for pair in two.pairs} == (
        {""}
        if decided
        else {"with 2 seeds, intervals adjusted for 2 pairs are too narrow: it takes at least 3"}
    )
    assert one(tmp_path, claim(**against)).verdict != "undecided"  # one pair is not adjusted


def test_two_seeds_against_more_decide_nothing(tmp_path: Path) -> None:
    for seed in range(3):
        add(tmp_path, "mnas", level=0.6, seed=seed)
    for seed in range(2):
        add(tmp_path, "maml", level=0.5, seed=seed)
    found = one(tmp_path)
    assert found.said == "undecided"
    (pair,) = found.pairs
    assert pair.difference is None
    assert pair.reason == (
        "with 3 and 2 seeds, each side needs at least 3; run one more seed of maml on "
        "multidataset@5w1s, budget lite"
    )


def test_a_refuted_claim_has_the_scope_of_the_pair_that_refutes_it(tmp_path: Path) -> None:
    for seed in range(3):
        add(tmp_path, "mnas", level=0.5, seed=seed)
        add(tmp_path, "maml", level=0.6, seed=seed)
    add(tmp_path, "hsml", level=0.4)
    assert one(tmp_path, claim(right=["maml", "hsml"])).said == "refuted"


def test_a_budget_that_the_claim_names_narrows_nothing_down(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, budget="search", stamps=("search", "subset"))
    add(tmp_path, "maml", level=0.5, budget="search", stamps=("search",))
    assert one(tmp_path).said == "supported (one seed) [search, subset]"
    assert one(tmp_path, claim(budget="search")).said == "supported (one seed) [subset]"


def test_without_a_number_a_verdict_has_no_scope(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, stamps=("smoke",))
    assert one(tmp_path).said == "undecided"


def test_a_measure_of_one_run_speaks_of_it_alone(tmp_path: Path) -> None:
    genotypes(add(tmp_path, "mnas", level=0.5, stamps=("lite",)), 3)
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    assert one(tmp_path, several).said == "supported (one seed) [lite]"
