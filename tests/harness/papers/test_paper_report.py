import json
from dataclasses import replace
from pathlib import Path

import pytest
from result_factory import (
    edit_json,
    golden_paper_report,
    make_spec,
    of_installed_learner,
    write_run,
)

from metabench.papers.reference import Reference
from metabench.papers.report import build_paper_report
from metabench.papers.table import PaperReport, PaperRow, PaperTable
from metabench.papers.verdict import Verdict
from metabench.planning.runspec import Choice, EpisodeProtocol, RunSpec, Training
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog
from metabench.render.as_tex import render as render_tex
from metabench.render.text_table import verdict_text
from metabench.results.reading import read_runs

SCORES = [0.2, 0.4, 0.6, 0.4, 1.0, 0.0, 0.2, 0.8]  # bird and texture take turns
STATED = {
    "queries": 1,
    "steps_at_test": 5,
    "normalization": "transductive",
    "episodes": 1000,
    "trained_on": "meta-train",
    "selection": "last",
}
"""What the runs of :func:`paper_run` do, too."""

OPEN = dict.fromkeys(("n", "over", "formula"), "not stated")
CITATION = {"authors": "Doe", "title": "T", "venue": "CONF", "year": 2020, "where": "Table 1"}


def column(name: str, **changes: object) -> dict[str, object]:
    values = {"name": name, "heading": name.title(), "suite": "multidataset", "source": name}
    return {**values, "setting": "5w1s", **changes}


def make_reference(
    rows: list[dict[str, object]], columns: list[dict[str, object]] | None = None, **changes: object
) -> Reference:
    values: dict[str, object] = {
        "key": "example/table-1",
        "title": "Example",
        "citation": CITATION,
        "metric": "accuracy",
        "protocol": STATED,
        "settings": {"5w1s": {"ways": 5, "shots": 1}},
        "interval": OPEN,
        "columns": [column("bird"), column("average")] if columns is None else columns,
        "rows": rows,
    }
    return Reference.model_validate({**values, **changes})


def printed(method: str = "MAML", learner: str | None = "maml", **changes: object):
    cells = {"bird": "50.00 ± 40.00", "average": "50.00 ± 40.00"}
    return {"method": method, "learner": learner, "cells": cells, **changes}


def report(folder: Path, reference: Reference, **options: str) -> PaperReport:
    return build_paper_report(read_runs(folder), reference, **options)


def table(folder: Path, reference: Reference, **options: str) -> PaperTable:
    (found,) = report(folder, reference, **options).tables
    assert isinstance(found, PaperTable)
    return found


def lines(found: PaperTable) -> list[tuple[str, str, str]]:
    """Method, and of our row budget and variant."""
    return [
        (
            row.method,
            *(" / ".join(getattr(ours, n) for ours in row.ours) for n in ("budget", "variant")),
        )
        for row in found.rows
    ]


def verdict_of(row: PaperRow, name: str = "bird"):
    verdict = row.cells[name].verdict
    assert verdict is not None
    return verdict


RECORDED = ("stamps", "transductive", "normalization", "steps_at_test")


def paper_run(folder: Path, learner: str = "maml", **options: object) -> Path:
    record = {k: options.pop(k) for k in RECORDED if k in options}
    scores = options.pop("scores", SCORES)
    return write_run(folder, current(learner, budget="paper", **options), scores, **record)


def current(learner: str = "maml", **options: object) -> RunSpec:
    """A spec of the installed versions of its suite and its learner."""
    catalog = load_catalog()
    suite = load_suite(catalog.suite(options.get("suite", "multidataset")))
    spec = make_spec(learner, suite_version=suite.version, **options)
    return of_installed_learner(spec, catalog)


def test_the_papers_rows_come_in_its_order_and_ours_that_it_lacks_after(tmp_path):
    for learner in ("reptile", "maml", "ant"):
        paper_run(tmp_path, learner)
    found = table(
        tmp_path, make_reference([printed("Z", None), printed("MAML"), printed("A", "x")])
    )
    assert [(row.method, row.in_paper, bool(row.ours)) for row in found.rows] == [
        ("Z", True, False),
        ("MAML", True, True),
        ("A", True, False),
        ("ant", False, True),
        ("reptile", False, True),
    ]
    assert found.rows[0].cells["bird"].ours is None
    assert found.rows[0].cells["bird"].verdict is None
    assert found.rows[3].cells["bird"].printed is None
    assert found.rows[3].cells["bird"].verdict is None


