"""Entries of a leaderboard are derived from records, and held against them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from result_factory import GOLDEN, edit_json, make_toy_spec, write_run

from metabench.errors import UsageError
from metabench.planning.suite import load_suite
from metabench.reports.entries import entry_text, make_entry, read_entry
from metabench.reports.entry_checks import check_entries

SUITE = GOLDEN / "suites" / "toy-regression.yaml"
CATALOG: Any = SimpleNamespace(suites={"toy-regression": SUITE})


def runs(folder: Path, learner: str = "maml", *, queries: int = 10) -> Path:
    """Two seeds on the setting of the suite, as it asks with ten queries."""
    protocol = load_suite(SUITE).protocol_of("10s", "paper", {"queries": queries})
    for seed in (0, 1):
        spec = make_toy_spec(learner, budget="paper", seed=seed, protocol=protocol)
        write_run(folder, spec, [0.5, 0.25, 1.0, 0.75 + seed])
    return folder


def entry(tmp_path: Path, name: str = "doe", learner: str = "maml", *, queries: int = 10) -> Path:
    folder = runs(tmp_path / "results" / name, learner, queries=queries)
    file = tmp_path / "entries" / f"{name}.yaml"
    made = make_entry(folder, file=file, submitter="Jane Doe", link="https://example.org")
    file.parent.mkdir(exist_ok=True)
    file.write_text(entry_text(made))
    return file


def edited(file: Path, **changes: Any) -> Path:
    """The file with other values in its first claim."""
    values = yaml.safe_load(file.read_text())
    values["claims"][0] |= changes
    file.write_text(yaml.safe_dump(values))
    return file


def only(problems: list[str]) -> str:
    (problem,) = problems
    return problem


def test_an_entry_that_was_written_from_its_records_holds(tmp_path: Path) -> None:
    file = entry(tmp_path)
    assert check_entries([file], CATALOG) == []
    (claim,) = read_entry(file).claims
    assert claim.mean == pytest.approx((0.625 + 0.875) / 2)
    assert len(claim.runs) == 2
    assert read_entry(file).results == "../results/doe"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": 0.7}, "mean of maml on toy-regression@"),
        ({"half_width": 0.1}, "half width of maml"),
        ({"stamps": ["limit"]}, "stamps of maml"),
        ({"episodes": "0" * 16}, "episodes of maml"),
        ({"config": "0" * 16}, "no run of"),
    ],
)
def test_a_claim_that_the_records_do_not_give_is_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in only(check_entries([edited(entry(tmp_path), **changes)], CATALOG))


def test_another_protocol_than_the_records_is_named_by_its_field(tmp_path: Path) -> None:
    file = entry(tmp_path)
    protocol = yaml.safe_load(file.read_text())["claims"][0]["protocol"]
    problem = only(check_entries([edited(file, protocol={**protocol, "shots": 7})], CATALOG))
    assert "protocol of maml" in problem
    assert "not shots 7." in problem


def test_records_that_were_changed_are_noticed(tmp_path: Path) -> None:
    file = entry(tmp_path)
    episodes = next((tmp_path / "results").rglob("episodes.jsonl"))
    episodes.write_text(episodes.read_text().replace("0.25", "0.20"))
    problems = check_entries([file], CATALOG)
    assert "records were changed since it was written" in problems[0]
    assert any("mean of maml" in problem for problem in problems)


def test_a_protocol_that_departs_from_the_suite_needs_a_stamp(tmp_path: Path) -> None:
    file = entry(tmp_path, queries=5)
    said = "protocol.queries of maml on toy-regression@10s is 5, but the suite says 10"
    assert said in only(check_entries([file], CATALOG))
    for record in (tmp_path / "results").rglob("run.json"):
        edit_json(record, stamps=["custom"])
    made = make_entry(tmp_path / "results" / "doe", file=file, submitter="Jane", link="")
    file.write_text(entry_text(made))
    assert check_entries([file], CATALOG) == []


def test_entries_on_the_same_data_have_the_same_episodes(tmp_path: Path) -> None:
    first = entry(tmp_path)
    second = entry(tmp_path, "roe", "reptile")
    assert check_entries([first, second], CATALOG) == []
    for file in (tmp_path / "results" / "roe").rglob("episodes.jsonl"):
        lines = [line.replace('"key":"', '"key":"f') for line in file.read_text().splitlines()]
        file.write_text("".join(f"{line}\n" for line in lines))
    made = make_entry(tmp_path / "results" / "roe", file=second, submitter="Roe", link="")
    second.write_text(entry_text(made))
    assert "has other episodes than maml" in only(check_entries([first, second], CATALOG))


def test_what_is_no_entry_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "doe.yaml"
    file.write_text("{name: roe, submitter: J, results: R, digest: x, claims: []}")
    assert "claims" in only(check_entries([file], CATALOG))
    gone = entry(tmp_path, "roe").rename(tmp_path / "entries" / "other.yaml")
    assert "says that its name is roe" in only(check_entries([gone], CATALOG))


def test_a_link_that_runs_a_script_is_refused(tmp_path: Path) -> None:
    folder = runs(tmp_path / "R")
    with pytest.raises(UsageError, match="a link begins with https"):
        make_entry(folder, file=tmp_path / "doe.yaml", submitter="J", link="javascript:alert(1)")
