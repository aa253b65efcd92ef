"""Claims on synthetic records: every verdict, and every way not to reach one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claim_factory import N, add, claim, judged, one
from result_factory import edit_json, make_spec, write_run

from metabench.papers.claims.runs import Found, as_the_suite_has_it
from metabench.papers.claims.sentences import deciding
from metabench.planning.evaluation import Evaluation as Asked
from metabench.planning.runspec import Choice
from metabench.render.claims_text import render_claims
from metabench.sampling.grid import QueryGrid


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
    assert deciding(found).startswith(
        "advantage of mnas over maml on average: +10.00 points [+8.90, +11.10]"
    )


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
    assert "a true difference of 1.57 points would be detected with probability 0.8" in deciding(
        found
    )


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
        "mnas against maml on average: there are only 5 episodes per source, which is too few."
    )


def test_deleting_a_learner_leaves_it_undecided(tmp_path: Path) -> None:
    """Even if what is left would refute it."""
    add(tmp_path, "mnas", level=0.4)
    add(tmp_path, "hsml", level=0.6)
    found = one(tmp_path, claim(right=["maml", "hsml"]))
    assert [pair.verdict for pair in found.pairs] == ["undecided", "refuted"]
    assert found.verdict == "undecided"
    assert deciding(found) == "there is no run of maml."


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
        ({"suite_version": 2}, "suite version 2 or 1"),
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
    assert (
        "Not used, because the other side has no run under the same conditions: maml "
        "(episode_seed 0 or 1)." in found.notes
    )


def test_two_configurations_of_a_learner_are_not_chosen_between(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    for rate in (0.01, 0.02):
        add(tmp_path, "maml", level=0.5, params={"inner_lr": rate})
    found = one(tmp_path)
    assert found.verdict == "not comparable"
    assert "there are 2 configurations of maml (inner_lr 0.0" in deciding(found)
    chosen = claim(right=[{"learner": "maml", "params": {"inner_lr": 0.02}}])
    assert one(tmp_path, chosen).verdict == "supported"


def test_a_claim_may_name_the_network_of_a_learner(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    for network, level in (("conv4", 0.5), ("resnet12", 0.7)):
        add(tmp_path, "maml", level=level, space=Choice(name=network, version=1))
    for network, verdict in (("conv4", "supported"), ("resnet12", "refuted")):
        named = claim(right=[{"learner": "maml", "network": network}])
        assert one(tmp_path, named).verdict == verdict
        assert f"over maml on {network}" in deciding(one(tmp_path, named))
    absent = claim(right=[{"learner": "maml", "network": "mlp"}])
    assert deciding(one(tmp_path, absent)) == "there is no run of maml on mlp."


def test_of_several_configurations_the_one_of_the_suite_is_meant() -> None:
    usual, slow, slowest = object(), object(), object()
    changes = {usual: [], slow: ["lr=0.1", "steps=2"], slowest: ["lr=0.01"]}
    found = as_the_suite_has_it(Found({"maml": (slow, usual, slowest)}), changes.__getitem__)  # type: ignore[dict-item,arg-type]
    assert found.by_party == {"maml": (usual,)}
    assert found.notes == (
        "Not used, because the suite has other parameters: maml with lr=0.1, steps=2 and with "
        "lr=0.01.",
    )
    for both in ((slow, slowest), (usual, usual), (slow,)):  # none, several, or no choice
        asked = Found({"maml": both}, ("A note.",))  # type: ignore[dict-item]
        assert as_the_suite_has_it(asked, changes.__getitem__) == asked  # type: ignore[arg-type]


def test_a_missing_line_is_named_and_left_out(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    folder = add(tmp_path, "maml", level=0.5)
    lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
    (folder / "episodes.jsonl").write_text("".join(lines[:-2]))
    (pair,) = one(tmp_path).pairs
    assert pair.difference is not None
    assert pair.difference.n_episodes == 2 * N - 2
    assert pair.reason == "2 episodes that only one of the two has are not used"


def test_an_unknown_column_is_no_number(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    found = one(tmp_path, claim(columns=["fungi"]))
    assert found.verdict == "not comparable"
    assert "no column fungi" in deciding(found)


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
    asked = Asked(grid=QueryGrid(points=10, low=-5, high=5))
    other = Asked(grid=QueryGrid(points=20, low=-5, high=5))
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
    assert deciding(found) == "there is no run of hsml with evaluation extrapolation."


def test_a_margin_has_its_unit_also_where_a_side_was_not_run(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.7)
    found = one(tmp_path, claim(relation="close", margin=1))
    assert found.verdict == "undecided"
    assert "within 1 point of maml" in render_claims([found], "table")


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


def test_a_claim_may_be_about_a_further_metric(tmp_path: Path) -> None:
    """By accuracy the left is better, by its log-likelihood worse; who lacks it is named."""
    mnas, maml = (
        add(tmp_path, name, level=level) for name, level in (("mnas", 0.7), ("maml", 0.5))
    )
    by_nll = claim(id="by-nll", metric="nll")
    assert judged(tmp_path, by_nll) == []
    give_metric(mnas, level=2.0)
    waiting = one(tmp_path, by_nll)
    assert waiting.said == "undecided"
    assert waiting.reason == "there is no run of maml that has the metric nll"
    give_metric(maml, level=1.0)
    headline, further = judged(tmp_path, claim(), by_nll)
    assert headline.verdict == "supported"
    assert further.verdict == "refuted"
    assert further.decided_by is not None
    assert further.decided_by.unit == "nll"
    assert further.decided_by.difference is not None
    assert further.decided_by.difference.mean == pytest.approx(-1.0)
    assert "mnas better than maml by nll, on average" in render_claims([further], "table")


def give_metric(folder: Path, *, level: float) -> None:
    """Add negative log-likelihoods of this level to a run."""
    nll = {"name": "nll", "title": "negative log-likelihood", "better": "smaller"}
    accuracy = {"name": "accuracy", "title": "accuracy", "better": "larger", "percent": True}
    edit_json(folder / "run.json", metrics={"accuracy": accuracy, "nll": nll})
    path = folder / "episodes.jsonl"
    episodes = [json.loads(line) for line in path.read_text().splitlines()]
    for i, episode in enumerate(episodes):
        episode["metrics"] = {"nll": level + 0.01 * (i % 8)}
    path.write_text("".join(f"{json.dumps(episode)}\n" for episode in episodes))


@pytest.mark.parametrize("other", [{"evaluation": "later"}, {"baseline": "later", "right": []}])
def test_a_metric_is_of_the_headline_alone(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`metric` scores the headline's predictions"):
        claim(metric="nll", **other)


def test_a_prediction_is_compared_with_another_of_the_same_networks_alone(tmp_path: Path) -> None:
    """Seeds 0 and 1 have the one, seeds 1 and 2 the other: as many, but not the same."""
    for seed, names in enumerate((["pruned"], ["pruned", "soft"], ["soft"])):
        folder = add(tmp_path, "mnas", level=0.2 + 0.3 * seed, seed=seed)
        path = folder / "episodes.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        found = [{**one, "variants": dict.fromkeys(names, one["score"])} for one in found]
        path.write_text("".join(f"{json.dumps(one)}\n" for one in found))
    found = one(tmp_path, claim(right=[], evaluation="pruned", baseline="soft"))
    assert found.verdict == "undecided"
    assert "not every run has the evaluation soft" in deciding(found)


def test_unlike_conditions_are_named_of_two_opposite_sides(tmp_path: Path) -> None:
    for learner, budget in (("mnas", "lite"), ("mnas-nm", "paper"), ("maml", "smoke")):
        add(tmp_path, learner, level=0.5, budget=budget)
    found = one(tmp_path, claim(left=["mnas", "mnas-nm"]))
    said = "mnas and maml were run under different conditions: budget lite or smoke"
    assert found.reason == said


def test_a_claim_says_whose_predictions_use_the_query_set(tmp_path: Path) -> None:
    for learner, uses in (("mnas", True), ("maml", False)):
        folder = add(tmp_path, learner, level=0.5)
        edit_json(folder / "run.json", transductive=uses)
    found = one(tmp_path)
    assert "Only predictions of mnas use the statistics of the query set." in found.notes
    assert found.unequal == ("normalization",)