def test_a_cell_stands_beside_its_printed_number(tmp_path):
    paper_run(tmp_path)
    found = table(tmp_path, make_reference([printed()]))
    cell = found.rows[0].cells["bird"]
    assert cell.ours is not None
    assert cell.ours.mean == pytest.approx(50.0)
    assert cell.spread == pytest.approx(100 * 0.11**0.5)
    assert verdict_of(found.rows[0]).outcome == "match"
    assert len(found.reasons) == 2
    assert found.reasons[0].startswith("MAML, Bird: match: our 50.00 ± ")


def test_what_ran_in_full_is_preferred_and_the_rest_is_named(tmp_path):
    write_run(tmp_path, make_spec(budget="lite"), [1.0] * 8, stamps=("lite",))
    paper_run(tmp_path, params={"inner_lr": 0.5}, stamps=("custom",), scores=[1.0] * 8)
    for seed in (0, 1):
        paper_run(tmp_path, seed=seed)
    found = table(tmp_path, make_reference([printed()]))
    (row,) = found.rows
    assert row.ours[0].budget == "paper"
    assert row.ours[0].seeds == (0, 1)
    assert row.ours[0].stamps == ()
    left_out = [remark for remark in found.remarks if remark.startswith("Not shown: maml on")]
    assert len(left_out) == 2
    assert any("budget lite, stamped lite" in remark for remark in left_out)
    assert any("stamped custom" in remark for remark in left_out)


def test_without_a_full_run_all_are_shown_with_their_budgets(tmp_path):
    write_run(tmp_path, current(budget="lite"), [1.0] * 8, stamps=("lite",))
    write_run(tmp_path, current(budget="smoke"), SCORES, stamps=("smoke",))
    found = table(tmp_path, make_reference([printed()]))
    assert lines(found) == [("MAML", "lite", ""), ("MAML", "smoke", "")]
    assert {verdict_of(row).outcome for row in found.rows} == {"not comparable"}
    assert "stamped lite" in verdict_of(found.rows[0]).reason


def test_several_full_runs_of_a_learner_are_all_shown_whatever_they_score(tmp_path):
    for inner_lr, score in ((0.1, 0.9), (0.01, 0.1)):
        paper_run(tmp_path, params={"inner_lr": inner_lr}, scores=[score] * 8)
    found = table(tmp_path, make_reference([printed()]))
    assert lines(found) == [
        ("MAML", "paper", "inner_lr=0.01"),
        ("MAML", "paper", "inner_lr=0.1"),
    ]
    assert found.reasons[0].startswith("MAML (inner_lr=0.01), Bird, Average: ")
    assert (
        "learner.inner_lr=0.1, which the run's command does not set; the suite now has 0.01"
        in verdict_of(found.rows[1]).reason
    )


def test_rows_of_one_learner_are_told_apart_by_parameters_and_transduction(tmp_path):
    paper_run(tmp_path, params={"order": "first"})
    paper_run(tmp_path, params={"order": "second"}, transductive=False)
    reference = make_reference(
        [
            printed("second", learner_params={"order": "second"}, transductive=True),
            printed("first", learner_params={"order": "first"}, transductive=True),
        ]
    )
    found = table(tmp_path, reference)
    assert [(row.method, len(row.ours)) for row in found.rows] == [
        ("second", 0),
        ("first", 1),
        ("maml", 1),
    ]


def test_rows_of_one_learner_are_told_apart_by_networks(tmp_path):
    paper_run(tmp_path)
    paper_run(tmp_path, space=Choice(name="auto-meta", version=2))
    reference = make_reference(
        [
            printed("on ResNet", network="resnet12"),
            printed("on a cell", network="auto-meta"),
        ]
    )
    found = table(tmp_path, reference)
    assert [(row.method, len(row.ours)) for row in found.rows] == [
        ("on ResNet", 0),
        ("on a cell", 1),
        ("maml", 1),
    ]
    # The row asks for this network, so it is no difference from the suite.
    (asked,) = found.rows[1].ours
    assert "network=" not in asked.variant
    assert "network=auto-meta" not in verdict_of(found.rows[1]).reason
    either = table(tmp_path, make_reference([printed("on any")]))
    assert [row.method for row in either.rows] == ["on any", "on any"]
    assert "network=auto-meta, but the suite has conv4" in " ".join(either.reasons)


