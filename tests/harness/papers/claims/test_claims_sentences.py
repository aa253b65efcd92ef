"""Files of claims, those that are built in, and verdicts as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claim_factory import N, add, claim, judged, one
from result_factory import edit_json, make_spec

from metabench.errors import UsageError
from metabench.papers.claims import ClaimFile, ClaimResult, evaluate, load_claims
from metabench.papers.claims.intervals import verdict_of
from metabench.papers.claims.sentences import deciding, says
from metabench.papers.reference_files import find_reference
from metabench.planning.runspec import Training
from metabench.plugin.catalog import load_catalog
from metabench.render.claims_text import claims_overview, render_claims
from metabench.render.layout import Screen
from metabench.results.reading import read_runs

RESULTS = Path(__file__).parents[4] / "results"


def test_our_reading_is_marked_wherever_the_sentence_stands(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.5)
    found = [one(tmp_path, claim(reading="our reading of Table 1"))]
    for format in ("table", "md"):
        assert "(P, Table 1; our reading of Table 1)" in render_claims(found, format)
    (values,) = json.loads(render_claims(found, "json"))["claims"]
    assert values["reading"] == "our reading of Table 1"
    assert claim().source == "Table 1"


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
    with pytest.raises(ValueError, match="'one' appears twice"):
        ClaimFile(paper="P", claims=(claim(), claim()))


def test_the_built_in_claims_speak_of_what_there_is() -> None:
    """Suites, settings and columns are known, and learners, or the row of a paper has them."""
    from metabench.papers.reference_files import readable_references
    from metabench.planning.suite import load_suite

    catalog = load_catalog()
    assert {"m-nas", "metanas", "conv4"} <= set(catalog.claims)
    tables = readable_references(catalog).values()
    known = {*catalog.learners, *(row.learner for table in tables for row in table.rows)}
    ids = []
    for file in catalog.claims.values():
        for one_claim in load_claims(file).claims:
            ids.append(one_claim.id)
            suite = load_suite(catalog.suite(one_claim.suite))
            assert one_claim.setting in suite.settings
            assert set(one_claim.columns) <= {"average", *(s.name for s in suite.sources)}
            learners = {party.learner for party in (*one_claim.left, *one_claim.right)}
            assert learners <= known
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


@pytest.fixture
def evaluations(tmp_path: Path) -> list[ClaimResult]:
    add(tmp_path, "mnas", level=0.6, noise=0.05, stamps=("lite",))
    add(tmp_path, "maml", level=0.5, stamps=("lite",))
    return judged(tmp_path, claim(), claim(id="two", left=["hsml"]))


def test_plain_text_says_it_all(evaluations: list[ClaimResult]) -> None:
    text = render_claims(evaluations, "table")
    assert text.startswith(
        "one: ✓ SUPPORTED (one seed) [lite]\n  The left is better. (P, Table 1)\n"
    )
    assert "  Compared: mnas better than maml, on average; multidataset @ 5w1s, budget l" in text
    assert "Stamps: lite." in text
    assert "+10.00 points  [+8.90, +11.10] at 95 %  < 0.0001        80  1 / 1" in text
    assert "1.96" not in text
    assert "z std/sqrt(n), ddof 0" in text
    assert "two: ? UNDECIDED" in text
    assert "Undecided: there is no run of hsml." in text


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (0.4, "Advantage of mnas over"),
        (0.6, "Of 2 pairs, 1 is undecided and 1 supports it. Advantage of mnas over hsml"),
        (0.9, "Of 2 pairs, 1 refutes it and 1 supports it. Advantage of mnas over hsml"),
    ],
)
def test_a_claim_that_is_not_supported_says_by_how_many_of_its_pairs(
    tmp_path: Path, level: float, said: str
) -> None:
    add(tmp_path, "mnas", level=0.6)
    add(tmp_path, "maml", level=0.4)
    add(tmp_path, "hsml", level=level, noise=0.1)
    found = deciding(one(tmp_path, claim(right=["maml", "hsml"])))
    assert found.startswith(f"{said[0].lower()}{said[1:]}")


def test_pairs_that_are_all_undecided_are_said_at_once(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6)
    for learner in ("maml", "hsml"):
        add(tmp_path, learner, level=0.6, noise=0.1)
    found = deciding(one(tmp_path, claim(right=["maml", "hsml"])))
    assert found.startswith("both pairs are undecided. Advantage of mnas over ")


def test_an_overview_begins_with_a_line_for_each_claim(evaluations: list[ClaimResult]) -> None:
    text = claims_overview(evaluations)
    first, second, empty, *_ = text.splitlines()
    assert first.split() == ["✓", "supported", "(one", "seed)", "[lite]", "one"]
    assert second.split() == ["?", "undecided", "two"]
    assert not empty
    said = " ".join(text.split())
    assert "The left is better. Supported (one seed) [lite]: advantage of mnas over maml" in said
    assert "Undecided: there is no run of hsml." in said
    assert 'A verdict "(one seed)" holds for these trained networks' in said
    styled = claims_overview(evaluations, Screen(styled=True))
    assert styled.startswith("\x1b[32m✓ supported (one seed) [lite]\x1b[0m  one\n")
    assert "\x1b[33m? undecided" in styled


def test_a_verdict_without_a_run_of_the_other_side_rests_on_no_unequal_runs(tmp_path: Path) -> None:
    for learner, steps in (("mnas", 10), ("maml", 20)):
        add(tmp_path, learner, level=0.5, training=Training(meta_steps=steps, meta_batch=1))
    without, with_both = claim(left=["mnas", "maml"], right=["hsml"]), claim(id="two")
    (found,) = judged(tmp_path, without)
    assert found.notes
    assert "compare runs that differ" not in claims_overview([found])
    assert "1 of 2 verdicts compare runs that differ" in claims_overview(
        judged(tmp_path, without, with_both)
    )


def test_verdicts_on_one_claim_are_told_apart(tmp_path: Path) -> None:
    inductive = make_spec(episodes=N).protocol.model_copy(update={"normalization": "inductive"})
    for changes in ({}, {"budget": "paper"}, {"budget": "paper", "protocol": inductive}):
        for learner in ("mnas", "maml"):
            add(tmp_path, learner, level=0.5, **changes)
    text = claims_overview(judged(tmp_path, claim(), claim(id="two", budget="lite")))
    lines = text.split("\n\n")[0].splitlines()
    place = "multidataset @ 5w1s, budget"
    assert [line.partition("  one ")[2] for line in lines[:3]] == [
        "(budget lite)",
        "(budget paper, normalization inductive)",
        "(budget paper, normalization transductive)",
    ]
    assert lines[3].endswith("  two")
    assert f"one ({place} paper, normalization inductive)\n" in text


def test_what_follows_from_the_version_of_a_suite_is_not_told(tmp_path: Path) -> None:
    protocol = make_spec(episodes=N).protocol
    for version, selection in ((1, "last"), (2, "meta-val")):
        changed = protocol.model_copy(update={"selection": selection})
        for learner in ("mnas", "maml"):
            add(tmp_path, learner, level=0.5, protocol=changed, suite_version=version)
    lines = claims_overview(judged(tmp_path, claim())).splitlines()
    assert {line.partition("  one ")[2] for line in lines[:2]} == {
        "(budget lite, suite version 1)",
        "(budget lite, suite version 2)",
    }


def test_markdown_escapes_what_it_shows(tmp_path: Path) -> None:
    add(tmp_path, "a|b~$c$~&lt;", level=0.6)
    add(tmp_path, "maml", level=0.5)
    text = render_claims(judged(tmp_path, claim(left=["a|b~$c$~&lt;"])), "md")
    (row,) = [line for line in text.splitlines() if line.startswith("| a")]
    shown = r"a\|b\~\$c\$\~&amp;lt;"  # as in the Markdown of tables
    assert row.startswith(f"| {shown} | maml | average | +10.00 points |")
    assert text.startswith("## one: supported (one seed)\n")


def test_json_holds_every_number(evaluations: list[ClaimResult]) -> None:
    found = json.loads(render_claims(evaluations, "json"))["claims"]
    (pair,) = found[0]["pairs"]
    assert pair["advantage"] == pytest.approx(10.0)
    assert pair["n_seeds"] == [1, 1]
    assert pair["outcome"] == found[0]["outcome"] == "supported"
    assert found[1]["pairs"][0]["reason"] == "there is no run of hsml"


def test_deviations_from_the_sources_are_listed_once_for_all_claims(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.6, params={"penalty_reduction": "sum", "reduction": "mean"})
    add(tmp_path, "hsml", level=0.5)
    add(tmp_path, "maml", level=0.5)
    found = judged(tmp_path, claim(), claim(id="two", left=["hsml", "mnas"], right=["maml"]))
    first, second = ([one.label for one in result.deviations] for result in found)
    # Of mnas on images, whose record says nothing of retraining.
    assert first == ["D1", "D2", "D3"]
    assert second == ["D1", "D2", "D3", "D4", "D5"]
    plain, markdown = (render_claims(found, format) for format in ("table", "md"))
    assert "Deviations from the sources, listed below: D1, D2, D3.\n" in plain
    assert "- Deviations from the sources, listed below: D1, D2, D3, D4, D5.\n" in markdown
    for text in (plain, markdown):
        (listed,) = [x for x in text.splitlines() if x.startswith("- D5 (hsml): HSML, released")]
        assert "1 minus the one-hot label" in listed
        assert text.count("HSML, released code: the image encoder's max pools") == 1
    values = json.loads(render_claims(found, "json"))
    assert [claimed["deviations"] for claimed in values["claims"]] == [first, second]
    assert [one["rows"] for one in values["deviations"]] == [
        ["mnas", "hsml"],
        ["mnas"],
        ["mnas"],
        ["hsml"],
        ["hsml"],
    ]
    assert found[0].said == "supported (one seed)"


def test_without_deviations_claims_speak_of_none(tmp_path: Path) -> None:
    add(tmp_path, "maml", level=0.6)
    add(tmp_path, "mtnet", level=0.5)
    found = judged(tmp_path, claim(left=["maml"], right=["mtnet"]))
    assert "Deviations" not in render_claims(found, "table")
    assert json.loads(render_claims(found, "json"))["deviations"] == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"right": ["a", "b"]}, "mnas better than a and b, on average"),
        ({"right": [], "value": 20.0}, "mnas better than 20, on average"),
        (
            {"right": [], "baseline": "headline", "evaluation": "pruned", "relation": "close",
             "margin": 1.0},
            "mnas: pruned within 1 of headline, on average",
        ),
        (
            {"right": [], "relation": "at-least", "measure": "genotypes", "value": 2},
            "mnas: number of different genotypes at least 2, in each run",
        ),
        (
            {"right": [], "relation": "at-most", "measure": "genotype_source_p", "value": 0.05},
            "mnas: p-value of the association of genotype and source at most 0.05, in each run",
        ),
        (
            {"left": [{"learner": "x", "strategy": "y", "params": {"z": 1}}]},
            "x with y (z=1) better than maml, on average",
        ),
    ],
)  # fmt: skip
def test_what_is_compared_in_words(changes: dict[str, Any], text: str) -> None:
    assert says(claim(**changes)) == text


@pytest.mark.parametrize(
    ("margin", "unit", "text"),
    [
        (10.0, "%", "mnas within 10 points of 10 %, on average"),
        (1.0, "%", "mnas within 1 point of 10 %, on average"),
        (0.376, "mse", "mnas within 0.376 mse of 10 mse, on average"),
    ],
)
def test_a_margin_and_a_value_have_units(margin: float, unit: str, text: str) -> None:
    asked = claim(right=[], value=10.0, relation="close", margin=margin)
    assert says(asked, unit) == text


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


def test_runs_under_equal_conditions_are_not_said_to_differ(tmp_path: Path) -> None:
    """That conditions are equal is a note as well."""
    for steps in (5, 7):
        for learner in ("mnas", "maml"):
            folder = add(tmp_path / str(steps), learner, level=0.5)
            equal = {"inner_optimizer": "SGD", "outer_optimizer": "Adam"}
            own = {"steps_at_test": steps} if learner == "mnas" else {}
            edit_json(folder / "run.json", conditions=equal, **own)
    found, differing = (judged(tmp_path / name, claim()) for name in ("5", "7"))
    assert any("Training conditions of all trained rows" in note for note in found[0].notes)
    assert "compare runs that differ" not in claims_overview(found)
    assert "1 of 1 verdict compare runs that differ" in claims_overview(differing)
