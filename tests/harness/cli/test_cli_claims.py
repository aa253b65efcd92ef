"""``metabench claims`` and ``metabench compare`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_factory import make_spec, write_run
from typer.testing import CliRunner, Result

from metabench.cli import app

SOURCES = ("sine", "line", "quadratic", "harmonics")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """MT-Net and BMAML near MAML on toy regression; episodes as the factory numbers them."""
    for learner, level in (("maml", 2.0), ("mtnet", 2.1), ("bmaml", 1.9)):
        spec = make_spec(
            learner, suite="toy-regression", setting="10-shot", metric="mse", sources=SOURCES,
            budget="paper", episodes=40,
        )  # fmt: skip
        write_run(tmp_path, spec, [level + 0.01 * (i % 7) for i in range(160)])
    return tmp_path


def test_claims_are_printed(records: Path) -> None:
    result = run("claims", records)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["✓", "supported", "(one", "seed)", "m-nas-near-maml"] in lines
    assert ["?", "undecided", "m-nas-modulation"] in lines
    assert "-0.100 mse" in result.stdout


def test_one_claim_is_explained(records: Path) -> None:
    result = run("claims", records, "m-nas-near-maml")
    assert result.exit_code == 0
    assert result.stdout.startswith("m-nas-near-maml: ✓ SUPPORTED (one seed)\n")
    assert "m-nas-modulation" not in result.stdout
    assert "-0.100 mse" in result.stdout
    whole = run("claims", records, "--caption", "full").stdout
    assert "m-nas-near-maml: ✓ SUPPORTED (one seed)\n" in whole
    assert whole.startswith(run("claims", records).stdout)
    (found,) = json.loads(run("claims", records, "m-nas-near-maml", "--json").stdout)["claims"]
    assert found["id"] == "m-nas-near-maml"
    unknown = run("claims", records, "m-nas-near-mami")
    assert unknown.exit_code == 2
    assert "Did you mean m-nas-near-maml" in unknown.stderr


@pytest.mark.parametrize("columns", [32, 60])
def test_a_verdict_stands_below_its_claim_where_both_are_too_long(
    records: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("claims", records, "m-nas-near-maml").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    verdict = "✓ SUPPORTED (one seed)"
    both = ["m-nas-near-maml:", f"  {verdict}"] if columns < 40 else [f"m-nas-near-maml: {verdict}"]
    assert lines[: len(both)] == both


def test_a_refuted_claim_is_a_result(records: Path) -> None:
    for learner in ("mnas", "hsml-notree", "hsml", "mnas-nm"):
        level = {"mnas": 3.0}.get(learner, 2.0)
        spec = make_spec(
            learner, suite="toy-regression", setting="10-shot", metric="mse", sources=SOURCES,
            budget="paper", episodes=40,
        )  # fmt: skip
        write_run(records, spec, [level + 0.01 * (i % 7) for i in range(160)])
    result = run("claims", records)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["✗", "refuted", "(one", "seed)", "m-nas-modulation"] in lines


def test_claims_as_json_and_markdown(records: Path) -> None:
    (by_option, by_format) = (run("claims", records, *o) for o in (["--json"], ["-f", "json"]))
    assert by_option.stdout == by_format.stdout
    found = {claim["id"]: claim for claim in json.loads(by_option.stdout)["claims"]}
    assert found["m-nas-near-maml"]["verdict"] == "supported (one seed)"
    assert run("claims", records, "--format", "md").stdout.startswith("## m-nas-")


def test_claims_of_one_suite(records: Path) -> None:
    assert run("claims", records, "--suite", "toy-regression").exit_code == 0
    assert run("claims", records, "--suite", "omniglot").exit_code == 3
    assert run("claims", records, "--suite", "omniglott").exit_code == 2


def test_claims_where_there_is_nothing(tmp_path: Path) -> None:
    assert run("claims", tmp_path).exit_code == 3
    write_run(tmp_path, make_spec())
    result = run("claims", tmp_path)
    assert result.exit_code == 0  # a learner that a claim is about: undecided
    write_run(tmp_path / "other", make_spec(setting="9w1s"))
    result = run("claims", tmp_path / "other")
    assert result.exit_code == 3
    assert f"No claim is about the finished runs in {tmp_path / 'other'}." in result.stderr
    assert "There are claims about " in result.stderr
    assert "toy-regression @ 10-shot" in result.stderr


def test_a_suite_whose_claims_are_of_other_learners_is_said_to_have_claims(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec("protonet", suite="omniglot", setting="20w1s"))
    result = run("claims", tmp_path)
    assert result.exit_code == 3
    assert "There are claims about" not in result.stderr
    assert "those about omniglot @ 20w1s are of auto-meta, metanas." in " ".join(
        result.stderr.split()
    )


def test_compare_prints_a_table(records: Path) -> None:
    result = run("compare", "mtnet", "maml", records)
    assert result.exit_code == 0
    assert "A: mtnet on toy-regression@10-shot, budget paper, seed 0" in result.stdout
    assert "harmonics" in result.stdout
    assert "less is better" in result.stdout
    values = json.loads(run("compare", "mtnet", "maml", records, "--json").stdout)
    assert values["comparisons"][0]["columns"][-1]["difference"] == pytest.approx(0.1)


def test_compare_refuses_what_is_not_comparable(records: Path) -> None:
    write_run(records, make_spec("reptile"))
    result = run("compare", "reptile", "maml", records)
    assert result.exit_code == 2
    assert "not comparable: suite multidataset or toy-regression" in result.stderr
    assert run("compare", "maml", "maml", records, "--suite", "omniglot").exit_code == 3


def test_compare_says_how_many_episodes_it_takes(records: Path) -> None:
    result = run("compare", "mtnet", "maml", records, "--difference", "0.05")
    assert "are enough to detect a true difference of 0.05 with probability 0.8" in result.stdout


def test_compare_names_problems_on_stderr(records: Path) -> None:
    torn = next(records.rglob("episodes.jsonl"))
    torn.write_text(torn.read_text() + '{"index": 16')
    result = run("compare", "mtnet", "maml", records)
    assert result.exit_code == 0
    assert "is incomplete and is not counted" in result.stderr
    assert "incomplete" not in result.stdout