def test_rows_of_one_learner_are_told_apart_by_parameters_of_the_network(tmp_path):
    paper_run(tmp_path, space=Choice(name="conv4", version=2, params={"filters": 32}))
    paper_run(tmp_path, space=Choice(name="conv4", version=2, params={"filters": 48}))
    wide = printed("64 filters", network="conv4", network_params={"filters": 64})
    found = table(
        tmp_path,
        make_reference(
            [wide, printed("48 filters", network="conv4", network_params={"filters": 48})]
        ),
    )
    assert [(row.method, len(row.ours)) for row in found.rows] == [
        ("64 filters", 0),
        ("48 filters", 1),
        ("maml", 1),
    ]
    # The row asks for it, so it is no difference from the suite.
    assert "network.filters" not in verdict_of(found.rows[1]).reason
    either = table(tmp_path, make_reference([printed("on any")]))
    assert "network.filters=48" in " ".join(either.reasons)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"stamps": ("subset", "limit")}, "our runs are stamped subset, limit"),
        (
            {"protocol": EpisodeProtocol(ways=5, shots=3, queries=1, episodes=4)},
            "shots: 3 here, 1 in the paper",
        ),
        (
            {"protocol": EpisodeProtocol(ways=10, shots=1, queries=1, episodes=4)},
            "ways: 10 here, 5 in the paper",
        ),
    ],
)
def test_what_keeps_runs_from_a_comparison_is_said(tmp_path, run, said):
    paper_run(tmp_path, **run)
    found = table(tmp_path, make_reference([printed()]))
    verdict = verdict_of(found.rows[0])
    assert (verdict.outcome, verdict.reason) == ("not comparable", f"{said}.")
    assert found.reasons == (f"MAML, Bird, Average: not comparable: {said}.",)


def test_the_steps_that_a_learner_takes_are_held_against_the_papers(tmp_path):
    paper_run(tmp_path, steps_at_test=50)
    found = table(tmp_path, make_reference([printed()]))
    verdict = verdict_of(found.rows[0])
    assert (verdict.outcome, verdict.reason) == (
        "not comparable",
        "steps at test: 50 here, 5 in the paper.",
    )


def test_facts_of_a_row_come_before_those_of_its_setting_and_these_before_the_tables():
    own = printed(protocol={"queries": 3, "steps_at_test": 3}, by_setting={"5w1s": {"queries": 4}})
    settings = {"5w1s": {"ways": 5, "shots": 1, "queries": 2, "steps_at_test": 2, "episodes": 2}}
    reference = make_reference([own], settings=settings)
    found = reference.conditions_of(reference.rows[0], "5w1s")
    assert (found.queries, found.steps_at_test, found.episodes) == (4, 3, 2)
    assert found.selection == STATED["selection"]


@pytest.mark.parametrize(
    ("run", "stated", "said"),
    [
        ({}, {"queries": 15}, "queries: 1 here, 15 in the paper"),
        ({}, {"steps_at_test": 10}, "steps at test: 5 here, 10 in the paper"),
        (
            {"transductive": False},
            {},
            "normalization: inductive here, transductive in the paper",
        ),
        (
            {},
            {"normalization": "running"},
            "normalization: transductive here, running in the paper",
        ),
        (
            {"transductive": False, "normalization": "running"},
            {},
            "normalization: running here, transductive in the paper",
        ),
        (
            {},
            {"trained_on": "meta-train and meta-val"},
            "training classes: meta-train here, meta-train and meta-val in the paper",
        ),
        ({}, {"selection": "meta-val"}, "tested weights: last here, meta-val in the paper"),
        (
            {"training": Training(meta_steps=10, meta_batch=4, ensemble=5)},
            {"selection": "meta-val"},
            "tested weights: ensemble here, meta-val in the paper",
        ),
    ],
)
def test_each_fact_of_another_protocol_is_a_reason(tmp_path, run, stated, said):
    paper_run(tmp_path, **run)
    (row,) = table(tmp_path, make_reference([printed(protocol=stated)])).rows
    assert verdict_of(row).outcome == "not comparable"
    assert verdict_of(row).reason == f"{said}."
    assert verdict_of(row).unstated == ()


