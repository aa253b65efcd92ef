"""Claims on synthetic records: every verdict, and every way not to reach one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_factory import edit_json, make_spec, write_run

from metabench.catalog import load_catalog
from metabench.claims import Claim, ClaimFile, Evaluation, evaluate, load_claims
from metabench.claims.judging import PairResult, deciding_p, judge, verdict_of
from metabench.claims.words import deciding, says
from metabench.cli.claims_text import render_claims
from metabench.errors import UsageError
from metabench.evaluation import Evaluation as Asked
from metabench.evaluation import Grid
from metabench.measures import wilson
from metabench.reference_files import find_reference
from metabench.results import read_runs
from metabench.stats import Difference

RESULTS = Path(__file__).parents[2] / "results"
N = 40


def claim(**changes: Any) -> Claim:
    values = {
        "id": "one",
        "sentence": "The left is better.",
        "citation": "Table 1",
        "suite": "multidataset",
        "setting": "5w1s",
        "left": ["mnas"],
        "relation": "better",
        "right": ["maml"],
    }
    return Claim.model_validate({**values, **changes})


def add(out: Path, learner: str, *, level: float, noise: float = 0.0, **changes: Any) -> Path:
    """A run whose scores are ``level`` plus the episode's hardness plus plus-minus ``noise``.

    Episodes alternate between two sources, so ``+`` and ``-`` come in twos.
    """
    stamps = changes.pop("stamps", ())
    spec = make_spec(learner, episodes=N, **changes)
    signs = [1 if i % 4 < 2 else -1 for i in range(2 * N)]
    scores = [level + 0.01 * (i % 8) + noise * sign for i, sign in enumerate(signs)]
    return write_run(out, spec, scores, stamps=stamps)


def judged(out: Path, *claims: Claim) -> list[Evaluation]:
    return evaluate([ClaimFile(paper="P", claims=claims or (claim(),))], read_runs(out).runs)


def one(out: Path, *claims: Claim) -> Evaluation:
    (found,) = judged(out, *claims)
    return found


def test_supported_with_numbers_by_hand(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, noise=0.05)
    add(tmp_path, "maml", level=0.5)
    found = one(tmp_path)
    assert found.verdict == "supported"
    (pair,) = found.pairs
    assert found.decided_by == pair
    assert pair.difference is not None
    # Differences of 10 +- 5 points: std 5, over 40 episodes of each of two sources.
    assert pair.difference.mean == pytest.approx(10.0)
    assert pair.difference.standard_error == pytest.approx(5 / (2 * N) ** 0.5)
    assert pair.low == pytest.approx(10 - 1.959964 * 5 / (2 * N) ** 0.5)
    assert pair.level == pytest.approx(0.95)
    assert pair.visible == pytest.approx(2.801585 * 5 / (2 * N) ** 0.5, rel=1e-5)
    assert (pair.unit, found.budget) == ("%", "lite")
    assert "these trained networks" in found.notes[0]
    assert deciding(found).startswith("mnas against maml on average: +10.00 % [+8.90, +11.10]")


def test_refuted_by_one_of_two_pairs(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.4)
    add(tmp_path, "hsml", level=0.6)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert [pair.verdict for pair in found.pairs] == ["supported", "refuted"]
    assert found.verdict == "refuted"
    assert found.decided_by is found.pairs[1]


def test_undecided_says_what_could_have_been_seen(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.505, noise=0.05)
    add(tmp_path, "maml", level=0.5)
    found = one(tmp_path)
    assert found.verdict == "undecided"
    assert "a difference of 1.57 % would have been seen with probability 0.8" in deciding(found)


def test_less_is_better_where_errors_are_measured(tmp_path: Path) -> None:
    for learner, level in (("mnas", 0.3), ("maml", 0.9)):
        add(tmp_path, learner, level=level, noise=level / 10, metric="mse")
    found = one(tmp_path)
    assert found.verdict == "supported"
    assert found.pairs[0].unit == "mse"
    assert found.pairs[0].difference is not None
    assert found.pairs[0].difference.mean == pytest.approx(0.6)


def test_a_source_may_say_other_than_the_average(tmp_path: Path) -> None:
    spec = make_spec("mnas", episodes=N)
    write_run(tmp_path, spec, [0.9 if i % 2 else 0.4 for i in range(2 * N)])  # texture, bird
    add(tmp_path, "maml", level=0.5)
    verdicts = {pair.column: pair.verdict for pair in one(tmp_path, claim(
        columns=["bird", "texture", "average"])).pairs}  # fmt: skip
    assert verdicts == {"bird": "refuted", "texture": "supported", "average": "supported"}


def test_several_seeds_speak_of_the_learner(tmp_path: Path) -> None:
    for seed, shift in enumerate((0.0, 0.02, 0.04)):
        add(tmp_path, "mnas", level=0.6 + shift, seed=seed)
        add(tmp_path, "maml", level=0.5 + shift, seed=seed)
    found = one(tmp_path)
    difference = found.pairs[0].difference
    assert difference is not None
    assert difference.speaks_of_learners
    # Run means have a variance of 4 on each side; over three seeds, 4 degrees of freedom.
    assert difference.standard_error == pytest.approx((4 / 3 + 4 / 3) ** 0.5)
    assert difference.degrees == pytest.approx(4.0)
    assert found.pairs[0].low == pytest.approx(10 - 2.776445 * (8 / 3) ** 0.5, abs=1e-4)
    assert found.verdict == "supported"
    assert found.notes == ()


def test_seeds_that_disagree_leave_it_undecided(tmp_path: Path) -> None:
    for seed, shift in enumerate((-0.1, 0.0, 0.1)):
        add(tmp_path, "mnas", level=0.6 + shift, seed=seed)
        add(tmp_path, "maml", level=0.5 - shift, seed=seed)
    assert one(tmp_path).verdict == "undecided"


def test_too_few_episodes(tmp_path: Path) -> None:
    for learner in ("mnas", "maml"):
        write_run(tmp_path, make_spec(learner, episodes=5))
    found = one(tmp_path)
    assert found.verdict == "undecided"
    assert deciding(found) == (
        "mnas against maml on average: 5 episodes per source are too few to tell."
    )


def test_deleting_a_learner_leaves_it_undecided(tmp_path: Path) -> None:
    """Even if what is left would refute it."""
    add(tmp_path, "mnas", level=0.4)
    add(tmp_path, "hsml", level=0.6)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert [pair.verdict for pair in found.pairs] == ["undecided", "refuted"]
    assert found.verdict == "undecided"
    assert deciding(found) == "not run: maml."


def test_other_budgets_are_not_compared(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, budget="paper")
    add(tmp_path, "maml", level=0.5, budget="lite")
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert found.pairs == ()
    assert "different conditions: budget lite or paper" in deciding(found)


def test_each_budget_is_judged_by_itself(tmp_path: Path) -> None:
    for budget, gain in (("lite", -0.1), ("paper", 0.1)):
        add(tmp_path, "mnas", level=0.5 + gain, budget=budget)
        add(tmp_path, "maml", level=0.5, budget=budget)
    found = judged(tmp_path)
    assert [(f.budget, f.verdict) for f in found] == [("lite", "refuted"), ("paper", "supported")]
    assert one(tmp_path, claim(budget="paper")).verdict == "supported"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": "synthetic"},
            "maml and mnas were run under different conditions: data synthetic or real",
        ),
        ({"suite_version": 2}, "suite_version 2 or 1"),
        ({"data_fingerprint": "f" * 16}, "or 0123456789abcdef."),
    ],
)
def test_unequal_conditions_are_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5, **changes)
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert said in deciding(found)


def test_adding_a_run_with_other_episodes_is_not_comparable(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    assert one(tmp_path).verdict == "supported"
    folder = add(tmp_path, "maml", level=0.5, seed=1)
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    moved = [{**json.loads(line), "key": f"{i:016x}"} for i, line in enumerate(lines)]
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved))
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert "the seeds of maml were not tested on the same episodes" in deciding(found)


def test_two_sides_with_other_episodes_are_not_comparable(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    folder = add(tmp_path, "maml", level=0.5)
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    moved = [{**json.loads(line), "key": f"{i:016x}"} for i, line in enumerate(lines)]
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved))
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert "not tested on the same episodes" in deciding(found)


def test_a_protocol_without_counterpart_is_named(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    protocol = make_spec(episodes=N).protocol.model_copy(update={"episode_seed": 1})
    add(tmp_path, "maml", level=0.5, protocol=protocol)
    found = one(tmp_path)
    assert found.verdict == "supported"
    assert "Left out, as nobody else was run so: maml (episode_seed 0 or 1)." in found.notes


def test_two_configurations_of_a_learner_are_not_chosen_between(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    for rate in (0.01, 0.02):
        add(tmp_path, "maml", level=0.5, params={"inner_lr": rate})
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert "maml stands in 2 configurations (params.inner_lr 0.0" in deciding(found)
    chosen = claim(right=[{"learner": "maml", "params": {"inner_lr": 0.02}}])
    assert one(tmp_path, chosen).verdict == "supported"


def test_a_missing_line_is_named_and_left_out(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    folder = add(tmp_path, "maml", level=0.5)
    lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
    (folder / "episodes.jsonl").write_text("".join(lines[:-2]))
    (pair,) = one(tmp_path).pairs
    assert pair.difference is not None
    assert pair.difference.n_episodes == 2 * N - 2
    assert pair.reason == "2 episodes that only one of them has are left out"


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
    assert text.startswith("one: SUPPORTED (one seed) [smoke, synthetic]\n")
    assert "  Supported (one seed) [smoke, synthetic]: mnas against maml" in text
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
    add(tmp_path, "hsml", level=0.4)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert [pair.said for pair in found.pairs] == ["supported", "supported (one seed)"]
    assert found.said == "supported (one seed)"  # it rests on both


def test_a_refuted_claim_has_the_scope_of_the_pair_that_refutes_it(tmp_path: Path) -> None:
    for seed in (0, 1):
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


def test_an_unknown_column_is_no_number(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    found = one(tmp_path, claim(columns=["fungi"]))
    assert found.verdict == "not comparable"
    assert "no column fungi" in deciding(found)


def test_not_worse_within_a_margin(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    wide = claim(id="wide", relation="not-worse", margin=4)
    between = claim(id="between", relation="not-worse", margin=2)
    narrow = claim(id="narrow", relation="not-worse", margin=0.5)
    verdicts = [found.verdict for found in judged(tmp_path, wide, between, narrow)]
    assert verdicts == ["supported", "undecided", "refuted"]


def test_close_is_a_test_of_equivalence(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    verdicts = [
        found.verdict
        for found in judged(
            tmp_path,
            *(claim(id=f"m{i}", relation="close", margin=m) for i, m in enumerate((4, 2, 0.5))),
        )
    ]
    assert verdicts == ["supported", "undecided", "refuted"]


def test_an_undecided_margin_says_what_it_could_have_shown(tmp_path: Path) -> None:
    """2 % points below, +-5 points on 80 episodes: half-width 1.10, standard error 0.559."""
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    wide, worse, narrow, unless = (
        deciding(found)
        for found in judged(
            tmp_path,
            claim(id="wide", relation="close", margin=1.5),
            claim(id="worse", relation="not-worse", margin=1.5),
            claim(id="narrow", relation="close", margin=1),
            claim(id="unless", relation="not-worse", margin=1),
        )
    )
    # P(|z| < 1.5/0.559 - 1.96) and P(z < the same); 1.5 + (1.96 + 0.84) 0.559 beyond.
    assert "; at a true difference of 0 it is supported with probability 0.53; at a true " in wide
    assert "at a true difference of ±3.07 % it is refuted with probability 0.8. Interval" in wide
    assert "; at a true difference of 0 it is supported with probability 0.77; at a true " in worse
    assert "at a true difference of -3.07 % it is refuted with probability 0.8. Interval" in worse
    cannot = "the half-width 1.10 exceeds the margin 1: these data cannot support it"
    assert f"; {cannot}; at a true difference of ±2.57 % it is refuted" in narrow
    assert f"; {cannot} unless the left is better; at a true difference of -2.57 %" in unless
    assert "would have been seen" not in wide + worse + narrow + unless


def test_against_a_fixed_number(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    chance = claim(id="chance", right=[], value=20)
    near = claim(id="near", right=[], value=53, relation="close", margin=3)
    assert [f.verdict for f in judged(tmp_path, chance, near)] == ["supported", "supported"]
    # Hardness adds 3.5 points on average.
    found = judged(tmp_path, chance)[0].pairs[0]
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(33.5)
    assert found.right == "20"


def variants(out: Path, learner: str, *, headline: float, pruned: float) -> None:
    folder = add(out, learner, level=headline)
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    for i, line in enumerate(found):
        line["variants"] = {"pruned": line["score"] + pruned - headline + 0.01 * (i % 4 - 1.5)}
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in found))


def test_another_prediction_of_the_same_networks(tmp_path: Path) -> None:
    variants(tmp_path, "mnas", headline=0.5, pruned=0.4)
    loses = claim(id="loses", right=[], evaluation="headline", baseline="pruned")
    keeps = claim(id="keeps", right=[], evaluation="pruned", baseline="headline",
                  relation="not-worse", margin=1)  # fmt: skip
    first, second = judged(tmp_path, loses, keeps)
    assert (first.verdict, second.verdict) == ("supported", "refuted")
    assert first.pairs[0].difference is not None
    assert first.pairs[0].difference.mean == pytest.approx(10.0)
    # Paired with itself, hardness falls out: what is left is 1 % of 0.5 and 1.5, std sqrt(1.25).
    error = first.pairs[0].difference.standard_error
    assert error == pytest.approx((1.25 / (2 * N)) ** 0.5, rel=0.5)


def test_a_prediction_that_is_not_there(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5)
    assert judged(tmp_path, claim(right=[], evaluation="pruned", baseline="headline")) == []
    found = one(tmp_path, claim(right=[], baseline="pruned"))
    assert found.verdict == "undecided"
    assert "not every run has the evaluation pruned" in deciding(found)


def test_evaluations_are_compared_if_they_asked_the_same(tmp_path: Path) -> None:
    asked = Asked(grid=Grid(points=10, low=-5, high=5))
    other = Asked(grid=Grid(points=20, low=-5, high=5))
    for out, second in ((tmp_path / "same", asked), (tmp_path / "other", other)):
        for learner, level, kind in (("mnas", 0.5, asked), ("maml", 0.9, second)):
            spec = make_spec(learner, episodes=N, metric="mse")
            folder = write_run(out, spec, evaluations={"extrapolation": kind})
            (folder / "evaluations").mkdir()
            lines = (folder / "episodes.jsonl").read_text().splitlines()
            moved = [{**json.loads(line), "score": level + 0.01 * (i % 3)}
                     for i, line in enumerate(lines)]  # fmt: skip
            text = "".join(f"{json.dumps(line)}\n" for line in moved)
            (folder / "evaluations" / "extrapolation.jsonl").write_text(text)
    asks = claim(evaluation="extrapolation")
    assert one(tmp_path / "same", asks).verdict == "supported"
    assert one(tmp_path / "same").verdict == "undecided"  # the headline's scores are equal
    assert one(tmp_path / "other", asks).verdict == "not comparable"
    add(tmp_path / "same", "hsml", level=0.5, metric="mse")
    found = one(tmp_path / "same", claim(evaluation="extrapolation", right=["hsml"]))
    assert deciding(found) == "not run with evaluation extrapolation: hsml."


def genotypes(folder: Path, n_different: int) -> None:
    lines = [
        json.dumps({"index": i, "genotype": {"normal": [[0, 1, f"op{i % n_different}"]]}})
        for i in range(2 * N)
    ]
    (folder / "genotypes.jsonl").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("counts", "verdict"), [((3, 2), "supported"), ((1, 2), "undecided"), ((1, 1), "refuted")]
)
def test_a_measure_of_every_run(tmp_path: Path, counts: tuple[int, ...], verdict: str) -> None:
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    for seed, count in enumerate(counts):
        genotypes(add(tmp_path, "mnas", level=0.5, seed=seed), count)
    found = one(tmp_path, several)
    assert found.verdict == verdict
    assert f"{counts[0]}, {counts[1]} in the runs by seed" in deciding(found)
    assert found.said == verdict  # two seeds


def test_a_measure_of_one_run_speaks_of_it_alone(tmp_path: Path) -> None:
    genotypes(add(tmp_path, "mnas", level=0.5, stamps=("lite",)), 3)
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    assert one(tmp_path, several).said == "supported (one seed) [lite]"


def test_a_measure_that_not_every_run_has(tmp_path: Path) -> None:
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    genotypes(add(tmp_path, "mnas", level=0.5), 2)
    add(tmp_path, "mnas", level=0.5, seed=1)
    assert one(tmp_path, several).verdict == "undecided"


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((0.5, 0.31), "supported"), ((0.5, 0.26), "undecided"), ((0.1, 0.2), "refuted")],
)
def test_a_proportion_reaches_a_value_with_its_whole_interval(
    tmp_path: Path, shares: tuple[float, ...], verdict: str
) -> None:
    told = claim(right=[], relation="at-least", measure="embedding_probe", value=0.25)
    for seed, share in enumerate(shares):
        folder = add(tmp_path, "mnas", level=0.5, seed=seed)
        edit_json(folder / "run.json", measures={"embedding_probe": share, "embeddings": 1000})
    found = one(tmp_path, told)
    assert found.verdict == verdict
    low, high = wilson(shares[0], 1000)
    assert f"on embedding_probe: {shares[0]} [{low:.3g}, {high:.3g}], " in deciding(found)


def of_sources(folder: Path, *, n_of_texture: int) -> None:
    """One architecture for all tasks but the first of the source ``texture``."""
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    places = [i for i, line in enumerate(lines) if json.loads(line)["source"] == "texture"]
    other = set(places[:n_of_texture])
    rows = [
        {"index": i, "genotype": {"normal": [[0, 1, "b" if i in other else "a"]]}}
        for i in range(len(lines))
    ]
    (folder / "genotypes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize(("n_of_texture", "verdict"), [(1, "undecided"), (20, "supported")])
def test_architectures_that_go_with_sources(
    tmp_path: Path, n_of_texture: int, verdict: str
) -> None:
    """One task that deviates is two architectures, and no sign that the source has a say."""
    goes = claim(right=[], relation="at-most", measure="genotype_source_p", value=0.05)
    folder = add(tmp_path, "mnas", level=0.5)
    edit_json(folder / "run.json", measures={"genotypes": 2.0})  # a record knows nothing of it
    of_sources(folder, n_of_texture=n_of_texture)
    found = one(tmp_path, goes)
    assert found.said == f"{verdict} (one seed)"
    assert "Cramér's V" in deciding(found)
    assert "1,999 permutations of the sources, n = 80 episodes" in deciding(found)
    (folder / "genotypes.jsonl").unlink()
    assert "not every run has genotype_source_p" in deciding(one(tmp_path, goes))


def test_at_most_a_value(tmp_path: Path) -> None:
    genotypes(add(tmp_path, "mnas", level=0.5), 3)
    few, one_only = (
        claim(id=f"n{n}", right=[], relation="at-most", measure="genotypes", value=n)
        for n in (3, 1)
    )
    assert [f.verdict for f in judged(tmp_path, few, one_only)] == ["supported", "refuted"]


def test_our_reading_is_marked_wherever_the_sentence_stands(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    found = [one(tmp_path, claim(reading="our reading of Table 1"))]
    for format in ("table", "md"):
        assert "(P, Table 1; our reading of Table 1)" in render_claims(found, format)
    (values,) = json.loads(render_claims(found, "json"))["claims"]
    assert values["reading"] == "our reading of Table 1"
    assert claim().source == "Table 1"


def test_training_that_a_user_lengthened_on_one_side(tmp_path: Path) -> None:
    """Lengths that the suite gives are noted; those that a user gives must be equal."""
    longer = {"training": {"meta_steps": 20, "meta_batch": 4}}
    for name, extra in (("suite", ""), ("user", " --set budget.meta_steps=20")):
        out = tmp_path / name
        add(out, "maml", level=0.5)
        folder = add(out, "mnas", level=0.6, **longer)
        record = json.loads((folder / "run.json").read_text())
        record["provenance"]["command"] += extra
        (folder / "run.json").write_text(json.dumps(record))
    by_suite, by_user = one(tmp_path / "suite"), one(tmp_path / "user")
    assert by_suite.verdict == "supported"
    assert any("mnas 20 x 4, maml 10 x 4" in note for note in by_suite.notes)
    assert by_user.verdict == "not comparable"
    assert "meta_steps 20 or 10" in deciding(by_user)


def test_holm_widens_the_intervals_of_a_family() -> None:
    def pair(mean: float) -> PairResult:
        number = Difference(
            mean=mean, standard_error=1.0, degrees=float("inf"), n_episodes=9, n_seeds=(1, 1)
        )
        return PairResult(left="a", right="b", column="c", difference=number)

    first, second = judge(claim(), [pair(2.1), pair(9.0)])
    assert second.level == pytest.approx(0.975)  # the smaller p is tested first
    assert (first.level, first.verdict) == (pytest.approx(0.95), "supported")
    (first, second) = judge(claim(), [pair(2.1), PairResult(left="a", right="c", column="c")])
    assert (first.level, first.verdict) == (pytest.approx(0.975), "undecided")
    assert second.p is None


@pytest.mark.parametrize("relation", ["better", "not-worse", "close"])
@pytest.mark.parametrize("mean", [-2.0, -0.9, -0.3, 0.0, 0.4, 1.3])
def test_the_deciding_p_is_the_level_at_which_the_interval_decides(
    relation: Any, mean: float
) -> None:
    found = Difference(mean=mean, standard_error=0.3, degrees=7.0, n_episodes=9, n_seeds=(4, 5))
    p = deciding_p(found, relation, 0.8)
    if p == pytest.approx(1.0):
        return
    assert verdict_of(*found.interval(p * 1.01), relation, 0.8) != "undecided"
    assert verdict_of(*found.interval(p * 0.99), relation, 0.8) == "undecided"


# Files of claims -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1.0},
        {"right": []},
        {"relation": "close"},
        {"margin": 1.0},
        {"relation": "at-least"},
        {"relation": "at-most", "right": [], "value": 1.0},
        {"right": [], "baseline": "headline", "relation": "at-least",
         "measure": "genotypes"},
        {"left": []},
        {"colums": ["average"]},
    ],
)  # fmt: skip
def test_a_claim_must_say_one_thing(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"claim|Field|margin|measure|input"):
        claim(**changes)


def test_files_with_errors_are_named(tmp_path: Path) -> None:
    for name, text in {
        "torn": "claims: [",
        "list": "[1]",
        "empty": "{paper: P, claims: []}",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        with pytest.raises(UsageError, match=name):
            load_claims(tmp_path / f"{name}.yaml")


def test_ids_differ() -> None:
    with pytest.raises(ValueError, match="'one' stands twice"):
        ClaimFile(paper="P", claims=(claim(), claim()))


def test_the_built_in_claims_speak_of_what_there_is() -> None:
    """Suites, settings, columns and learners are known."""
    from metabench.suite import load_suite

    catalog = load_catalog()
    assert {"m-nas", "metanas"} <= set(catalog.claims)
    ids = []
    for file in catalog.claims.values():
        for one_claim in load_claims(file).claims:
            ids.append(one_claim.id)
            suite = load_suite(catalog.suite(one_claim.suite))
            assert one_claim.setting in suite.settings
            assert set(one_claim.columns) <= {"average", *(s.name for s in suite.sources)}
            learners = {party.learner for party in (*one_claim.left, *one_claim.right)}
            assert learners <= set(catalog.learners)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("suite", ["multidataset", "four-domains"])
@pytest.mark.parametrize(("end", "setting"), [("", "5w1s"), ("-5-shot", "5w5s")])
def test_the_claim_on_table_2_names_every_baseline_and_column(
    suite: str, end: str, setting: str
) -> None:
    catalog = load_catalog()
    claims = {c.id: c for file in catalog.claims.values() for c in load_claims(file).claims}
    found = claims[f"m-nas-{suite}{end}"]
    table = find_reference(catalog, "m-nas/table-2")
    rows = [row for row in table.rows if row.setting == setting and row.learner]
    baselines = {str(row.learner) for row in rows if not str(row.learner).startswith("mnas")}
    assert {str(party) for party in found.right} == baselines
    assert found.setting == setting
    columns = [column.name for column in table.columns]
    substitute = {"fungi": "flowers"} if suite == "four-domains" else {}
    assert list(found.columns) == [substitute.get(name, name) for name in columns]


# Text ------------------------------------------------------------------------------------------


@pytest.fixture
def evaluations(tmp_path: Path) -> list[Evaluation]:
    add(tmp_path, "mnas", level=0.6, noise=0.05, stamps=("lite",))
    add(tmp_path, "maml", level=0.5, stamps=("lite",))
    return judged(tmp_path, claim(), claim(id="two", left=["hsml"]))


def test_plain_text_says_it_all(evaluations: list[Evaluation]) -> None:
    text = render_claims(evaluations, "table")
    assert text.startswith("one: SUPPORTED (one seed) [lite]\n  The left is better. (P, Table 1)\n")
    assert "  Compared: mnas better than maml, on average; multidataset @ 5w1s, budget l" in text
    assert "Stamped lite." in text
    assert "+10.00 %   [+8.90, +11.10] at 95 %  < 0.0001  80        1 / 1" in text
    assert "1.96" not in text
    assert "z std/sqrt(n), ddof 0" in text
    assert "two: UNDECIDED" in text
    assert "Undecided: not run: hsml." in text


def test_markdown_escapes_what_it_shows(tmp_path: Path) -> None:
    add(tmp_path, "a|b", level=0.6)
    add(tmp_path, "maml", level=0.5)
    text = render_claims(judged(tmp_path, claim(left=["a|b"])), "md")
    (row,) = [line for line in text.splitlines() if line.startswith("| a")]
    assert row.startswith("| a\\|b | maml | average | +10.00 % |")
    assert text.startswith("## one: supported (one seed)\n")


def test_json_holds_every_number(evaluations: list[Evaluation]) -> None:
    found = json.loads(render_claims(evaluations, "json"))["claims"]
    (pair,) = found[0]["pairs"]
    assert pair["advantage"] == pytest.approx(10.0)
    assert pair["n_seeds"] == [1, 1]
    assert pair["outcome"] == found[0]["outcome"] == "supported"
    assert found[1]["pairs"][0]["reason"] == "hsml was not run"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"right": ["a", "b"]}, "mnas better than a and b, on average"),
        ({"right": [], "value": 20.0}, "mnas better than 20, on average"),
        (
            {"right": [], "baseline": "headline", "evaluation": "pruned", "relation": "close",
             "margin": 1.0},
            "mnas within 1.0 of headline in pruned, on average",
        ),
        (
            {"right": [], "relation": "at-least", "measure": "genotypes", "value": 2},
            "mnas: at least 2 genotypes in each run",
        ),
        (
            {"right": [], "relation": "at-most", "measure": "genotype_source_p", "value": 0.05},
            "mnas: at most 0.05 genotype source p in each run",
        ),
        (
            {"left": [{"learner": "x", "strategy": "y", "params": {"z": 1}}]},
            "x with y (z=1) better than maml, on average",
        ),
    ],
)  # fmt: skip
def test_what_is_compared_in_words(changes: dict[str, Any], text: str) -> None:
    assert says(claim(**changes)) == text


# The committed records -------------------------------------------------------------------------


def test_the_committed_records_are_judged() -> None:
    """Whatever is there by now; verdicts are those of the numbers beside them."""
    files = [load_claims(file) for file in load_catalog().claims.values()]
    found = evaluate(files, read_runs(RESULTS).runs)
    assert found
    for evaluation in found:
        assert evaluation.verdict in ("supported", "refuted", "undecided", "not comparable")
        assert deciding(evaluation).endswith(".")
        margin = evaluation.claim.margin or 0.0
        for pair in evaluation.pairs:
            if pair.low is not None and pair.high is not None:
                relation = evaluation.claim.relation
                assert pair.verdict == verdict_of(pair.low, pair.high, relation, margin)
    assert json.loads(render_claims(found, "json"))["claims"]