def test_a_number_of_episodes_alone_keeps_nothing_from_a_comparison(tmp_path):
    paper_run(tmp_path)  # four episodes per source
    few = printed(protocol={"episodes": 2})
    (row,) = table(tmp_path, make_reference([few])).rows
    assert verdict_of(row).outcome == "match"
    assert "episodes per source" not in verdict_of(row).reason


@pytest.mark.parametrize(("episodes", "said"), [(2, True), (4, False), ("not stated", False)])
def test_a_number_without_half_width_over_fewer_episodes_than_ours_is_said_to_be(
    tmp_path, episodes, said
):
    paper_run(tmp_path)
    cells = {"bird": "50.00", "average": "50.00"}
    (row,) = table(
        tmp_path, make_reference([printed(cells=cells, protocol={"episodes": episodes})])
    ).rows
    sentence = "has no half-width and is over 2 episodes per source; ours is over 4."
    assert (sentence in verdict_of(row).reason) == said
    assert verdict_of(row).outcome == "close"


def test_what_is_not_stated_is_said_beside_the_verdict_and_once_for_the_table(tmp_path):
    paper_run(tmp_path)
    interval = {"n": 600, "over": "episodes", "formula": "1.96 std/sqrt(n)"}
    vague = {"normalization": "not stated", "queries": "not stated"}
    wide = {"bird": "50.00 ± 4.00", "average": "50.00"}
    rows = [printed(protocol=vague, interval=interval, cells=wide), printed("B", None)]
    found = table(tmp_path, make_reference(rows))
    for column in ("bird", "average"):
        verdict = verdict_of(found.rows[0], column)
        assert verdict.unstated == ("queries", "normalization")
        assert " Not stated: queries, normalization." in verdict.reason
    said = "Not stated by the source, so not compared: queries, normalization of any row."
    assert said in found.remarks


def test_a_half_width_of_which_a_fact_is_not_stated_is_among_what_is_not_stated(tmp_path):
    paper_run(tmp_path)
    mixed = {"bird": "50.00 ± 40.00", "average": "50.00"}
    (row,) = table(tmp_path, make_reference([printed(cells=mixed)])).rows
    assert verdict_of(row).unstated == ("half-width",)
    assert verdict_of(row, "average").unstated == ()


@pytest.mark.parametrize("over", ["seeds", "episodes and seeds"])
def test_a_half_width_over_seeds_is_not_held_against_one_over_episodes(tmp_path, over):
    for seed in (0, 1):
        paper_run(tmp_path, seed=seed, scores=[*SCORES[seed:], *SCORES[:seed]])
    interval = {"n": 3, "over": over, "formula": "not stated"}
    reference = make_reference([printed()], interval=interval)
    verdict = verdict_of(table(tmp_path, reference, interval="field").rows[0])
    assert verdict.outcome == "not comparable"
    assert verdict.reason.startswith(f"half-width: over episodes here, over {over} in the paper")
    for interval in ("auto", "seeds"):  # both are over the two seeds
        seeds = verdict_of(table(tmp_path, reference, interval=interval).rows[0])
        assert seeds.outcome != "not comparable"
        assert "(over 2 seeds)" in seeds.reason


def test_one_seed_is_not_held_against_a_half_width_over_seeds(tmp_path):
    paper_run(tmp_path)
    interval = {"n": 3, "over": "seeds", "formula": "not stated"}
    verdict = verdict_of(table(tmp_path, make_reference([printed()], interval=interval)).rows[0])
    assert verdict.outcome == "not comparable"
    assert verdict.reason.startswith("half-width: over episodes here, over seeds in the paper")


def test_shares_are_not_held_against_percent(tmp_path):
    paper_run(tmp_path)
    shares = {"name": "accuracy", "title": "accuracy", "better": "larger", "percent": False}
    cells = {"bird": "0.50 ± 0.40", "average": "0.50"}
    (row,) = table(tmp_path, make_reference([printed(cells=cells)], metric=shares)).rows
    for column in cells:
        verdict = verdict_of(row, column)
        assert (verdict.outcome, verdict.difference) == ("not comparable", None)
        assert verdict.reason.startswith("our number is in %, the printed one in accuracy.")


@pytest.mark.parametrize("fact", sorted(STATED))
def test_a_row_that_forgets_a_fact_is_refused(fact):
    facts = {name: value for name, value in STATED.items() if name != fact}
    with pytest.raises(ValueError, match=rf"row 'MAML' leaves out {fact} of its protocol in 5w1s"):
        make_reference([printed()], protocol=facts)


@pytest.mark.parametrize("fact", sorted(OPEN))
def test_a_half_width_that_forgets_a_fact_is_refused(fact):
    facts = {name: value for name, value in OPEN.items() if name != fact}
    with pytest.raises(ValueError, match=rf"leaves out {fact} of its half-width in bird"):
        make_reference([printed()], interval=facts)
    bare = {"bird": "50.00", "average": "missing"}
    assert make_reference([printed(cells=bare)], interval=facts).rows


@pytest.mark.parametrize("place", ["protocol", "settings"])
def test_that_a_fact_is_not_stated_must_be_said_by_rows(place):
    vague = {"queries": "not stated"}
    changes = {"protocol": STATED | vague} if place == "protocol" else {"settings": {"5w1s": vague}}
    with pytest.raises(ValueError, match="write this in the protocol of each row"):
        make_reference([printed()], **changes)


def test_a_row_that_asks_for_transduction_says_so_of_its_normalization():
    facts = {name: value for name, value in STATED.items() if name != "normalization"}
    rows = [printed("a", transductive=True), printed("b", transductive=False)]
    reference = make_reference(rows, protocol=facts)
    found = [reference.conditions_of(row, "5w1s").normalization for row in reference.rows]
    assert found == ["transductive", "inductive"]
    with pytest.raises(ValueError, match="asks for transductive=False, but its normalization is"):
        make_reference([printed(transductive=False)])


def test_a_protocol_of_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="'5w9s', which is not among the settings"):
        make_reference([printed(by_setting={"5w9s": {"queries": 15}})])


def test_a_budget_of_another_name_is_not_comparable(tmp_path):
    write_run(tmp_path, make_spec(budget="huge"), SCORES)
    verdict = verdict_of(table(tmp_path, make_reference([printed()])).rows[0])
    assert "our budget is huge, not paper" in verdict.reason


def test_a_spread_that_the_printed_interval_contradicts_is_not_comparable(tmp_path):
    paper_run(tmp_path, scores=SCORES * 25, episodes=100)
    interval = {"n": 1000, "over": "episodes", "formula": "1.96 std/sqrt(n)"}
    found = table(tmp_path, make_reference([printed()], interval=interval))
    verdict = verdict_of(found.rows[0])
    assert verdict.outcome == "not comparable"
    assert "the protocols cannot be the same" in verdict.reason
    # Of an average over sources no spread is known, so that its numbers are compared.
    assert verdict_of(found.rows[0], "average").outcome == "match"


def test_where_means_agree_the_columns_that_differ_are_named(tmp_path):
    paper_run(tmp_path)
    cells = {"bird": "50.00 ± 40.00", "average": "99.00 ± 1.00"}
    (row,) = table(tmp_path, make_reference([printed(cells=cells)])).rows
    assert verdict_of(row).outcome == "match"
    assert verdict_of(row).reason.endswith(" Other columns of this row differ: Average.")
    assert verdict_of(row, "average").outcome == "differs"
    assert "Other columns" not in verdict_of(row, "average").reason


def test_the_spread_is_that_of_single_runs(tmp_path):
    paper_run(tmp_path, seed=0, scores=[1.0, 0.0] * 4)  # bird 1, texture 0
    paper_run(tmp_path, seed=1, scores=[0.0, 0.0, 1.0, 1.0] * 2)
    cell = table(tmp_path, make_reference([printed()])).rows[0].cells["bird"]
    assert cell.spread == pytest.approx(100 * (0.25 / 2) ** 0.5)


def test_settings_may_stand_in_rows(tmp_path):
    for setting in ("5w1s", "5w5s"):
        paper_run(tmp_path, setting=setting)
    paper_run(tmp_path, "reptile", setting="5w5s")
    reference = make_reference(
        [printed(group=setting, setting=setting) for setting in ("5w1s", "5w5s")],
        [column("bird", setting=None), column("average", setting=None)],
        settings={"5w1s": {"shots": 1}, "5w5s": {"shots": 1}},
    )
    found = table(tmp_path, reference)
    assert [(row.method, row.group, len(row.ours)) for row in found.rows] == [
        ("MAML", "5w1s", 1),
        ("MAML", "5w5s", 1),
        ("reptile", "5w5s", 1),
    ]
    assert found.rows[2].cells["bird"].ours is not None


def test_settings_in_columns_share_a_line_and_keep_their_runs_apart(tmp_path):
    for suite, score in (("multidataset", 0.25), ("omniglot", 0.75)):
        paper_run(tmp_path, suite=suite, scores=[score] * 8)
    columns = [column("bird"), column("average", suite="omniglot")]
    found = table(tmp_path, make_reference([printed()], columns))
    (row,) = found.rows
    assert [cell.ours and cell.ours.mean for cell in row.cells.values()] == [25.0, 75.0]
    assert len(row.ours) == 2
    assert row.cells["bird"].row == row.ours[0]


def test_a_column_may_be_an_evaluation_beside_the_headline(tmp_path):
    for inner_lr in (0.1, 0.01):
        run = paper_run(tmp_path, params={"inner_lr": inner_lr}, scores=[inner_lr] * 8)
        lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
        lines = [{**line, "variants": {"pruned": line["score"] / 2}} for line in lines]
        (run / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    columns = [column("bird"), column("average", source="bird", evaluation="pruned")]
    found = table(tmp_path, make_reference([printed()], columns))
    means = [[cell.ours and cell.ours.mean for cell in row.cells.values()] for row in found.rows]
    assert means == [[pytest.approx(1.0), pytest.approx(0.5)], [pytest.approx(10.0), 5.0]]


def test_best_is_among_what_is_shown(tmp_path):
    write_run(tmp_path, make_spec(budget="lite"), [1.0] * 8, stamps=("lite",))
    paper_run(tmp_path)
    paper_run(tmp_path, "reptile", scores=[0.1] * 8)
    paper_run(tmp_path, "ant", scores=[s + 0.01 * (-1) ** (i // 2) for i, s in enumerate(SCORES)])
    found = table(tmp_path, make_reference([printed()]))
    cells = {row.method: row.cells["bird"].ours for row in found.rows}
    assert {name: cell and cell.mark for name, cell in cells.items()} == {
        "MAML": "best",
        "ant": "best",
        "reptile": "worse",
    }


def test_a_substitute_is_shown_and_never_comparable(tmp_path):
    paper_run(tmp_path, suite="four-domains")
    assert not table(tmp_path, make_reference([printed()])).rows[0].ours
    reference = make_reference([printed()], substitutes={"four-domains": "multidataset"})
    verdict = verdict_of(table(tmp_path, reference).rows[0])
    assert verdict.reason == "our suite is four-domains, but the paper's is multidataset."


def test_what_the_table_does_not_concern_is_left_aside(tmp_path):
    paper_run(tmp_path, suite="omniglot")
    paper_run(tmp_path, setting="20w1s")
    paper_run(tmp_path, metric="mse", sources=("bird",))
    found = table(tmp_path, make_reference([printed()]))
    assert [row.ours for row in found.rows] == [()]


def test_without_its_runs_a_row_loses_its_verdicts(tmp_path):
    run = paper_run(tmp_path)
    paper_run(tmp_path, "reptile")
    reference = make_reference([printed()])
    assert table(tmp_path, reference).reasons
    for file in run.iterdir():
        file.unlink()
    found = table(tmp_path, reference)
    assert found.reasons == ()
    assert found.rows[0].cells["bird"].ours is None


def test_problems_of_the_folder_are_passed_on(tmp_path):
    paper_run(tmp_path, seed=0)
    paper_run(tmp_path, seed=1, scores=SCORES[:6])
    write_run(tmp_path, make_spec(seed=2), SCORES, status="failed", error="diverged")
    found = report(tmp_path, make_reference([printed()]))
    assert any("diverged" in problem for problem in found.problems)
    assert any(
        "2 episodes that not every seed has are not used" in problem for problem in found.problems
    )


def test_verdicts_on_several_seeds_use_the_interval_over_seeds(tmp_path):
    """Seeds 10 points apart: two runs say little, however many episodes they were tested on."""
    for seed, score in enumerate((0.45, 0.55)):
        paper_run(tmp_path, seed=seed, scores=[score] * 8)
    reference = make_reference([printed(cells={"bird": "50.0 ± 20.0"})], [column("bird")])
    assert verdict_of(table(tmp_path, reference, interval="field").rows[0]).outcome == "match"
    found = table(tmp_path, reference).rows[0]
    assert verdict_of(found).outcome == "inconclusive"
    assert "our 50.00 ± 63.53 (over 2 seeds)" in verdict_of(found).reason
    assert "our interval is wider than the printed one" in verdict_of(found).reason


def test_a_match_says_how_wide_the_printed_interval_is(tmp_path):
    paper_run(tmp_path)
    cells = table(tmp_path, make_reference([printed()])).rows[0].cells
    assert verdict_text(cells["bird"]).startswith("match (± ")
    other = replace(cells["bird"], verdict=Verdict("close", "", 0.0))
    assert verdict_text(other) == "close"
    assert verdict_text(replace(other, verdict=None)) == ""


def test_the_caption_names_means_that_few_episodes_carry(tmp_path):
    shape = {"metric": "mse", "sources": ("sine",), "episodes": 40, "budget": "paper"}
    write_run(tmp_path, make_spec(**shape), [100.0, *[1.0] * 39])
    rows = [printed(cells={"sine": "2.0 ± 0.3"})]
    reference = make_reference(rows, [column("sine")], metric="mse")
    said = "3 episodes contribute more than 20 %: maml, sine (73 % from 3 of 40 episodes; median"
    assert f"{said} 1.000, mean 3.475)." in table(tmp_path, reference).caption


def test_one_seed_has_no_verdict_over_seeds(tmp_path):
    paper_run(tmp_path)
    found = table(tmp_path, make_reference([printed()]), interval="seeds")
    assert "has no interval" in verdict_of(found.rows[0]).reason
    assert "n counts seeds" in found.caption


def test_the_caption_says_how_ours_were_made(tmp_path):
    paper_run(tmp_path)
    paper_run(tmp_path, "reptile", training=Training(meta_steps=20, meta_batch=4))
    found = table(tmp_path, make_reference([printed()])).caption
    assert found.startswith("Ours: accuracy in % on the query sets of meta-test episodes: mean ± ")
    for said in (
        "Episodes per source: 4.",
        "5-way 1-shot, queries per class: 1, inner steps at test: 5. Tested weights: those of the "
        "last meta-step.",
        "Normalization: transductive; predictions use the statistics of the query set.",
        "All rows are tested on the same episodes, so their differences are paired.",
        "Training lengths differ (meta-steps x episodes per step): maml 10 x 4, reptile 20 x 4.",
        "Budget: paper.",
    ):
        assert said in found


def test_the_caption_tells_settings_apart_and_does_not_pair_across_them(tmp_path):
    for setting, shots in (("5w1s", 1), ("5w5s", 5)):
        protocol = EpisodeProtocol(ways=5, shots=shots, queries=1, episodes=4)
        for learner in ("maml", "reptile"):
            paper_run(tmp_path, learner, setting=setting, protocol=protocol)
    columns = [column("bird"), column("average", setting="5w5s")]
    settings = {"5w1s": {}, "5w5s": {}}
    found = table(tmp_path, make_reference([printed()], columns, settings=settings)).caption
    assert "multidataset @ 5w1s: Episodes per source: 4. 5-way 1-shot" in found
    assert "multidataset @ 5w5s: Episodes per source: 4. 5-way 5-shot" in found
    assert found.count("All rows are tested on the same episodes") == 2
    assert "not paired" not in found


def test_settings_under_equal_conditions_are_described_once(tmp_path):
    for suite in ("multidataset", "omniglot"):
        paper_run(tmp_path, suite=suite)
    columns = [column("bird"), column("average", suite="omniglot")]
    found = table(tmp_path, make_reference([printed()], columns)).caption
    assert "multidataset @ 5w1s, omniglot @ 5w1s: Episodes per source: 4." in found
    assert found.count("Episodes per source") == 1


def test_without_runs_the_caption_speaks_of_none(tmp_path):
    paper_run(tmp_path, setting="20w1s")
    found = table(tmp_path, make_reference([printed()])).caption
    assert "accuracy in %" in found
    assert "Budget" not in found
    assert "Episodes per source" not in found


def test_the_order_of_folders_does_not_matter(tmp_path):
    for place, learners in (("up", ("a", "b", "maml")), ("down", ("maml", "b", "a"))):
        for i, learner in enumerate(learners):
            paper_run(tmp_path / place / str(i), learner)
    reference = make_reference([printed()])
    assert report(tmp_path / "up", reference) == report(tmp_path / "down", reference)


def test_notes_of_table_column_and_row_become_remarks():
    (found,) = golden_paper_report().tables
    assert isinstance(found, PaperTable)
    assert found.remarks == (
        "The paper's half-widths: 1.96 std/sqrt(n), n = 1,000 episodes (both are in the caption).",
        "Average_1: half-widths: formula not stated, n not stated (how it was made is not said).",
        "HSML: without its tree.",
        "Derived (from the average): HSML, Sine.",
        "Not stated by the source, so not compared: queries, half-width of MAML [7].",
        "A further sentence.",
    )


def test_the_caption_has_the_notes_on_rows_by_setting(tmp_path):
    """What the warnings only hint at: unlike code, letters, few episodes that decide a mean."""
    heavy = [0.01] * 38 + [0.9, 0.8]
    for setting in ("5w1s", "5w5s"):
        options = {"setting": setting, "sources": ("bird",), "episodes": 40, "scores": heavy}
        folder = paper_run(tmp_path, **options)
        for fingerprint in "ab":
            for learner in ("anil", "reptile"):
                paper_run(tmp_path, learner, data_fingerprint=16 * fingerprint, **options)
    made = json.loads((folder / "run.json").read_text())["provenance"]
    other = paper_run(tmp_path, seed=1, **options)
    edit_json(other / "run.json", provenance={**made, "git": "abc"})
    rows = [printed(setting=name, group=name, cells={"bird": "50.00"}) for name in ("5w1s", "5w5s")]
    settings = {name: {"ways": 5, "shots": 1} for name in ("5w1s", "5w5s")}
    found = table(tmp_path, make_reference(rows, [column("bird", setting=None)], settings=settings))
    first, second = (fact for fact in found.facts if "contribute more than" in fact)
    assert first.startswith("multidataset @ 5w1s: Rows with the same letter ran under the same")
    assert second.startswith("multidataset @ 5w5s: Rows with the same letter ran under the same")
    said = (
        "Seeds of a row were made by different code or devices: maml: revision unknown for seed 0"
    )
    assert said in second
    assert said not in first


def test_rows_of_ours_stand_once_beside_several_blocks_of_one_setting(tmp_path):
    paper_run(tmp_path, "reptile")
    rows = [printed(group="Conv-4"), printed("MAML big", group="ResNet-12")]
    found = table(tmp_path, make_reference(rows))
    assert [(row.method, row.group) for row in found.rows if row.ours] == [("reptile", "")]
    assert r"\emph{}" not in render_tex(PaperReport((found,), ()))


@pytest.mark.parametrize("older", [1, 2, 3])
def test_another_version_is_said_in_latex_of_each_row_that_has_it(tmp_path, older):
    learners = ("anil", "maml", "reptile")
    for position, learner in enumerate(learners):
        spec = current(learner, budget="paper")
        changes = {"version": 77} if position < older else {}
        choice = spec.learner.model_copy(update=changes)
        write_run(tmp_path, spec.model_copy(update={"learner": choice}), SCORES)
    found = table(tmp_path, make_reference([printed(one, one) for one in learners]))
    text = " ".join(render_tex(PaperReport((found,), ())).split())
    shown = text[text.index("\\begin{table}") :]
    before, _, notes = shown.partition("\\footnotesize")
    if older == len(learners):
        assert "Budget paper, learner version 77." in before
        assert "version" not in notes
    else:
        assert notes.count("learner version 77") == 1
